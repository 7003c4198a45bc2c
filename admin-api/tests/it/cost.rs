//! What a login costs, counted where it is spent: statements as the database's driver runs them, and computations of hashes.

use admin_api::{Registration, Settings};
use identity::PasswordHash;
use serde_json::json;
use store::{NewDomain, NewTeam};

use crate::{
    house::{Answer, House, PASSWORD, Place, Shown},
    statements::{STATEMENTS, hear_statements},
};

/// The hash of the password as older systems have kept it.
const OF_OLD: &str = "$2b$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS";

/// What has been run since it was last asked. SQLite tells of a statement from a connection's own thread, perhaps after whoever asked has gone on:
/// so this waits for the event of the audit trail, with which every login ends, and there is one connection alone.
async fn statements() -> Vec<String> {
    let told = || STATEMENTS.lock().unwrap().iter().any(|run| run.contains("INSERT INTO audit_events"));
    while !told() {
        tokio::task::yield_now().await;
    }
    let mut run = std::mem::take(&mut *STATEMENTS.lock().unwrap());
    run.retain(|run| !["BEGIN", "COMMIT"].iter().any(|word| run.contains(word)));
    run
}

async fn house_on(url: &str) -> House {
    house_by(url, |_| ()).await
}

async fn house_by(url: &str, change: impl FnOnce(&mut Settings)) -> House {
    hear_statements();
    House::open_by(url, tempfile::tempdir().unwrap(), 1, change).await
}

#[tokio::test]
async fn a_login_costs_one_argon2_and_four_statements_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("cost.db").display());
    a_login_costs_one_argon2_and_four_statements(&house_on(&url).await, 2).await;
}

#[tokio::test]
async fn a_login_costs_one_argon2_and_four_statements_on_postgres() {
    let database = crate::postgres::Database::create().await;
    a_login_costs_one_argon2_and_four_statements(&house_on(database.url()).await, 3).await;
}

/// Logs in, with as many statements.
async fn spends(house: &House, cookie: Option<&str>, kind: &str) -> (Answer, usize) {
    let login = json!({ "email": "ada@example.com", "password": PASSWORD, "session": kind });
    let answer = house.visit(&Place { address: "192.0.2.1", cookie }, "/auth/login", login).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    (answer, statements().await.len())
}

/// What a login costs besides now and then: `to_end` statements end a session of which whoever listens must hear.
async fn whatever_is_put_right_by_a_login_costs_more(house: &House, to_end: usize) {
    let fails = async || {
        let wrong = json!({ "email": "ada@example.com", "password": "wrong horse battery" });
        house.visit(&Place { address: "192.0.2.1", cookie: None }, "/auth/login", wrong).await;
        statements().await;
    };
    fails().await;
    assert_eq!(spends(house, None, "tokens").await.1, 5, "a failure is forgiven");
    let (before, spent) = spends(house, None, "cookie").await;
    assert_eq!(spent, 4);
    assert_eq!(spends(house, before.cookie().as_deref(), "tokens").await.1, 4 + to_end, "a session is left behind");
    assert_eq!(spends(house, before.cookie().as_deref(), "tokens").await.1, 5, "it had ended already");
    let account = house.store.account_by_address("ada@example.com").await.unwrap().unwrap();
    house.store.rehash_password(&account, PasswordHash::from(OF_OLD.to_owned())).await.unwrap();
    fails().await;
    let hashes = house.metric("portcullis_password_hashes_total");
    assert_eq!(spends(house, None, "tokens").await.1, 6, "and a hash of an older system is renewed");
    assert_eq!(
        house.metric("portcullis_password_hashes_total") - hashes,
        2,
        "the old one is checked, the new one made"
    );
    assert_eq!(spends(house, None, "tokens").await.1, 4);
}

/// Of an account with teams and domains; the event of the audit trail is counted too.
async fn a_login_costs_one_argon2_and_four_statements(house: &House, to_end: usize) {
    let ada = house.register("ada@example.com").await;
    statements().await;
    let tenant = house.store.account(ada.id).await.unwrap().unwrap().tenant.unwrap().tenant;
    for name in ["Lab", "Office"] {
        let new = NewTeam { name: name.to_owned(), external_ref: Some(name.to_lowercase()), is_active: name == "Lab" };
        let team = house.store.create_team(tenant, new, house.now()).await.unwrap();
        house.store.add_team_member(tenant, team.id, ada.id, "member", house.now()).await.unwrap();
    }
    let mut parent = None;
    for key in ["it", "web"] {
        let new = NewDomain { key: key.to_owned(), name: key.to_uppercase(), parent, is_active: true };
        let domain = house.store.create_domain(tenant, new, house.now()).await.unwrap();
        house.store.add_domain_member(tenant, domain.id, ada.id, house.now()).await.unwrap();
        parent = Some(domain.id);
    }
    house.login("ada@example.com").await;
    statements().await;
    let hashes = house.metric("portcullis_password_hashes_total");
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let answer = house.post("/auth/login", Shown::Nothing, login).await;
    let run = statements().await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(run.len(), 4, "{run:#?}");
    assert_eq!(house.metric("portcullis_password_hashes_total") - hashes, 1);
    // A wrong password takes as many as an address that nobody has.
    let mut counts = Vec::new();
    for email in ["ada@example.com", "nobody@example.com"] {
        let wrong = json!({ "email": email, "password": "wrong horse battery" });
        let answer = house.post("/auth/login", Shown::Nothing, wrong).await;
        assert_eq!(answer.status, 401);
        counts.push(statements().await.len());
    }
    assert_eq!(counts[0], counts[1]);
    whatever_is_put_right_by_a_login_costs_more(house, to_end).await;

    // And it tells all that it had to read.
    let me = house.get("/auth/me", Shown::Credential(answer.text("access_token"))).await.body;
    assert_eq!(answer.body["user"], me);
    let told = |list: &str| me[list].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (told("teams"), told("domains")),
        (vec![json!("Lab"), json!("Office")], vec![json!("IT"), json!("WEB")])
    );
    assert_eq!(me["teams"][1]["is_active"], json!(false));
    assert_eq!(me["domains"][1]["parent_domain_id"], json!(parent_of(&me)));
}

fn parent_of(me: &serde_json::Value) -> String {
    me["domains"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_letter_costs_the_same_whether_or_not_there_is_an_account_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    a_letter_costs_the_same_whether_or_not_there_is_an_account(&format!(
        "sqlite:{}",
        folder.path().join("cost.db").display()
    ))
    .await;
}

#[tokio::test]
async fn a_letter_costs_the_same_whether_or_not_there_is_an_account_on_postgres() {
    let database = crate::postgres::Database::create().await;
    a_letter_costs_the_same_whether_or_not_there_is_an_account(database.url()).await;
}

/// Who is answered "a mail is on its way" finds out by no statement and no hash that it is not. The clock would tell as much, and less surely.
async fn a_letter_costs_the_same_whether_or_not_there_is_an_account(url: &str) {
    let house = house_by(url, |settings| settings.accounts.registration = Registration::Verified).await;
    let (known, _) = house.loner().await;
    let known = format!("{}@service.invalid", known.uuid().simple());
    assert!(house.store.account_by_address(&known).await.unwrap().is_some());
    for (path, hashes) in [
        ("/auth/register", 1),
        ("/auth/request-password-reset", 0),
        ("/auth/resend-verification", 0),
        ("/auth/magic-link", 0),
    ] {
        let asks = async |email: &str| {
            let mut body = json!({ "email": email });
            if hashes > 0 {
                body["password"] = PASSWORD.into();
            }
            let before = house.metric("portcullis_password_hashes_total");
            let answer = house.visit(&Place { address: "192.0.2.1", cookie: None }, path, body).await;
            let (run, after) = (statements().await, house.metric("portcullis_password_hashes_total"));
            (answer.status.as_u16(), answer.body, run, after - before)
        };
        // Whatever is done once only is done by now.
        asks("first@example.com").await;
        let (of_known, of_nobody) = (asks(&known).await, asks("nobody@example.com").await);
        assert_eq!(of_known, of_nobody, "{path}");
        assert_eq!((of_known.0, of_known.3), (202, hashes), "{path}");
        assert!(!of_known.2.is_empty(), "{path}");
    }
}

/// Argon2 computations and rounds of bcrypt of a login.
async fn work_of(house: &House, email: &str, password: &str) -> (u16, i64, i64) {
    let spent = || {
        ["portcullis_login_argon2_checks_total", "portcullis_login_bcrypt_rounds_total"].map(|name| house.metric(name))
    };
    let before = spent();
    let answer = house.post("/auth/login", Shown::Nothing, json!({ "email": email, "password": password })).await;
    let after = spent();
    (answer.status.as_u16(), after[0] - before[0], after[1] - before[1])
}

#[tokio::test]
async fn while_hashes_of_older_systems_are_left_every_failed_login_costs_as_much_as_the_dearest() {
    let house = House::open().await;
    for email in ["ada@example.com", "bob@example.com", "old@example.com"] {
        house.register(email).await;
    }
    assert_eq!(work_of(&house, "ada@example.com", "wrong").await, (401, 1, 0));
    house.run("UPDATE accounts SET password_hash = '$2b$06$abcdefghijklmnopqrstuu50eFBEC8vQwBnuFXMHE45jBnqvQ8xz.' WHERE email = 'bob@example.com'").await;
    house.run("UPDATE accounts SET password_hash = '$2b$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS' WHERE email = 'old@example.com'").await;
    for email in ["nobody@example.com", "ada@example.com", "bob@example.com", "old@example.com"] {
        assert_eq!(work_of(&house, email, "wrong").await, (401, 1, 64), "{email}");
    }
    // Each login of an owner leaves one fewer, and after the last there is nothing to hide.
    assert_eq!(work_of(&house, "bob@example.com", PASSWORD).await, (200, 0, 64));
    assert_eq!(work_of(&house, "nobody@example.com", "wrong").await, (401, 1, 16));
    assert_eq!(work_of(&house, "old@example.com", PASSWORD).await, (200, 0, 16));
    for email in ["nobody@example.com", "ada@example.com", "bob@example.com", "old@example.com"] {
        assert_eq!(work_of(&house, email, "wrong").await, (401, 1, 0), "{email}");
    }
}
