//! Postgres as it is found: behind a pooler, with TLS, with few rights, and saved and restored like SQLite.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;

use crate::{
    database::{Database, psql},
    platform::{PORTCULLIS, Platform, Setup, eventually, shipped},
    servers::{Pooler, Postgres},
};

#[test]
fn behind_a_pooler_people_register_log_in_and_change_and_what_is_revoked_is_refused() {
    let database = Database::new("pooled");
    // What an old system has there.
    database.run("CREATE TABLE public.users (theirs text); CREATE TABLE public.accounts (theirs text)");
    let (_pooler, url) = Pooler::before(&database);
    let nodes = [(); 2].map(|()| {
        let setup = Setup::default().env("DATABASE_URL", &url);
        setup.env("MASTER_ENCRYPTION_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").start()
    });
    let [one, other] = &nodes;
    one.register("ada@example.com");
    let token = other.login("ada@example.com");
    for node in &nodes {
        assert_eq!(node.get("/demo/x", &token).status, 200);
    }
    let key = one.post("/auth/api-keys", Some(&token), &json!({ "name": "a key" }));
    assert_eq!(key.status, 201, "{key:?}");
    let (id, key) = (key.json()["id"].as_str().unwrap().to_owned(), key.json()["key"].as_str().unwrap().to_owned());
    let use_key = |node: &Platform| node.send("GET", "/demo/x", &[("X-API-Key", &key)], "").status;
    assert_eq!((use_key(one), use_key(other)), (200, 200));
    let revoked =
        one.send("DELETE", &format!("/auth/api-keys/{id}"), &[("Authorization", &format!("Bearer {token}"))], "");
    assert!(revoked.status < 300, "{revoked:?}");
    eventually("the other node to hear of it", || use_key(other) == 401);
    let changed = other.json("PATCH", "/auth/me", Some(&token), &json!({ "name": "Countess" }));
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(one.get("/auth/me", &token).json()["name"], "Countess");
    assert!(one.post("/auth/logout", Some(&token), &json!({})).status < 300);
    eventually("the logout to be heard", || other.get("/demo/x", &token).status == 401);
    assert_eq!(database.run("SELECT COUNT(*) FROM portcullis.accounts"), "1");
    assert_eq!(database.run("SELECT COUNT(*) FROM public.accounts"), "0");
}

/// An authority, and a server's certificate of it for 127.0.0.1.
fn authority(name: &str) -> (String, String, String) {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (issuer.pem(), server.pem(), key.serialize_pem())
}

#[test]
fn over_tls_the_servers_certificate_is_verified_and_a_strange_authority_is_told_of() {
    let mut postgres = Postgres::start();
    let (ours, certificate, key) = authority("ours");
    let (strange, ..) = authority("strange");
    for (name, text, mode) in [("server.crt", certificate, 0o644), ("server.key", key, 0o600)] {
        let file = postgres.data().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let owner = fs::metadata(postgres.data()).unwrap();
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    // Whoever comes without TLS is refused.
    fs::write(postgres.data().join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
    let settings = postgres.data().join("postgresql.auto.conf");
    fs::write(&settings, fs::read_to_string(&settings).unwrap() + "ssl = on\n").unwrap();
    postgres.stop();
    postgres.serve();

    let folder = tempfile::tempdir().unwrap();
    let with = |mode: &str, authority: &str| {
        let file = folder.path().join("authority.pem");
        fs::write(&file, authority).unwrap();
        let url = format!("{}?sslmode={mode}&sslrootcert={}", postgres.database().url, file.display());
        Setup::default().env("DATABASE_URL", &url).edit(
            "gateway.toml",
            "start_timeout = \"30s\"",
            "start_timeout = \"1s\"",
        )
    };
    let platform = with("verify-full", &ours).start();
    platform.register("ada@example.com");
    let is_encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE backend_type = 'client backend'";
    assert_eq!(postgres.database().administer(is_encrypted), "t");

    let setup = with("verify-full", &strange);
    let place = setup.folder();
    let refused = setup.command(place.path(), "127.0.0.1:1".parse().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(69), "{said}");
    assert!(said.contains("certificate") && said.contains("UnknownIssuer"), "{said}");
}

/// What a start on this database says when it is refused with exit code 77.
fn refused_with(url: &str) -> String {
    let setup = Setup::default().env("DATABASE_URL", url);
    let folder = setup.folder();
    let refused = setup.command(folder.path(), "127.0.0.1:1".parse().unwrap()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(77), "{said}");
    said
}

#[test]
fn a_role_without_rights_is_told_which_and_exit_code_77() {
    let database = Database::new("rights");
    let role = format!("clerk_{}", std::process::id());
    database.administer(&format!("CREATE ROLE {role} LOGIN"));
    let said = refused_with(&database.url_of(&role));
    assert!(said.contains("GRANT CREATE ON DATABASE") && said.contains(&role), "{said}");
}

#[test]
fn a_database_that_cannot_hold_every_name_is_refused() {
    let database = Database::new("utf");
    let name = format!("latin_{}", std::process::id());
    database.administer(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    let said = refused_with(&format!("{}/{name}", database.url.rsplit_once('/').unwrap().0));
    assert!(said.contains("encoding is LATIN1") && said.contains("ENCODING 'UTF8'"), "{said}");
}

/// Does its log say that row-level security does not hold its role?
fn is_told_of_policies(platform: &Platform) -> bool {
    platform.log().contains("row-level security does not hold")
}

#[test]
fn a_role_that_row_level_security_does_not_hold_is_told_of_at_the_start() {
    let database = Database::new("held");
    let start = |url: &str| {
        let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        Setup::default().env("DATABASE_URL", url).env("MASTER_ENCRYPTION_KEY", key).start()
    };
    assert!(!is_told_of_policies(&start(&database.url)));
    assert!(is_told_of_policies(&start(&database.admin)));
    let (_, name) = database.url.rsplit_once('/').unwrap();
    database.administer(&format!("ALTER ROLE {name} BYPASSRLS"));
    assert!(is_told_of_policies(&start(&database.url)));
}

/// What the image of Postgres runs on an empty volume, and the address that the gateway is given.
#[test]
fn the_role_that_compose_makes_is_one_that_row_level_security_holds() {
    let (postgres, folder) = (Postgres::start(), tempfile::tempdir().unwrap());
    let compose = fs::read_to_string(shipped("deploy/compose.yaml")).unwrap();
    let (_, script) = compose.split_once("    content: |\n").unwrap();
    let script: Vec<_> = script.lines().map_while(|line| line.strip_prefix("      ")).collect();
    let file = folder.path().join("role.sql");
    fs::write(&file, script.join("\n")).unwrap();
    // So it comes with the password, as the image makes it.
    postgres.database().administer("ALTER ROLE CURRENT_USER PASSWORD 'pass-word'");
    let mut run = psql(&postgres.admin());
    let done = run.args(["-v", "ON_ERROR_STOP=1", "-f"]).arg(&file).env("POSTGRES_PASSWORD", "pass-word").output();
    assert!(done.as_ref().unwrap().status.success(), "{done:?}");

    let (_, address) = compose.split_once("DATABASE_URL: ").unwrap();
    let (address, _) = address.split_once('\n').unwrap();
    let (role, name) = address.split_once("@postgres/").unwrap();
    let server = postgres.admin();
    let (_, place) = server.trim_end_matches("/postgres").rsplit_once('@').unwrap();
    let url = format!("{}@{place}/{name}", role.replace("${POSTGRES_PASSWORD:?}", "pass-word"));
    let platform = Setup::default().env("DATABASE_URL", &url).start();
    platform.register("ada@example.com");
    assert!(!is_told_of_policies(&platform));
    let passwords = "SELECT rolname, rolpassword IS NOT NULL FROM pg_authid WHERE rolcanlogin ORDER BY 1";
    assert_eq!(postgres.database().administer(passwords), "gateway|f\nportcullis|t\ntester|f");
}

/// A command on a platform's configuration, data and database.
fn command(words: &[&str], file: &Path, config: &Path, data: &Path, url: Option<&str>) -> Output {
    let mut command = Command::new(PORTCULLIS);
    command.args(words).arg(file).arg("--config").arg(config).arg("--data").arg(data).env_remove("DATABASE_URL");
    command.envs(url.map(|url| ("DATABASE_URL", url))).output().unwrap()
}

/// The shipped platform, where many come at once.
fn crowded(url: Option<&str>) -> Setup {
    let setup = Setup::default().edit("routes.toml", "\"20/minute", "\"1000/minute");
    let setup = setup.edit("routes.toml", "\"30/minute", "\"1000/minute");
    url.into_iter().fold(setup, |setup, url| setup.env("DATABASE_URL", url))
}

fn address(number: usize) -> String {
    format!("person-{number}@example.com")
}

/// Saves into a new folder below `to` while one after the other registers, and again until somebody has registered meanwhile; says how many
/// were there before. Nobody is refused.
fn save_under_way(platform: &Platform, to: &Path, save: impl Fn(&Path) -> Output) -> (usize, Output) {
    let (registered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let there = || registered.load(Ordering::SeqCst);
    thread::scope(|scope| {
        let registering = scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                platform.register(&address(there()));
                registered.fetch_add(1, Ordering::SeqCst);
            }
        });
        eventually("somebody to be there", || there() > 0 || registering.is_finished());
        let mut tries = 0;
        let saved = loop {
            tries += 1;
            let folder = to.join(tries.to_string());
            fs::create_dir(&folder).unwrap();
            let before = there();
            let saved = save(&folder);
            if there() > before || registering.is_finished() {
                break (before, saved);
            }
        };
        is_over.store(true, Ordering::SeqCst);
        saved
    })
}

/// Saves a platform under way, and serves what was saved from an empty place.
fn save_and_restore(url: Option<&str>, empty_url: Option<&str>) {
    let platform = crowded(url).start();
    platform.register("ada@example.com");
    let token = platform.login("ada@example.com");
    platform.admin();
    let (config, data) = (platform.folder.path().join("config"), platform.folder.path().join("data"));
    let elsewhere = tempfile::tempdir().unwrap();
    let save = |folder: &Path| command(&["backup"], folder, &config, &data, url);
    let (people, saved) = save_under_way(&platform, elsewhere.path(), save);
    let said = String::from_utf8_lossy(&saved.stdout).into_owned();
    assert!(saved.status.success() && said.contains("The master key is not in it"), "{saved:?}");
    let file: PathBuf = said.split(": ").next().unwrap().into();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(data.join("master.key")).unwrap();
    assert!(!String::from_utf8_lossy(&fs::read(&file).unwrap()).contains(key.trim()));

    let full = command(&["restore"], &file, &config, &data, url);
    assert_eq!(full.status.code(), Some(65), "{full:?}");
    assert!(String::from_utf8_lossy(&full.stderr).contains("empty place only"), "{full:?}");
    assert_eq!(platform.get("/demo/x", &token).status, 200);

    let place = tempfile::tempdir().unwrap();
    let restored = command(&["restore"], &file, &config, &place.path().join("data"), empty_url);
    assert!(restored.status.success(), "{restored:?}");
    fs::copy(data.join("master.key"), place.path().join("data/master.key")).unwrap();
    drop(platform);
    let again = crowded(empty_url).start_on(&place.path().join("data"));
    let root = again.login("root@example.com");
    let sessions = again.get("/admin/sessions?limit=200", &root).json()["items"].as_array().unwrap().clone();
    assert!(sessions.len() > people, "{sessions:?}");
    for session in sessions {
        let owner = format!("/admin/users/{}", session["account_id"].as_str().unwrap());
        assert_eq!(again.get(&owner, &root).status, 200, "{session}");
    }
    for person in 0..people {
        again.login(&address(person));
    }
    again.login("ada@example.com");
    assert_eq!(again.get("/demo/x", &token).status, 200, "what was signed before is good after");
}

#[test]
fn a_backup_of_sqlite_is_restored_into_an_empty_place_and_people_log_in() {
    save_and_restore(None, None);
}

#[test]
fn a_backup_of_postgres_is_restored_into_an_empty_place_and_people_log_in() {
    let (full, empty) = (Database::new("backup_full"), Database::new("backup_empty"));
    save_and_restore(Some(&full.url), Some(&empty.url));
}

#[test]
fn a_backup_goes_through_a_pooler() {
    let (full, empty) = (Database::new("lent_full"), Database::new("lent_empty"));
    let ((_one, full), (_other, empty)) = (Pooler::before(&full), Pooler::before(&empty));
    save_and_restore(Some(&full), Some(&empty));
}
