//! Addresses that hold a secret.

use super::*;

/// gateway.toml says so of every secret.
#[test]
fn an_address_with_a_password_is_not_written_in_clear_and_not_repeated() {
    let store = |url: &str| said("default = \"sqlite:portcullis.db\" }", &format!("default = \"{url}\" }}"));
    insta::assert_snapshot!(store("postgres://me:secretpw@db/x"), @r#"gateway.toml:85:7: an address with a password is not written in clear; use { env = "NAME" } or { file = "path" }"#);
    assert!(store("postgres://db/x?user=me&password=secretpw").contains("is not written in clear"));
    assert_eq!(store("postgres://me@db/x"), "");
    let redis = |more: &str| said("# redis = { env = \"REDIS_URL\" }", &format!("on_outage = \"refuse\"\n{more}"));
    let told = "gateway.toml:119:9: an address with a password is not written in clear; use { env = \"NAME\" } or { file = \"path\" }";
    assert_eq!(redis("redis = \"redis://:pw@a\""), told);
    assert_eq!(redis("redis = \"redis://a,redis://me:pw@b\"\ncluster = true"), told);
    assert!(
        redis("redis = \"redis://one/0\"\nsentinels = \"redis://:pw@b:26379\"").contains(":120:13: an address with")
    );
    assert_eq!(redis("redis = \"redis://me@a\""), "");
}

#[test]
fn an_address_of_a_database_that_cannot_be_read_is_told_with_its_place_and_not_repeated() {
    let written = tempfile::NamedTempFile::new().unwrap();
    let url = |url: &str| {
        fs::write(written.path(), url).unwrap();
        let from = format!("url = {{ file = \"{}\" }}", written.path().display());
        said("url = { env = \"DATABASE_URL\", default = \"sqlite:portcullis.db\" }", &from)
    };
    let wrong = url("postgres://me:secret@db/x?sslmode=verify-ful");
    assert!(wrong.contains("`sslmode` is disable, allow") && wrong.starts_with("gateway.toml:"), "{wrong}");
    let wrong = url("postgres://me:sec/ret@db:port/x");
    assert!(wrong.contains("cannot be read") && !wrong.contains("ret@"), "{wrong}");
    assert_eq!(url("postgres://me:secret@db/x?sslmode=verify-full"), "");
}
