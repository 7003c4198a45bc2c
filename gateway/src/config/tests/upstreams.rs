//! Upstreams that cannot be.

use super::*;

/// What is said of one more upstream.
fn said_of_upstream(keys: &str) -> String {
    said(
        "# ---------------------------------------------------------------------------------------------------- upstreams",
        &format!("[upstreams.x]\n{keys}\n"),
    )
}

#[test]
fn an_upstream_that_cannot_be_is_told_with_its_place() {
    insta::assert_snapshot!(said_of_upstream("servers = [\"localhost\", \"unix:relative\", \":80\", \"[::1]:0\", \"host:99999\"]"), @r#"
    gateway.toml:279:12: "localhost" is not a server: write host:port
    gateway.toml:279:25: "unix:relative" is not a socket: write unix:/path, with an absolute path of 107 bytes at most
    gateway.toml:279:42: ":80" is not a server: write host:port
    gateway.toml:279:49: "[::1]:0" is not a server: write host:port
    gateway.toml:279:60: "host:99999" is not a server: write host:port
    "#);
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\nprotocol = \"h2\""), @"gateway.toml:280:12: h2 is HTTP/2 over TLS: give the upstream a `tls` table, or write h2c");
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\nprotocol = \"h2c\"\ntls = { sni = \"a\" }"), @"gateway.toml:280:12: h2c is HTTP/2 without TLS: write h2");
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\ntls = {}"), @"gateway.toml:280:7: `sni` is missing");
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\ntls = { sni = \"\", verify = false }"), @r#"
    gateway.toml:280:15: "" is not a name that a certificate could be for, such as backend.internal
    gateway.toml:280:19: unknown key `verify`; known are sni, ca, client_certificate, client_key
    "#);
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\ntls = { sni = \"a b\", ca = \"none.pem\", client_key = \"gateway.toml\" }"), @r#"
    gateway.toml:280:15: "a b" is not a name that a certificate could be for, such as backend.internal
    gateway.toml:280:27: the file "none.pem" cannot be read: No such file or directory (os error 2)
    gateway.toml:280:52: a certificate and its key go together: `client_certificate`, `client_key`
    gateway.toml:280:52: the file "gateway.toml" holds no private key in PEM
    "#);
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\ntls = { sni = \"a\", ca = \"routes.toml\", client_certificate = \"tiers.toml\", client_key = \"roles.toml\" }"), @r#"
    gateway.toml:280:25: the file "routes.toml" holds no certificate in PEM
    gateway.toml:280:61: the file "tiers.toml" holds no certificate in PEM
    gateway.toml:280:88: the file "roles.toml" holds no private key in PEM
    "#);
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\nhealth = { path = \"healthz\", interval = \"0s\", healthy_after = 0 }"), @r#"
    gateway.toml:280:19: "healthz" is not a path such as /healthz
    gateway.toml:280:41: must be longer than nothing
    gateway.toml:280:63: must be at least 1
    "#);
    insta::assert_snapshot!(said_of_upstream("servers = [\"a:1\"]\nbalance = \"random\"\nejection = { time = \"9s\", max_time = \"1s\" }\nretry = { tries = 4, percent = 101 }\ntotal_timeout = \"0s\"\nfirst_byte_timeout = \"0s\""), @r#"
    gateway.toml:280:11: unknown value `random`; known are round_robin, least_connections, consistent_hash
    gateway.toml:281:38: must not be shorter than `time`
    gateway.toml:282:19: a request is tried 3 times at most
    gateway.toml:282:32: more retries than requests would finish off a service that struggles
    gateway.toml:283:17: must be longer than nothing
    gateway.toml:284:22: must be longer than nothing
    "#);
}
