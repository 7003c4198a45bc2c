//! The shipped file, its schema, and what is said of mistakes.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accounts;
mod billing;
mod browser;
mod issuers;
mod login_providers;
mod newcomers;
mod schemas;
mod shared;
mod texts;
mod tls;
mod tokens;
mod upstreams;
mod usage;

use std::{fs, path::Path};

use policies::config::Diagnostic;

use super::{Config, ConfigFolder, load, read};

fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

/// What is said of the shipped folder with one change in `gateway.toml`.
fn said(from: &str, to: &str) -> String {
    said_of(&[(from, to)])
}

/// The same with several changes.
fn said_of(changes: &[(&str, &str)]) -> String {
    let wrong = changed(changes).err().unwrap_or_default();
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The shipped folder with these changes in `gateway.toml`.
fn changed(changes: &[(&str, &str)]) -> Result<Config, Vec<Diagnostic>> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["gateway.toml", "routes.toml", "roles.toml", "tiers.toml", "cases.toml"] {
        fs::copy(shipped().join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("gateway.toml");
    let mut text = fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(&path, text).unwrap();
    load(&ConfigFolder::Path(folder.path().to_owned()))
}

#[test]
fn a_line_that_moves_is_no_change() {
    let pair = "certificates = [{ certificate = \"a.pem\", key = \"a.key\" }]\nclient_ca = \"ca.pem\"";
    let text = fs::read_to_string(shipped().join("gateway.toml")).unwrap().replace("certificates = []", pair);
    let (before, after) = (read(&text).0, read(&format!("# One line more.\n{text}")).0);
    assert_eq!(before.tls.certificates[0].at.to_string(), "gateway.toml:36:17: ");
    assert_eq!(after.tls.certificates[0].at.to_string(), "gateway.toml:37:17: ");
    assert!(before == after);
}

#[test]
fn a_product_with_a_colon_is_shown_whole_by_authenticators() {
    let of_product = ("issuer = \"Portcullis\"", "# issuer left out");
    let config = changed(&[("product = \"Portcullis\"", "product = \"Acme: Cloud\""), of_product]).unwrap();
    assert_eq!(config.settings.accounts.product, "Acme: Cloud");
    assert_eq!(config.settings.mfa.issuer, "Acme Cloud");
}

#[test]
fn the_embedded_defaults_are_the_shipped_files() {
    let (embedded, read) = (load(&ConfigFolder::Embedded).unwrap(), load(&ConfigFolder::Path(shipped())).unwrap());
    assert!(embedded.settings == read.settings);
    assert_eq!(embedded.cases.len(), read.cases.len());
}

#[test]
fn an_address_has_half_of_all_requests_where_nothing_is_said_of_it() {
    let unsaid = [("max_requests_per_address", "# "), ("max_requests = 20000", "max_requests = 7")];
    assert_eq!(changed(&unsaid).unwrap().settings.server.max_requests_per_address, 4);
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_was_meant() {
    insta::assert_snapshot!(said("max_uri_bytes = 8192", "max_url_bytes = 8192"), @"gateway.toml:62:1: unknown key `max_url_bytes`; did you mean `max_uri_bytes`?");
    insta::assert_snapshot!(said("keepalive = \"60s\"", "keepalive = \"60 seconds\""), @r#"gateway.toml:64:13: "60 seconds" is not a length of time: a whole number and ms, s, m, h or d, such as "250ms" or "30s", and a hundred years at most"#);
    insta::assert_snapshot!(said("refusals = \"120/minute\"", "refusals = \"-5/minute\""), @r#"gateway.toml:76:12: a quota cannot be negative: "-5""#);
    insta::assert_snapshot!(said("algorithm = { env = \"AUTH_JWT_ALGORITHM\", default = \"EdDSA\" }", "algorithm = \"none\""), @r#"gateway.toml:136:13: "none" is not an algorithm that we sign with: EdDSA, ES256, RS256 or HS256"#);
    insta::assert_snapshot!(said("[upstreams.demo]", "[upstreams.demos]"), @r#"
    routes.toml:78:12: there is no upstream `demo`; did you mean `demos`?
    routes.toml:84:12: there is no upstream `demo`; did you mean `demos`?
    routes.toml:89:12: there is no upstream `demo`; did you mean `demos`?
    routes.toml:95:12: there is no upstream `demo`; did you mean `demos`?
    routes.toml:101:12: there is no upstream `demo`; did you mean `demos`?
    routes.toml:714:12: there is no upstream `demo`; did you mean `demos`?
    "#);
    insta::assert_snapshot!(said("assertion_ttl = \"5m\"", "assertion_ttl = \"6m\""), @"gateway.toml:140:17: an assertion lives at most 5m");
    insta::assert_snapshot!(said("# shared_secret = { env = \"AUTH_JWT_SECRET_KEY\" }   # or JWT_SECRET_KEY", "shared_secret = \"in clear, and long enough to be one\""), @r#"gateway.toml:143:17: a secret is not written in clear; use { env = "NAME" } or { file = "path" }"#);
    insta::assert_snapshot!(said("trusted_proxies = [{ env = \"PORTCULLIS_TRUSTED_PROXIES\", default = \"\" }]", "trusted_proxies = [\"10.0.0.0/99\"]"), @r#"gateway.toml:68:20: "10.0.0.0/99" is not a network such as 10.0.0.0/8"#);
    insta::assert_snapshot!(said("issuer = \"Portcullis\"", "issuer = \"Ex:ample\""), @"gateway.toml:321:10: a name that authenticators show is one line of text without a colon");
    for (from, to, told) in [
        ("assertion_ttl = \"5m\"", "assertion_ttl = \"1ms\"", "must be at least \"1s\""),
        ("max_connections = 16", "max_connections = 9223372036854775807", "must be at most 10000"),
        ("worker_threads = 0", "worker_threads = 1000000", "must be at most 10000"),
        ("max_connections_percent = 45", "max_connections_percent = 50", "must be at most 49"),
        ("max_connections_percent = 45", "max_connections_percent = 0", "must be at least 1"),
        ("max_requests_per_address = 10000", "max_requests_per_address = 0", "must be at least 1"),
        ("access = \"stderr\"", "access = \"none\"", "neither off, stderr, stdout nor a file"),
    ] {
        assert!(said(from, to).contains(told), "{to}: {}", said(from, to));
    }
    insta::assert_snapshot!(said("[log]", "[log"), @"gateway.toml:258:5: unclosed table, expected `]`");
    insta::assert_snapshot!(said("default = \"127.0.0.1:8080\" }", "default = \"localhost\" }"), @r#"gateway.toml:20:8: "localhost" is not an address such as 127.0.0.1:8080"#);
}

#[test]
fn a_missing_folder_is_told_file_by_file() {
    let wrong = load(&ConfigFolder::Path("/nonexistent".into())).err().unwrap();
    assert_eq!(wrong.len(), 5);
    assert!(wrong[0].to_string().contains("gateway.toml cannot be read"), "{}", wrong[0]);
}

#[test]
fn a_file_in_another_encoding_is_told_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["gateway.toml", "routes.toml", "roles.toml", "tiers.toml", "cases.toml"] {
        fs::copy(shipped().join(name), folder.path().join(name)).unwrap();
    }
    // Latin-1's é.
    fs::write(folder.path().join("roles.toml"), b"[role.admin]\n# caf\xe9\npermissions = [\"*\"]\n").unwrap();
    let wrong = load(&ConfigFolder::Path(folder.path().to_owned())).err().unwrap_or_default();
    assert!(
        wrong.iter().any(|wrong| wrong.to_string().ends_with("roles.toml cannot be read: line 2 is not UTF-8")),
        "{wrong:?}"
    );
}

#[test]
fn a_missing_file_hides_nothing_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["routes.toml", "tiers.toml", "cases.toml", "seed.toml"] {
        let begin = if matches!(name, "tiers.toml" | "seed.toml") { "x = 1\n" } else { "" };
        let text = fs::read_to_string(shipped().join(name)).unwrap();
        fs::write(folder.path().join(name), format!("{begin}{text}")).unwrap();
    }
    let gateway = "[log]\nlevel = \"loud\"\n[upstreams.demo]\nservers = [\"127.0.0.1:1\"]\n";
    fs::write(folder.path().join("gateway.toml"), gateway).unwrap();
    let wrong = load(&ConfigFolder::Path(folder.path().to_owned())).err().unwrap_or_default();
    let said = wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(said.replace(&folder.path().display().to_string(), ""), @r#"
    gateway.toml:2:9: "loud" is not a level: error, warn, info, debug or trace
    roles.toml:1:1: /roles.toml cannot be read: No such file or directory (os error 2)
    tiers.toml:1:1: unknown key `x`; known are tier
    seed.toml:1:1: unknown key `x`; known are team, domain
    "#);
}
