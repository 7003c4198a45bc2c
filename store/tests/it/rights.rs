//! A role of Postgres' with fewer rights than it needs is told which; with just those it needs it serves.

use store::{Store, StoreError};

use crate::engines::{Database, person, settings};

/// What is said to a node that logs in as `clerk`.
async fn refusal(database: &Database) -> String {
    let node = Store::connect(&as_clerk(database), settings()).await.unwrap();
    match node.migrate().await {
        Err(StoreError::Forbidden(said)) => said,
        other => panic!("{other:?}"),
    }
}

fn as_clerk(database: &Database) -> String {
    database.url_of(&clerk(database))
}

/// Roles are the server's, which tests share.
fn clerk(database: &Database) -> String {
    format!("clerk_{}", database.url.rsplit_once('/').unwrap().1)
}

async fn run(database: &Database, statement: &str) {
    database.run_beside(&statement.replace("clerk", &clerk(database))).await;
}

#[tokio::test]
async fn who_may_make_no_schema_is_told_what_to_grant() {
    let database = Database::postgres().await;
    database.empty().await;
    run(&database, "CREATE ROLE clerk LOGIN").await;
    let (said, name) = (refusal(&database).await, database.url.rsplit_once('/').unwrap().1);
    assert!(said.contains(&format!("GRANT CREATE ON DATABASE {name} TO {}", clerk(&database))), "{said}");
    run(&database, &format!("GRANT CREATE ON DATABASE {name} TO clerk")).await;
    let node = Store::connect(&as_clerk(&database), settings()).await.unwrap();
    node.migrate().await.unwrap();
    person(&node, "ada@example.com").await;
}

#[tokio::test]
async fn who_may_not_use_the_schema_is_told_what_to_grant_and_needs_no_more_where_the_tables_are_made() {
    let database = Database::postgres().await;
    let owner = database.open().await;
    run(&database, "CREATE ROLE clerk LOGIN").await;
    let said = refusal(&database).await;
    assert!(said.contains("GRANT USAGE ON SCHEMA portcullis TO"), "{said}");
    let grants = said.split("GRANT").skip(1).map(|grant| format!("GRANT{}", grant.trim_end_matches("; ")));
    for grant in grants {
        database.run_beside(&grant).await;
    }
    let node = Store::connect(&as_clerk(&database), settings()).await.unwrap();
    node.migrate().await.unwrap();
    let ada = person(&node, "ada@example.com").await;
    assert_eq!(owner.account(ada.id).await.unwrap(), Some(ada));
}

#[tokio::test]
async fn who_may_change_no_table_is_told_whose_they_are() {
    let database = Database::postgres().await;
    let owner = database.open().await;
    run(&database, "CREATE ROLE clerk LOGIN").await;
    run(&database, "GRANT USAGE ON SCHEMA portcullis TO clerk").await;
    run(&database, "GRANT ALL ON ALL TABLES IN SCHEMA portcullis TO clerk").await;
    // Down to the tables of the first four steps, which the fifth changes.
    for _ in 4..owner.migrations_status().await.unwrap().len() {
        owner.revert_last().await.unwrap();
    }
    let said = refusal(&database).await;
    let (role, _) = database.url.strip_prefix("postgres://").unwrap().split_once('@').unwrap();
    assert!(said.contains(&format!("run `portcullis migrate up` as {role}")), "{said}");
    // All that the steps want is the right to make tables, and to change those that are there.
    run(&database, "GRANT CREATE ON SCHEMA portcullis TO clerk").await;
    let said = refusal(&database).await;
    assert!(said.contains("run `portcullis migrate up` as their owner"), "{said}");
    owner.migrate().await.unwrap();
    // Tables that the steps have made are their maker's.
    run(&database, "GRANT ALL ON ALL TABLES IN SCHEMA portcullis TO clerk").await;
    let node = Store::connect(&as_clerk(&database), settings()).await.unwrap();
    node.migrate().await.unwrap();
    person(&node, "ada@example.com").await;
}
