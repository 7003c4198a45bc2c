//! What was saved comes back whole, into an empty place alone, and only if the file is what it was.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use sqlx::{Connection as _, Executor as _};
use store::{BackupError, Store, StoreError, Subject};

use crate::{
    engines::{Database, at, heard, named, on_both_engines, person, session, settings, wait_for_lock_waiters},
    schema::wait_for,
};

on_both_engines!(
    what_was_saved_comes_back_whole,
    a_backup_goes_into_an_empty_place_only,
    a_damaged_backup_changes_nothing,
    a_backup_of_steps_that_this_version_does_not_know_is_refused,
);

/// Another empty database of the same kind.
async fn empty_like(database: &Database) -> Database {
    let other = match (database.is_sqlite(), database.is_pooled()) {
        (true, _) => Database::sqlite(),
        (_, true) => Database::pooled().await,
        (_, false) => Database::postgres().await,
    };
    other.empty().await;
    other
}

/// Everything that is in a database, as text.
async fn contents(database: &Database) -> Vec<(String,)> {
    const ROWS: &str = "SELECT CAST(id AS text) || email || created_at || COALESCE(name, '-') FROM accounts UNION ALL \
                        SELECT CAST(id AS text) || created_at || COALESCE(CAST(ended_at AS text), '-') FROM sessions UNION ALL \
                        SELECT CAST(position AS text) || kind || changed_at FROM changes ORDER BY 1";
    const LITE: &str = "SELECT hex(id) || email || created_at || COALESCE(name, '-') FROM accounts UNION ALL \
                        SELECT hex(id) || created_at || COALESCE(ended_at, '-') FROM sessions UNION ALL \
                        SELECT position || kind || changed_at FROM changes ORDER BY 1";
    database.rows(ROWS, LITE).await
}

async fn some_life(store: &Store) {
    // What COPY has to escape.
    let ada = named(store, "ada@example.com", "a\tname\r\nof two lines \\N \\. \u{1f40e}").await;
    for account in [ada, person(store, "o'brien@example.com").await] {
        let (id, _) = session(store, &account).await;
        store.end_session(id, at(5)).await.unwrap();
    }
}

async fn what_was_saved_comes_back_whole(database: &Database) {
    let (store, folder) = (database.open().await, tempfile::tempdir().unwrap());
    some_life(&store).await;
    let file = folder.path().join("backup");
    let receipt = store.back_up(&file).await.unwrap();
    assert_eq!(receipt.bytes, fs::metadata(&file).unwrap().len());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a draft is left");
    let before = contents(database).await;
    assert!(before.len() >= 3, "{before:?}");

    let other = empty_like(database).await;
    store::restore(&other.url, settings(), &file).await.unwrap();
    assert_eq!(contents(&other).await, before);
    let (restored, last) = (other.open().await, store.last_change().await.unwrap().unwrap());
    assert_eq!(restored.last_change().await.unwrap(), Some(last));
    let bob = person(&restored, "bob@example.com").await;
    let (id, _) = session(&restored, &bob).await;
    restored.end_session(id, at(6)).await.unwrap();
    assert_eq!(heard(&restored).await.last(), Some(&Subject::Session(id)));
    assert!(restored.last_change().await.unwrap().unwrap().position > last.position, "a position is used twice");
}

async fn a_backup_goes_into_an_empty_place_only(database: &Database) {
    let (store, folder) = (database.open().await, tempfile::tempdir().unwrap());
    some_life(&store).await;
    let (file, before) = (folder.path().join("backup"), contents(database).await);
    store.back_up(&file).await.unwrap();
    let full = store::restore(&database.url, settings(), &file).await;
    assert!(matches!(full, Err(BackupError::NotEmpty(_))), "{full:?}");
    assert_eq!(contents(database).await, before);
    let there = store.back_up(&file).await;
    assert_eq!(there.unwrap_err().to_string(), format!("{}: it is there already; nothing was written", file.display()));
    let nowhere = folder.path().join("no/where");
    let said = store.back_up(&nowhere).await.unwrap_err().to_string();
    assert!(said.starts_with(&format!("{}: No such file", nowhere.display())), "{said}");
}

async fn a_damaged_backup_changes_nothing(database: &Database) {
    let (store, folder) = (database.open().await, tempfile::tempdir().unwrap());
    some_life(&store).await;
    let (file, bad) = (folder.path().join("backup"), folder.path().join("bad"));
    store.back_up(&file).await.unwrap();
    let good = fs::read(&file).unwrap();
    let other = empty_like(database).await;
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    for bytes in [&good[..good.len() - 1], &good[..good.len() / 2], &changed, b"", b"portcullis backup 1\n"] {
        fs::write(&bad, bytes).unwrap();
        let refused = store::restore(&other.url, settings(), &bad).await;
        assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{refused:?}");
    }
    store::restore(&other.url, settings(), &file).await.unwrap();
}

async fn a_backup_of_steps_that_this_version_does_not_know_is_refused(database: &Database) {
    let (store, folder) = (database.open().await, tempfile::tempdir().unwrap());
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'newer', TRUE, '', 0)";
    let file = folder.path().join("backup");
    store.back_up(&file).await.unwrap();
    database.execute(newer, newer).await;
    let ahead = store.back_up(&folder.path().join("other")).await;
    assert!(matches!(ahead, Err(BackupError::OtherVersion(_))), "{ahead:?}");
    reseal(&file, |text| text.replace("\nstep 1 ", "\nstep 9 "));
    let refused = store::restore(&empty_like(database).await.url, settings(), &file).await;
    assert!(matches!(refused, Err(BackupError::OtherVersion(_))), "{refused:?}");
}

/// Changes the head of a backup, and its digest with it.
fn reseal(file: &Path, change: impl Fn(&str) -> String) {
    let bytes = fs::read(file).unwrap();
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let head = change(std::str::from_utf8(&bytes[..end]).unwrap());
    let mut other = [head.as_bytes(), &bytes[end..bytes.len() - 32]].concat();
    let digest = identity::SecretDigest::of(&other);
    other.extend_from_slice(digest.as_bytes());
    fs::write(file, other).unwrap();
}

/// The tables are made as they were then, filled, and brought up to this version.
#[tokio::test]
async fn a_backup_of_older_tables_is_restored_and_they_are_brought_up() {
    let (database, folder) = (Database::postgres().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("backup");
    database.open().await.back_up(&file).await.unwrap();
    let bytes = fs::read(&file).unwrap();
    let head = String::from_utf8_lossy(&bytes).split("\n\n").next().unwrap().to_owned();
    let step = |line: &str| line.strip_prefix("step ")?.split(' ').next()?.parse::<u32>().ok();
    let older: Vec<_> = head.lines().filter(|line| step(line).is_none_or(|step| step < 4)).collect();
    assert!(older.len() < head.lines().count(), "{head}");
    // One tenant, and no other table.
    let mut text = format!("{}\n\n", older.join("\n")).into_bytes();
    let (section, row) =
        ("tenants (id, name, created_at)", format!("{}\tacme\t2026-01-01 00:00:00+00\n", uuid::Uuid::nil()));
    text.extend_from_slice(&u16::try_from(section.len()).unwrap().to_be_bytes());
    text.extend_from_slice(section.as_bytes());
    text.extend_from_slice(&u32::try_from(row.len()).unwrap().to_be_bytes());
    text.extend_from_slice(row.as_bytes());
    text.extend_from_slice(&[0; 6]);
    let digest = identity::SecretDigest::of(&text);
    fs::write(&file, [text.as_slice(), digest.as_bytes()].concat()).unwrap();

    let other = empty_like(&database).await;
    store::restore(&other.url, settings(), &file).await.unwrap();
    let tenants: Vec<(String,)> = other.rows("SELECT name FROM tenants", "").await;
    assert_eq!(tenants, [("acme".to_owned(),)]);
    let store = other.connect().await;
    assert!(store.migrations_status().await.unwrap().iter().all(|step| step.applied_at.is_some()));
    person(&store, "ada@example.com").await;
}

/// The file names no table that becomes part of a statement.
#[tokio::test]
async fn a_section_that_is_no_table_of_ours_is_refused() {
    let (database, folder) = (Database::postgres().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("backup");
    database.open().await.back_up(&file).await.unwrap();
    reseal_bytes(&file, "tenants (id, name, created_at,", "tenants FROM PROGRAM 'true' --");
    let refused = store::restore(&empty_like(&database).await.url, settings(), &file).await;
    assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{refused:?}");
}

/// Puts other bytes of the same length in the place of some, and the right digest after them.
fn reseal_bytes(file: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.windows(from.len()).position(|some| some == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    let end = bytes.len() - 32;
    let digest = identity::SecretDigest::of(&bytes[..end]);
    bytes[end..].copy_from_slice(digest.as_bytes());
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_backup_of_one_engine_does_not_go_into_the_other() {
    let (lite, pg, folder) = (Database::sqlite(), Database::postgres().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("backup");
    lite.open().await.back_up(&file).await.unwrap();
    pg.empty().await;
    let refused = store::restore(&pg.url, settings(), &file).await;
    assert!(matches!(refused, Err(BackupError::OtherVersion(_))), "{refused:?}");
}

/// A table that is added has to be added to the backup too.
#[tokio::test]
async fn every_table_is_saved() {
    const TABLES: &str = "SELECT relname::text FROM pg_class WHERE relnamespace = 'portcullis'::regnamespace AND relkind = 'r' \
                          AND relname <> '_sqlx_migrations'";
    let (database, folder) = (Database::postgres().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("backup");
    database.open().await.back_up(&file).await.unwrap();
    let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
    let tables: Vec<(String,)> = database.rows(TABLES, "").await;
    assert!(tables.len() >= 10, "{tables:?}");
    for (table,) in tables {
        assert!(text.contains(&format!("{table} (")), "{table} is not saved");
    }
}

/// Of somebody who has a file and no right to make what it holds, the right is named as in a migration.
#[tokio::test]
async fn to_restore_takes_the_right_to_make_the_schema() {
    let (database, folder) = (Database::postgres().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("backup");
    database.open().await.back_up(&file).await.unwrap();
    let (other, name) = (empty_like(&database).await, format!("reader_{}", uuid::Uuid::new_v4().simple()));
    other.run_beside(&format!("CREATE ROLE {name} LOGIN")).await;
    let refused = store::restore(&other.url_of(&name), settings(), &file).await;
    let Err(BackupError::Store(StoreError::Forbidden(said))) = refused else { panic!("{refused:?}") };
    assert!(said.contains("GRANT CREATE ON DATABASE"), "{said}");
}

/// Postgres copies rows in for nobody whom it holds.
#[tokio::test]
async fn a_backup_goes_back_by_a_role_that_row_level_security_holds() {
    const HELD: &str = "SELECT COUNT(*) FROM pg_class WHERE relnamespace = 'portcullis'::regnamespace AND relrowsecurity <> relforcerowsecurity";
    let (database, folder) = (Database::postgres().await, tempfile::tempdir().unwrap());
    let file = folder.path().join("backup");
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let tenant = store.create_tenant("Hers", ada.id, 10, at(0)).await.unwrap();
    store.back_up(&file).await.unwrap();
    let other = empty_like(&database).await;
    store::restore(&other.url, settings(), &file).await.unwrap();
    let restored = other.connect().await;
    assert_eq!(restored.role_in(tenant.id, ada.id).await.unwrap(), Some(identity::TenantRole::Owner));
    assert_eq!(other.rows::<(i64,)>(HELD, "").await, [(0,)], "its owner is held again");
}

/// Whoever wanted to would wait for a table that is being saved, and everybody else behind them.
#[tokio::test]
async fn while_tables_are_saved_whoever_changes_them_waits_for_none_of_them() {
    let (database, folder) = (Database::postgres().await, tempfile::tempdir().unwrap());
    let (store, file) = (database.open().await, folder.path().join("backup"));
    let (mut beside, mut watcher) = (database.beside().await, database.beside().await);
    let mut holding = beside.begin().await.unwrap();
    // The last one.
    holding.execute("LOCK TABLE webhooks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let meanwhile = async {
        wait_for(&mut watcher, "webhooks").await;
        let goes_on = async {
            wait_for_lock_waiters(&database, 1).await;
            holding.rollback().await.unwrap();
        };
        tokio::join!(store.revert_last(), goes_on).0.unwrap();
    };
    let (saved, ()) = tokio::join!(store.back_up(&file), meanwhile);
    // It may see afterwards that the tables are others now.
    assert!(matches!(saved, Ok(_) | Err(BackupError::OtherVersion(_))), "{saved:?}");
}

/// Who waited for it within a moment of their own would save the tables as they were before.
#[tokio::test]
async fn a_backup_that_begins_while_tables_are_changed_is_of_the_moment_after() {
    const MIGRATIONS: i64 = i64::from_be_bytes(*b"portmigr");
    const GIVEN_UP: &str = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    const NAMES: &str = "SELECT name FROM accounts";
    let (database, folder) = (Database::postgres().await, tempfile::tempdir().unwrap());
    let (store, file) = (database.open().await, folder.path().join("backup"));
    named(&store, "ada@example.com", "Before").await;
    let (mut beside, mut watcher) = (database.beside().await, database.beside().await);
    let mut changing = beside.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATIONS).execute(&mut *changing).await.unwrap();
    changing.execute("UPDATE accounts SET name = 'After'").await.unwrap();
    let mut given_up = async || sqlx::query_scalar::<_, i64>(GIVEN_UP).fetch_one(&mut watcher).await.unwrap();
    let before = given_up().await;
    let meanwhile = async {
        let in_vain = async { while given_up().await == before {} };
        tokio::time::timeout(Duration::from_secs(20), in_vain).await.expect("it waits within a moment of its own");
        changing.commit().await.unwrap();
    };
    let (saved, ()) = tokio::join!(store.back_up(&file), meanwhile);
    saved.unwrap();
    let other = empty_like(&database).await;
    store::restore(&other.url, settings(), &file).await.unwrap();
    assert_eq!(other.rows::<(String,)>(NAMES, "").await, [("After".to_owned(),)]);
}
