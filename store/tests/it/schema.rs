//! The tables: the same on both engines, made by whoever comes first, undone to nothing.

use std::{fs, path::Path};

use identity::Email;
use sqlx::{Connection as _, Executor as _, PgConnection};
use store::{Store, StoreError};

use crate::engines::{Database, on_both_engines, person, settings};

on_both_engines!(
    nodes_that_start_at_once_make_the_tables_once,
    to_undo_every_step_leaves_nothing,
    the_status_tells_what_has_been_applied,
    a_node_starts_on_the_tables_of_a_newer_version_and_undoes_none_of_it,
    who_was_known_by_another_domain_is_known_by_their_own,
);

/// Tables, columns in their order, and whether they must be filled.
const POSTGRES_COLUMNS: &str = "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'NO' \
    FROM information_schema.columns WHERE table_schema = current_schema() AND table_name <> '_sqlx_migrations' \
    ORDER BY table_name COLLATE \"C\", ordinal_position";
const SQLITE_COLUMNS: &str = "SELECT m.name, p.name, p.type, p.\"notnull\" FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) p \
    WHERE m.type = 'table' AND m.name NOT IN ('_sqlx_migrations', 'sqlite_sequence') ORDER BY m.name, p.cid";
/// Indexes that are not part of a table's own definition, and whether they are unique.
const POSTGRES_INDEXES: &str = "SELECT c.relname::text, i.indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
    WHERE c.relnamespace = current_schema()::regnamespace \
    AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid) ORDER BY c.relname COLLATE \"C\"";
const SQLITE_INDEXES: &str = "SELECT i.name, i.\"unique\" FROM sqlite_schema m JOIN pragma_index_list(m.name) i \
    WHERE m.type = 'table' AND i.origin = 'c' ORDER BY i.name";

type Column = (String, String, String, bool);

/// How SQLite writes what Postgres has a type for.
fn in_sqlite(postgres: &str) -> &'static str {
    match postgres {
        "uuid" | "bytea" => "BLOB",
        "text" | "timestamp with time zone" | "jsonb" => "TEXT",
        "boolean" | "bigint" => "INTEGER",
        other => panic!("which type of SQLite stands for {other}?"),
    }
}

#[tokio::test]
async fn both_engines_have_the_same_tables() {
    let (lite, pg) = (Database::sqlite(), Database::postgres().await);
    for database in [&lite, &pg] {
        database.open().await;
    }
    let columns: Vec<Column> = pg.rows(POSTGRES_COLUMNS, SQLITE_COLUMNS).await;
    assert!(columns.len() > 40, "{columns:?}");
    let columns: Vec<Column> =
        columns.into_iter().map(|(table, name, kind, full)| (table, name, in_sqlite(&kind).to_owned(), full)).collect();
    assert_eq!(columns, lite.rows::<Column>(POSTGRES_COLUMNS, SQLITE_COLUMNS).await);
    let indexes: Vec<(String, bool)> = pg.rows(POSTGRES_INDEXES, SQLITE_INDEXES).await;
    assert!(indexes.contains(&("signing_keys_current".to_owned(), true)), "{indexes:?}");
    assert_eq!(indexes, lite.rows::<(String, bool)>(POSTGRES_INDEXES, SQLITE_INDEXES).await);
}

/// An old system's database has tables of its own, and some have the names of ours.
#[tokio::test]
async fn what_an_old_system_has_in_the_database_is_left_alone() {
    for database in [Database::postgres().await, Database::pooled().await] {
        database.empty().await;
        for table in ["users", "accounts", "sessions", "changes", "_sqlx_migrations"] {
            database.run_beside(&format!("CREATE TABLE public.{table} (theirs text)")).await;
            database.run_beside(&format!("INSERT INTO public.{table} VALUES ('theirs')")).await;
        }
        let store = database.open().await;
        person(&store, "ada@example.com").await;
        assert_eq!(store.list_accounts(None, 10).await.unwrap().items.len(), 1);
        let ours: Vec<(String,)> = database
            .rows(
                "SELECT DISTINCT table_schema::text FROM information_schema.tables WHERE table_name = 'login_failures'",
                "",
            )
            .await;
        assert_eq!(ours, [("portcullis".to_owned(),)]);
        let theirs: Vec<(String,)> = database
            .rows("SELECT theirs FROM public.accounts UNION ALL SELECT theirs FROM public._sqlx_migrations", "")
            .await;
        assert_eq!(theirs.len(), 2);
        let steps = store.migrations_status().await.unwrap().len();
        for _ in 0..steps {
            store.revert_last().await.unwrap();
        }
        let left: Vec<(i64,)> = database.rows("SELECT COUNT(*) FROM public.sessions", "").await;
        assert_eq!(left, [(1,)]);
    }
}

async fn nodes_that_start_at_once_make_the_tables_once(database: &Database) {
    database.empty().await;
    let nodes: Vec<_> = (0..4)
        .map(|n| {
            let url = database.url.clone();
            tokio::spawn(async move {
                // SQLite waits for no lock while a new file becomes one with a log; the gateway tries again too.
                let store = loop {
                    match Store::connect(&url, settings()).await {
                        Err(StoreError::Unavailable(_)) => {}
                        connected => break connected.unwrap(),
                    }
                };
                store.migrate().await.unwrap();
                person(&store, &format!("node{n}@example.com")).await;
            })
        })
        .collect();
    for node in nodes {
        node.await.unwrap();
    }
    let page = database.connect().await.list_accounts(None, 10).await.unwrap();
    assert_eq!(page.items.len(), 4);
}

async fn to_undo_every_step_leaves_nothing(database: &Database) {
    let store = database.open().await;
    person(&store, "ada@example.com").await;
    let steps = store.migrations_status().await.unwrap().len();
    for _ in 0..steps {
        store.revert_last().await.unwrap();
    }
    assert_eq!(database.rows::<Column>(POSTGRES_COLUMNS, SQLITE_COLUMNS).await, []);
    store.revert_last().await.unwrap();
    store.migrate().await.unwrap();
    person(&store, "ada@example.com").await;
}

async fn the_status_tells_what_has_been_applied(database: &Database) {
    database.empty().await;
    let store = database.connect().await;
    let applied = async || {
        store.migrations_status().await.unwrap().iter().map(|step| step.applied_at.is_some()).collect::<Vec<_>>()
    };
    let steps = applied().await.len();
    assert!(steps >= 4);
    assert_eq!(applied().await, vec![false; steps]);
    store.migrate().await.unwrap();
    assert_eq!(applied().await, vec![true; steps]);
    store.revert_last().await.unwrap();
    assert_eq!(applied().await, [vec![true; steps - 1], vec![false]].concat());
    let steps = store.migrations_status().await.unwrap();
    assert_eq!((steps[0].version, steps[0].description.as_str()), (1, "accounts"));
}

async fn a_node_starts_on_the_tables_of_a_newer_version_and_undoes_none_of_it(database: &Database) {
    let store = database.open().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'newer', TRUE, '', 0)";
    database.execute(newer, newer).await;
    store.migrate().await.unwrap();
    person(&store, "ada@example.com").await;
    assert!(matches!(store.revert_last().await, Err(StoreError::Conflict(_))));
    assert!(store.migrations_status().await.unwrap().iter().all(|step| step.applied_at.is_some()));
}

/// Undoes every step after this one.
async fn back_to(store: &Store, step: i64) {
    let last = async || {
        let steps = store.migrations_status().await.unwrap();
        steps.iter().filter(|step| step.applied_at.is_some()).map(|step| step.version).max()
    };
    while last().await > Some(step) {
        store.revert_last().await.unwrap();
    }
}

async fn who_was_known_by_another_domain_is_known_by_their_own(database: &Database) {
    const BEFORE: &str =
        "UPDATE accounts SET email_normalised = 'strasse@gross.example' WHERE email = 'Stra\u{df}e@Gro\u{df}.example'";
    let store = database.open().await;
    back_to(&store, 46).await;
    let ada = person(&store, "Stra\u{df}e@Gro\u{df}.example").await;
    // Only the domain's letters are its own.
    let bob = person(&store, "bo\u{df}@example.com").await;
    database.execute(BEFORE, BEFORE).await;
    store.migrate().await.unwrap();
    let known = async |address: &str| {
        let found = store.account_by_email(&Email::parse(address).unwrap()).await.unwrap();
        found.map(|account| account.id)
    };
    assert_eq!(known("strasse@gross.example").await, None);
    assert_eq!(known("strasse@gro\u{df}.example").await, Some(ada.id));
    assert_eq!(known("boss@example.com").await, Some(bob.id));
    // Two who are apart stay so, also for a version that would take them for one.
    person(&store, "strasse@gross.example").await;
    back_to(&store, 46).await;
    assert_eq!(known("strasse@gro\u{df}.example").await, Some(ada.id));
}

/// Does a step take away, name anew or demand what gateways of the version before use, or do not know? Who makes such a step when the last of
/// them is gone says so in it: `-- Contracts: …`.
fn contracts(step: &str) -> bool {
    const NO_COLUMN: [&str; 5] = ["CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN"];
    let code: Vec<_> = step.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let code = code.join(" ").to_uppercase();
    let has = |words: &[&str], run: &[&str]| words.windows(run.len()).any(|some| some == run);
    code.split(';').any(|statement| {
        let words = statement.split(|sign: char| !sign.is_alphanumeric() && sign != '_');
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        let mut added = words.split(|word| *word == "ADD").skip(1);
        let demands = added.any(|added| {
            let is_column = added.first().is_some_and(|word| !NO_COLUMN.contains(word));
            is_column && has(added, &["NOT", "NULL"]) && !has(added, &["DEFAULT"])
        });
        demands || [&["DROP"][..], &["RENAME"], &["SET", "NOT", "NULL"]].into_iter().any(|run| has(&words, run))
    })
}

#[test]
fn a_step_that_old_gateways_would_trip_over_is_known_by_its_words() {
    for step in [
        "ALTER TABLE a DROP COLUMN b",
        "CREATE TABLE c (id UUID);\ndrop table a;",
        "ALTER TABLE a RENAME COLUMN b TO c",
        "ALTER TABLE a ALTER COLUMN b SET\nNOT NULL",
        "ALTER TABLE a ADD COLUMN b TEXT NOT NULL",
        "ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT '', ADD COLUMN c TEXT NOT NULL",
        "ALTER TABLE a ADD b TEXT NOT NULL",
    ] {
        assert!(contracts(step), "{step}");
    }
    for step in [
        "-- DROP nothing\nALTER TABLE a ADD COLUMN b TEXT",
        "ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE a ADD CONSTRAINT b CHECK (c IS NOT NULL)",
        "CREATE TABLE dropped (id UUID NOT NULL)",
    ] {
        assert!(!contracts(step), "{step}");
    }
}

/// Expand, then contract (migrations/README.md). The two were released before there was a rule.
#[test]
fn no_step_takes_anything_from_gateways_of_the_version_before_unless_it_says_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let steps = ["postgres", "sqlite"].into_iter().flat_map(|engine| fs::read_dir(folder.join(engine)).unwrap());
    let ups = steps.map(|step| step.unwrap().path()).filter(|step| step.to_string_lossy().ends_with(".up.sql"));
    let mut undeclared: Vec<_> = ups
        .filter(|step| {
            let text = fs::read_to_string(step).unwrap();
            contracts(&text) && !text.contains("-- Contracts: ")
        })
        .map(|step| step.strip_prefix(&folder).unwrap().display().to_string())
        .collect();
    undeclared.sort();
    assert_eq!(undeclared, ["postgres/0023_bills_stay.up.sql", "sqlite/0023_bills_stay.up.sql"]);
}

/// Until somebody waits for a table.
pub(crate) async fn wait_for(watcher: &mut PgConnection, table: &str) {
    const WAITING: &str = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = $1::regclass";
    let waiting = async {
        while sqlx::query_scalar::<_, i64>(WAITING).bind(table).fetch_one(&mut *watcher).await.unwrap() == 0 {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect(table);
}

/// Steps are one transaction, and gateways of the version before serve meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_years_of_usage_are_looked_through_accounts_are_written() {
    const USED: &str = "INSERT INTO usage_days SELECT gen_random_uuid(), '2026-01-01', id, \
                        '00000000-0000-0000-0000-000000000000', '', '', '', '', 1, 1, 1 FROM accounts";
    const LEFT: &str = "SELECT a.email_normalised FROM left_tenants l LEFT JOIN accounts a ON a.id = l.account_id";
    const REFERENCES: &str = "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND convalidated \
                              AND conrelid IN ('refused_issuers'::regclass, 'left_tenants'::regclass) ORDER BY 1";
    let database = Database::postgres().await;
    let store = database.open().await;
    back_to(&store, 40).await;
    person(&store, "ada@example.com").await;
    person(&store, "bob@example.com").await;
    database.run_beside(USED).await;
    let (mut reader, mut writer, mut watcher) =
        (database.beside().await, database.beside().await, database.beside().await);
    let mut reading = reader.begin().await.unwrap();
    reading.execute("LOCK TABLE usage_days IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let migrating = tokio::spawn({
        let store = store.clone();
        async move { store.migrate().await }
    });
    wait_for(&mut watcher, "usage_days").await;
    database.run_beside("SET lock_timeout = '5s'; UPDATE accounts SET name = 'Ada'").await;
    // Whoever deletes an account at that moment is waited for, and leaves nothing that would refuse the step.
    let mut deleting = writer.begin().await.unwrap();
    deleting.execute("DELETE FROM accounts WHERE email_normalised = 'bob@example.com'").await.unwrap();
    reading.rollback().await.unwrap();
    wait_for(&mut watcher, "accounts").await;
    deleting.commit().await.unwrap();
    migrating.await.unwrap().unwrap();
    assert_eq!(database.rows::<(Option<String>,)>(LEFT, "").await, [(Some("ada@example.com".to_owned()),)]);
    let references = database.rows::<(String,)>(REFERENCES, "").await;
    assert_eq!(references, [("left_tenants".to_owned(),), ("refused_issuers".to_owned(),)]);
}

/// As a dump of the database does, or a report of somebody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_table_is_read_for_long_nobody_waits_behind_a_step_that_changes_it() {
    let database = Database::postgres().await;
    let store = database.open().await;
    back_to(&store, 43).await;
    let (mut reader, mut watcher) = (database.beside().await, database.beside().await);
    let mut reading = reader.begin().await.unwrap();
    reading.execute("SELECT COUNT(*) FROM api_keys").await.unwrap();
    let migrating = tokio::spawn({
        let store = store.clone();
        async move { store.migrate().await }
    });
    wait_for(&mut watcher, "api_keys").await;
    database.run_beside("SET lock_timeout = '5s'; SELECT COUNT(*) FROM api_keys").await;
    reading.rollback().await.unwrap();
    migrating.await.unwrap().unwrap();
    assert!(store.migrations_status().await.unwrap().iter().all(|step| step.applied_at.is_some()));
}

/// Postgres lets whoever waits do so when `deadlock_timeout` is over, and not before.
#[tokio::test]
async fn a_step_waits_for_long_enough_to_send_an_autovacuum_away() {
    const LOOK: &str = "CREATE TABLE public.waits (is_enough BOOLEAN); \
        CREATE FUNCTION public.look() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
            INSERT INTO public.waits SELECT (SELECT setting FROM pg_settings WHERE name = 'lock_timeout')::int > \
                (SELECT setting FROM pg_settings WHERE name = 'deadlock_timeout')::int; END $$; \
        CREATE EVENT TRIGGER look ON ddl_command_start EXECUTE FUNCTION public.look()";
    let database = Database::postgres().await;
    let store = database.open().await;
    back_to(&store, 43).await;
    database.run_beside(LOOK).await;
    store.migrate().await.unwrap();
    let waits = database.rows::<(bool,)>("SELECT DISTINCT is_enough FROM public.waits", "").await;
    assert_eq!(waits, [(true,)]);
}
