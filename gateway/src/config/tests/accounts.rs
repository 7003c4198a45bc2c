//! What is said of accounts, their locks and their mail.

use super::*;

#[test]
fn the_longest_lock_is_not_shorter_than_the_first() {
    insta::assert_snapshot!(said("longest = \"24h\"", "longest = \"29m\""), @"gateway.toml:231:11: must not be shorter than the first lock (`minutes`)");
    assert_eq!(said("longest = \"24h\"", "longest = \"30m\""), "");
}

#[test]
fn what_is_said_of_accounts_and_mail_that_cannot_be_is_told_with_its_place() {
    let accounts = |from: &str, to: &str| said(from, to);
    insta::assert_snapshot!(accounts("default = \"http://127.0.0.1:8080\" }", "default = \"example.com/?x\" }"), @r#"gateway.toml:196:14: write where people reach the platform, such as "https://example.com""#);
    insta::assert_snapshot!(accounts("product = \"Portcullis\"", "product = \"\\u200b\""), @"gateway.toml:197:11: a name must have a character that can be seen");
    insta::assert_snapshot!(accounts("product = \"Portcullis\"", "product = \"\\u202eA\""), @"gateway.toml:197:11: a name must not contain characters that turn the direction of writing");
    insta::assert_snapshot!(accounts("issuer = \"Portcullis\"", "issuer = \"\\u200b\""), @"gateway.toml:321:10: a name must have a character that can be seen");
    insta::assert_snapshot!(accounts("registration = \"immediate\"", "registration = \"maybe\""), @"gateway.toml:200:16: unknown value `maybe`; known are immediate, verified");
    insta::assert_snapshot!(accounts("# unverified_role = \"newcomer\"", "unverified_role = \"newcomer\""), @"gateway.toml:203:19: there is no role `newcomer` in roles.toml");
    insta::assert_snapshot!(accounts("# unverified_role = \"newcomer\"", "unverified_role = \"service\""), @"gateway.toml:203:19: `service` is a role of service accounts, and no person has one");
    insta::assert_snapshot!(accounts("# unverified_role = \"newcomer\"", "unverified_role = \"admin\""), @"gateway.toml:203:19: `admin` may manage accounts, and whoever comes for the first time would get it");
    insta::assert_snapshot!(accounts("required_roles = []", "required_roles = [\"admin\", \"boss\"]"), @"gateway.toml:324:28: there is no role `boss` in roles.toml");
    insta::assert_snapshot!(accounts("totp_skew = 1", "totp_skew = 2"), @"gateway.toml:322:13: a code serves for one half minute before and after its own at most (RFC 6238 §5.2)");
    insta::assert_snapshot!(accounts("magic_link_ttl = \"10m\"", "magic_link_ttl = \"11m\""), @"gateway.toml:207:18: a link that logs in lives ten minutes at most (OWASP ASVS 6.5.5)");
    insta::assert_snapshot!(accounts("min_strength = 0", "min_strength = 5"), @"gateway.toml:214:16: a strength is 0, 1, 2, 3 or 4");
    insta::assert_snapshot!(accounts("# blocklist = \"passwords.txt\"", "blocklist = \"none.txt\""), @"gateway.toml:217:13: the file cannot be read: No such file or directory (os error 2)");
    insta::assert_snapshot!(accounts("from = \"Portcullis <no-reply@localhost>\"", "from = \"nobody\""), @r#"gateway.toml:245:8: write who sends, such as "Example <no-reply@example.com>""#);
    insta::assert_snapshot!(accounts("transport = \"file\"", "transport = \"smtp\""), @r#"gateway.toml:237:13: mail with transport = "smtp" needs server = "host:port""#);
    insta::assert_snapshot!(accounts("transport = \"file\"", "transport = \"smtp\"\nserver = \"a:25\"\nsecurity = \"none\"\nusername = \"x\"\npassword = { file = \"gateway.toml\" }"), @r#"gateway.toml:241:12: without TLS the password could be read by whoever carries it (from the file "gateway.toml")"#);
    insta::assert_snapshot!(accounts("transport = \"file\"", "transport = \"smtp\"\nserver = { env = \"NOBODY_SETS_THIS\" }"), @"gateway.toml:238:10: the environment variable NOBODY_SETS_THIS is not set");
    insta::assert_snapshot!(accounts("# templates = \"mail\"", "templates = \"none\""), @"gateway.toml:248:13: none: No such file or directory (os error 2)");
}
