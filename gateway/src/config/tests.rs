//! The shipped file, its schema, and what is said of mistakes.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod schemas;

use std::{fs, path::Path};

use identity::Algorithm;
use policies::config::Diagnostic;

use super::{Config, ConfigFolder, load, login::Speaks, read, schema};

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
fn a_session_lives_as_long_as_its_tokens() {
    let tokens = changed(&[("session_life = \"30d\"", "session_life = \"1d\"")]).unwrap().settings.tokens;
    assert_eq!(tokens.session_life, tokens.refresh_ttl);
}

/// It would open the door when its session is over, and in no list.
#[test]
fn an_access_token_does_not_outlive_its_session() {
    let access = "access_ttl = { env = [\"ACCESS_TOKEN_EXPIRE_MINUTES\", \"AUTH_JWT_ACCESS_TOKEN_EXPIRE_MINUTES\"], unit = \"m\", default = \"30m\" }";
    insta::assert_snapshot!(said(access, "access_ttl = \"8d\""), @"gateway.toml:137:14: an access token must not outlive its session: `access_ttl` is longer than `refresh_ttl`");
    assert_eq!(said(access, "access_ttl = \"7d\""), "");
}

#[test]
fn the_longest_lock_is_not_shorter_than_the_first() {
    insta::assert_snapshot!(said("longest = \"24h\"", "longest = \"29m\""), @"gateway.toml:231:11: must not be shorter than the first lock (`minutes`)");
    assert_eq!(said("longest = \"24h\"", "longest = \"30m\""), "");
}

#[test]
fn the_keys_of_an_issuer_are_fetched_no_less_often_than_no_more_often() {
    let there =
        "[[issuers]]\nissuer = \"https://id.example.com\"\naudience = \"door\"\nrefresh_max = \"59s\"\n\n[retention]";
    insta::assert_snapshot!(said("[retention]", there), @"gateway.toml:102:15: must not be shorter than `refresh_min`");
}

#[test]
fn claims_that_cannot_say_what_they_are_to_say_are_told_with_their_place() {
    let issuer = |more: &str| {
        let there =
            format!("[[issuers]]\nissuer = \"https://id.example.com\"\naudience = \"door\"\n{more}\n\n[retention]");
        said("[retention]", &there)
    };
    let acme = "value = \"acme\", tenant = \"0190a5a0-7d4e-7cc1-9c1f-3a3d5b2f8e10\"";
    let good = format!(
        "subject_claim = \"oid\"\ntenant_claim = \"org_id\"\ntenants = [{{ {acme}, join = true }}, {{ {acme} }}]"
    );
    assert_eq!(issuer(&good), "");
    insta::assert_snapshot!(issuer("tenant_clam = \"org_id\""), @"gateway.toml:102:1: unknown key `tenant_clam`; did you mean `tenant_claim`?");
    insta::assert_snapshot!(issuer(&format!("tenant_claim = \"o\"\ntenants = [{{ {acme}, joins = true }}]")), @"gateway.toml:103:79: unknown key `joins`; did you mean `join`?");
    insta::assert_snapshot!(issuer(&format!("tenants = [{{ {acme} }}]")), @"gateway.toml:102:39: which claim has these values? Give `tenant_claim`");
    insta::assert_snapshot!(issuer("tenant_claim = \"o\"\ntenants = [{ value = \"acme\", tenant = \"acme\" }]"), @r#"gateway.toml:103:39: "acme" is not the id of an organisation, as GET /admin/tenants shows it"#);
    for claim in ["email", "/email", "upn", "iss", "aud", "", "mail", "org"] {
        let more = format!("email_claim = \"mail\"\ntenant_claim = \"org\"\nsubject_claim = \"{claim}\"");
        assert!(
            issuer(&more).starts_with(&format!("gateway.toml:104:17: `{claim}` does not say who somebody is")),
            "{}",
            issuer(&more)
        );
    }
}

#[test]
fn the_embedded_defaults_are_the_shipped_files() {
    let (embedded, read) = (load(&ConfigFolder::Embedded).unwrap(), load(&ConfigFolder::Path(shipped())).unwrap());
    assert!(embedded.settings == read.settings);
    assert_eq!(embedded.cases.len(), read.cases.len());
}

#[test]
fn the_schema_beside_the_file_is_that_of_this_version() {
    let path = shipped().join("schema/gateway.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "run with UPDATE_SCHEMAS=1 to write it");
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_was_meant() {
    insta::assert_snapshot!(said("max_uri_bytes = 8192", "max_url_bytes = 8192"), @"gateway.toml:61:1: unknown key `max_url_bytes`; did you mean `max_uri_bytes`?");
    insta::assert_snapshot!(said("keepalive = \"60s\"", "keepalive = \"60 seconds\""), @r#"gateway.toml:63:13: "60 seconds" is not a length of time: a whole number and ms, s, m, h or d, such as "250ms" or "30s", and a hundred years at most"#);
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
        ("access = \"stderr\"", "access = \"none\"", "neither off, stderr, stdout nor a file"),
    ] {
        assert!(said(from, to).contains(told), "{to}: {}", said(from, to));
    }
    insta::assert_snapshot!(said("[log]", "[log"), @"gateway.toml:258:5: unclosed table, expected `]`");
    insta::assert_snapshot!(said("default = \"127.0.0.1:8080\" }", "default = \"localhost\" }"), @r#"gateway.toml:20:8: "localhost" is not an address such as 127.0.0.1:8080"#);
}

#[test]
fn a_subject_whose_comma_could_be_another_s_is_reported() {
    let with_role = |subject: &str, role: &str| {
        let client = format!(
            "client_ca = \"ca.pem\"\n[[tls.clients]]\nsubject = '{subject}'\nrole = \"{role}\"\ntier = \"free\"\n"
        );
        said(
            "# client_ca = \"tls/clients.pem\"\nclient_required = false       # true: nobody connects without a certificate\n",
            &client,
        )
    };
    let with = |subject: &str| with_role(subject, "user");
    assert_eq!(with("O=Acme, CN=orders"), "");
    insta::assert_snapshot!(with_role("O=Acme, CN=orders", "usr"), @"gateway.toml:41:8: there is no role `usr` in roles.toml; did you mean `user`?");
    assert_eq!(with(r"O=Acme\, Inc., CN=orders"), "");
    insta::assert_snapshot!(with("O=Acme, Inc., CN=orders"), @r"gateway.toml:40:11: not a distinguished name; a comma inside a value is written \, (in 'single quotes')");
}

#[test]
fn a_listener_with_tls_that_could_not_be_is_told_before_it_is_begun() {
    insta::assert_snapshot!(said("# https = \"0.0.0.0:443\"", "https = \"0.0.0.0:443\""), @"gateway.toml:22:9: https needs a certificate to show: give `certificates` in [tls]");
    insta::assert_snapshot!(said("redirect_to_https = false", "redirect_to_https = true"), @"gateway.toml:23:21: there is no HTTPS listener to send anybody to: give `https`");
}

/// Nobody at all could connect.
#[test]
fn a_door_behind_balancers_knows_some() {
    let (without, with) = ("proxy_protocol = false", "proxy_protocol = true");
    insta::assert_snapshot!(said(without, with), @"gateway.toml:25:18: with proxy_protocol nobody connects but `trusted_proxies` in [server], and there are none");
    let shipped = "trusted_proxies = [{ env = \"PORTCULLIS_TRUSTED_PROXIES\", default = \"\" }]";
    assert_eq!(said_of(&[(without, with), (shipped, "trusted_proxies = [\"192.0.2.0/24\"]")]), "");
}

/// It would let everybody in where nobody without a certificate was meant to be.
#[test]
fn a_certificate_that_is_required_of_clients_needs_an_authority() {
    insta::assert_snapshot!(said("client_required = false", "client_required = true"), @"gateway.toml:39:19: without client_ca there is no certificate that could be required");
    assert_eq!(said("client_required = false", "client_ca = \"ca.pem\"\nclient_required = true"), "");
}

#[test]
fn a_redis_needs_a_word_for_its_outage() {
    let redis =
        |more: &str| said("# redis = { env = \"REDIS_URL\" }", &format!("redis = \"redis://127.0.0.1:1\"\n{more}"));
    insta::assert_snapshot!(redis(""), @r#"gateway.toml:118:9: `on_outage` is missing: "local" or "refuse", for requests under limits while this Redis is away"#);
    insta::assert_snapshot!(redis("on_outage = \"local\""), @"gateway.toml:119:13: `nodes` is missing: each gateway lets through its part of so many");
    insta::assert_snapshot!(redis("on_outage = \"local\"\nnodes = 0"), @"gateway.toml:120:9: must be at least 1");
    insta::assert_snapshot!(redis("on_outage = \"open\""), @r#"
    gateway.toml:118:9: `on_outage` is missing: "local" or "refuse", for requests under limits while this Redis is away
    gateway.toml:119:13: unknown value `open`; known are local, refuse
    "#);
    assert_eq!(redis("on_outage = \"refuse\""), "");
    assert_eq!(redis("on_outage = \"local\"\nnodes = 3"), "");
}

#[test]
fn a_redis_of_another_shape_is_told_of_with_what_it_lacks() {
    let one = "# redis = { env = \"REDIS_URL\" }";
    let redis = |text: &str| said(one, &format!("on_outage = \"refuse\"\n{text}"));
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        format!("{{ file = \"{}\" }}", folder.path().join(name).display())
    };
    let one_of_its_own = format!("redis = {}", secret("one", "rediss://user:p,w@host:6379/0"));
    let (master, sentinels) =
        (secret("master", "redis://:secret@master_1/0"), secret("sentinels", "redis://a:26379,rediss://:pw@b:26379"));
    let watched = format!("redis = {master}\nsentinels = {sentinels}");
    for good in [
        one_of_its_own.as_str(),
        &watched,
        "redis = \"redis://a:1,redis://b:2\"\ncluster = true",
        "redis = \"redis://a\"\ncluster = false",
    ] {
        assert_eq!(redis(good), "", "{good}");
    }
    insta::assert_snapshot!(redis("redis = \"http://a\""), @r#"gateway.toml:119:9: a Redis is "redis://user:password@host:6379/0", or "rediss://…" with TLS"#);
    insta::assert_snapshot!(redis("redis = \"redis://a:1,redis://b:2\""), @r#"gateway.toml:119:9: a Redis is "redis://user:password@host:6379/0", or "rediss://…" with TLS"#);
    insta::assert_snapshot!(said(one, "sentinels = \"redis://a:26379\"\nredis_ca = \"ca.pem\"\ncluster = true\non_outage = \"local\"\nnodes = 3"), @r#"
    gateway.toml:118:13: `redis` is missing, which this is about
    gateway.toml:119:12: the file "ca.pem" cannot be read: No such file or directory (os error 2)
    gateway.toml:119:12: `redis` is missing, which this is about
    gateway.toml:120:11: `redis` is missing, which this is about
    gateway.toml:121:13: `redis` is missing, which this is about
    gateway.toml:122:9: `redis` is missing, which this is about
    "#);
    assert_eq!(said(one, "cluster = false"), "");
    insta::assert_snapshot!(redis("redis = \"redis://a\"\nsentinels = \"a:26379\""), @r#"gateway.toml:119:9: a Redis is "redis://user:password@host:6379/0", or "rediss://…" with TLS"#);
    insta::assert_snapshot!(redis("redis = \"unix:/run/redis\"\nsentinels = \"redis://a:26379\""), @r#"gateway.toml:119:9: with Sentinels a Redis is "redis://user:password@name-of-the-master/0""#);
    insta::assert_snapshot!(redis("redis = \"redis://a\"\nsentinels = \"redis://b:26379\"\ncluster = true"), @"gateway.toml:121:11: a Redis Cluster has no Sentinels");
    insta::assert_snapshot!(redis("redis = \"redis://a\"\nredis_ca = \"routes.toml\""), @r#"gateway.toml:120:12: the file "routes.toml" holds no certificate in PEM"#);
    insta::assert_snapshot!(said("prefix = \"portcullis\"", "prefix = \"{a}\""), @"gateway.toml:125:10: a prefix is made of letters, digits and - _ . :");
}

#[test]
fn a_missing_folder_is_told_file_by_file() {
    let wrong = load(&ConfigFolder::Path("/nonexistent".into())).err().unwrap();
    assert_eq!(wrong.len(), 5);
    assert!(wrong[0].to_string().contains("gateway.toml cannot be read"), "{}", wrong[0]);
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

#[test]
fn what_browsers_would_not_understand_is_refused_with_what_they_would() {
    let frames = |to: &str| said("frame_ancestors = \"'none'\"", &format!("frame_ancestors = \"{to}\""));
    let place =
        "gateway.toml:269:19: write \"'none'\", or \"'self'\" and origins such as https://app.example.com; or \"off\"";
    for wrong in ["none", "'none' 'self'", "", "https://a.test; script-src *", "https://a.test, x", "'unsafe-inline'"] {
        assert_eq!(frames(wrong), place, "{wrong}");
    }
    for good in ["'self'", "off", "https://a.test https://*.b.test:8443", "*"] {
        assert_eq!(frames(good), "", "{good}");
    }
    insta::assert_snapshot!(frames("'self'\\nSet-Cookie: x=y"), @r#"gateway.toml:269:19: a field's value is one line of ASCII; or "off""#);
    insta::assert_snapshot!(said("\"max-age=31536000\"", "\"1 year\""), @r#"gateway.toml:267:29: write "max-age=SECONDS", perhaps with "; includeSubDomains" and "; preload"; or "off""#);
    assert_eq!(said("\"max-age=31536000\"", "\"max-age=63072000; includeSubDomains; preload\""), "");
    insta::assert_snapshot!(said("content_type_options = \"nosniff\"", "content_type_options = \"sniff\""), @r#"gateway.toml:268:24: there is one value, "nosniff"; or "off""#);
    insta::assert_snapshot!(said("\"strict-origin-when-cross-origin\"", "\"never\""), @r#"gateway.toml:270:19: choose from no-referrer, no-referrer-when-downgrade, same-origin, origin, strict-origin, origin-when-cross-origin, strict-origin-when-cross-origin and unsafe-url; or "off""#);
    insta::assert_snapshot!(said("\"camera=(), geolocation=(), microphone=()\"", "\"camera 'none'\""), @r#"gateway.toml:271:22: write features such as "camera=(), fullscreen=(self)"; or "off""#);
}

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

#[test]
fn what_is_said_of_accounts_and_mail_that_cannot_be_is_told_with_its_place() {
    let accounts = |from: &str, to: &str| said(from, to);
    insta::assert_snapshot!(accounts("default = \"http://127.0.0.1:8080\" }", "default = \"example.com/?x\" }"), @r#"gateway.toml:196:14: write where people reach the platform, such as "https://example.com""#);
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
    insta::assert_snapshot!(accounts("# templates = \"mail\"", "templates = \"none\""), @"gateway.toml:248:13: none: No such file or directory (os error 2)");
}

#[test]
fn what_was_used_is_kept_for_as_long_as_somebody_may_ask_or_bring_it_again() {
    let place = |said: String| said.split_once(": ").map(|(_, said)| said.to_owned()).unwrap_or_default();
    let events = place(said("retention = \"35d\"", "retention = \"31d\""));
    insta::assert_snapshot!(events, @r#"must not be shorter than "32d": a report may be 31 days old, and what is brought again is known for as long"#);
    let totals = place(said("usage = \"1100d\"", "usage = \"399d\""));
    insta::assert_snapshot!(totals, @r#"must not be shorter than "400d": people ask for a year"#);
    let role = "\n[[issuers]]\nissuer = \"https://id.example.com\"\naudience = \"x\"\nrole = \"service\"\n";
    let issuer = place(said("[retention]", &format!("{role}\n[retention]")));
    insta::assert_snapshot!(issuer, @"`service` is a role of service accounts, and no person has one");
}

#[test]
fn what_statements_say_goes_over_no_network_in_clear() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(&secret, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    let told_at = |url: &str| {
        let secret = secret.path().display();
        let lines = format!("webhook_url = \"{url}\"\nwebhook_secret = {{ file = \"{secret}\" }}");
        said("# webhook_url = \"https://example.com/hooks\"", &lines)
    };
    for good in ["https://example.com/hooks", "http://127.0.0.1:9000/hooks", "http://localhost/hooks"] {
        assert_eq!(told_at(good), "", "{good}");
    }
    for bad in ["http://example.com/hooks", "http://10.0.0.7/hooks", "https://user:pw@example.com/hooks", "/hooks"] {
        let said = told_at(bad);
        assert!(
            said.ends_with("a webhook goes to an address over https, or over http on this machine"),
            "{bad}: {said}"
        );
    }
}

/// Whoever registers would have them, and be let in nowhere.
#[test]
fn a_configuration_without_the_role_and_the_tier_of_newcomers_is_refused() {
    let without = |file: &str, from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        for name in ["gateway.toml", "routes.toml", "roles.toml", "tiers.toml"] {
            let text = fs::read_to_string(shipped().join(name)).unwrap();
            let text = if name == file { text.replace(from, to) } else { text };
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("cases.toml"), "").unwrap();
        let wrong = load(&ConfigFolder::Path(folder.path().to_owned())).err().unwrap_or_default();
        wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(without("tiers.toml", "[tier.free]", "[tier.starter]"), @"tiers.toml:1:1: there is no tier `free`, which whoever registers gets");
    let reports = "[role.user]\npermissions = [\"usage:report\", \"";
    let shipped = "[role.user]\npermissions = [\"";
    insta::assert_snapshot!(without("roles.toml", shipped, reports), @"roles.toml:36:1: `user` is a role of service accounts, and whoever registers gets it");
    let manages = "[role.user]\npermissions = [\"users:*\", \"";
    insta::assert_snapshot!(without("roles.toml", shipped, manages), @"roles.toml:36:1: `user` may manage accounts, and whoever registers gets it");
    let (usd, eur) = ("price = \"29 USD/month\"", "price = \"29 EUR/month\"");
    insta::assert_snapshot!(without("tiers.toml", usd, eur), @"tiers.toml:40:1: tier.developer: `price` is not in USD, which `[billing]` of gateway.toml names");
    insta::assert_snapshot!(without("roles.toml", "[role.user]", "[role.guest]"), @"roles.toml:1:1: there is no role `user`, which whoever registers gets");
}

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

#[test]
fn what_is_known_of_google_and_github_need_not_be_said() {
    let section = |id: &str, more: &str| {
        // What is a secret is another test's matter: any file will do.
        let secret = "client_secret = { file = \"roles.toml\" }";
        format!(
            "\n[[login_providers]]\nid = \"{id}\"\npreset = \"{id}\"\nclient_id = \"x\"\n{secret}\n{more}\n\n[log]\n"
        )
    };
    let one = |text: &str| changed(&[("\n[log]\n", text)]).unwrap().settings.login_providers.remove(0);
    let google = one(&section("google", ""));
    assert_eq!(
        (google.speaks, &*google.issuer, &*google.label, &*google.scope),
        (Speaks::Oidc, "https://accounts.google.com", "Google", "openid email profile")
    );
    assert!(google.sign_up && !google.says_when, "Google says no `auth_time` unless it is asked by `max_age`");
    assert_eq!(google.keys().algorithms.first(), Some(&Algorithm::Rs256), "which is how Google signs");
    let github = one(&section("github", ""));
    assert_eq!(
        (github.speaks, &*github.issuer, &*github.label, &*github.scope),
        (Speaks::Github, "https://github.com", "GitHub", "read:user user:email")
    );
    // What is said all the same counts.
    let other = one(&section("google", "label = \"Work\"\nscopes = [\"email\"]\nsign_up = false"));
    assert_eq!((&*other.label, &*other.scope, other.sign_up), ("Work", "openid email", false));
    let two = format!("{}{}", section("google", "").trim_end_matches("\n[log]\n"), section("google", ""));
    let told = changed(&[("\n[log]\n", &two)]).err().unwrap_or_default();
    assert!(told.iter().any(|one| one.to_string().contains("of this issuer, already")), "{told:?}");
}
