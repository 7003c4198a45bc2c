//! That no alias of a reserved name arrives.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use proptest::prelude::*;

use super::*;

fn reserved(folding: Folding) -> Reserved {
    Reserved::new(["X-Team-*", "x-plan"], folding).unwrap()
}

#[test]
fn a_name_is_folded_as_the_most_forgiving_backend_reads_it() {
    for (name, folded) in
        [("X_User.Id", "x-user-id"), ("X-USER-ID", "x-user-id"), ("x user\tid", "x-user-id"), ("é9", "-9"), ("", "")]
    {
        assert_eq!(fold(name), folded);
    }
}

/// What is the door's to say, however it is spelt.
const OURS: &[&str] = &[
    "X-User-Id",
    "x-user-email",
    "X-Tenant-Id",
    "X-Auth-Method",
    "X-Gateway-Assertion",
    "X-Session-Id",
    "X-Key-Id",
    "X-API-Key",
    "X-Forwarded-For",
    "x-forwarded-proto",
    "Forwarded",
    "X-Real-IP",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Request-Id",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Usage-Tokens",
    "X-SSL-Client-Cert",
    "SSL-Client-Verify",
    "X-Cluster-Client-IP",
    "Front-End-Https",
    "X-Scheme",
    "X-Envoy-External-Address",
    "X-WebAuth-User",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Client-IP",
    "WL-Proxy-Client-Cert",
    "HTTP2-Settings",
    "Trailer",
    "Auth-User",
    "Client-IP",
    "Client-Cert-Chain",
    "X-Client-Cert-Chain",
    "X-Client-DN",
    "X-Client-Verify",
    "X-Originating-IP",
    "X-Forward-For",
    "X-HTTP-Host-Override",
    "CF-Access-Jwt-Assertion",
    "X-Amzn-Oidc-Data",
    "X-MS-Client-Principal",
    "X-MS-Client-Principal-Name",
    "X-Goog-Authenticated-User-Email",
    "X-Consumer-Custom-Id",
    "Remote-User",
    "Remote-Groups",
    "Remote-Email",
    "Remote-Name",
    "OIDC_CLAIM_sub",
    "OIDC-Access-Token",
    "Tailscale-User-Login",
    "Teleport-Jwt-Assertion",
    "X-Jwt-Assertion",
    "X-Pomerium-Jwt-Assertion",
    "X-Pomerium-Claim-Email",
    "X-Authentik-Username",
    "X-Vouch-User",
    "X-MS-Token-AAD-Id-Token",
    "X-Accel-Redirect",
    "X-Accel-Mapping",
    "X-Sendfile-Type",
    "X-Middleware-Subrequest",
    "X-Middleware-Subrequest-Id",
    "X-Override-URL",
    "Impersonate-User",
    "Impersonate-Extra-Scopes",
    "Kubeflow-UserId",
    "X-Scope-OrgID",
    "X-Token-Subject",
    "X-Token-User-Roles",
    "X-AppEngine-User-Email",
    "X-AppEngine-Cron",
    "X-Script-Name",
    "SCRIPT_NAME",
    "PATH_INFO",
    "X-Team-Red",
    "X-Plan",
    "X_User_Id",
    "X.User.Id",
    "x_api_key",
    "X-User",
    "X-Forwarded",
    "x_team",
];

#[test]
fn what_the_door_sets_is_reserved() {
    let reserved = reserved(Folding::Allow);
    for name in OURS {
        assert_eq!(reserved.verdict(name), Verdict::Drop, "{name}");
    }
}

#[test]
fn what_only_looks_like_it_is_not() {
    let reserved = reserved(Folding::Allow);
    for name in [
        "Host",
        "Accept",
        "Content-Type",
        "Authorization",
        "Cookie",
        "X-Users",
        "X-Userid",
        "X-Requested-With",
        "X-Custom",
        "x",
        "X-",
        "Traceparent",
        "TE",
        "Clients-Ip",
        "X-Goog-Api-Key",
        "X-MS-Client-Request-Id",
        "X-Plan-B",
        "Forwarded-Form",
        "x-api-keys",
        "",
        "Content_Type",
        "Cf-Ray",
        "Remotes",
        "X-Access-Token",
        "X-Id-Token",
        "X-Middleware-Prefetch",
        "X-MS-Tokens",
        "True-Client",
        "Impersonated",
        "X-Token",
        "X-Token-Users",
        "X-Hasura-Admin-Secret",
        "X-Hasura-Role",
        "X-Trino-User",
        "X-CloudTasks-QueueName",
    ] {
        assert_eq!(reserved.verdict(name), Verdict::Keep, "{name}");
    }
}

#[test]
fn a_name_that_folds_is_dropped_unless_it_is_allowed() {
    for name in ["Content_Type", "x.custom", "a!b", "a b", "é"] {
        assert_eq!(reserved(Folding::Drop).verdict(name), Verdict::Drop, "{name}");
        assert_eq!(reserved(Folding::Allow).verdict(name), Verdict::Keep, "{name}");
    }
    assert_eq!(reserved(Folding::Drop).verdict("Content-Type"), Verdict::Keep);
}

#[test]
fn no_name_that_some_backend_takes_for_the_length_of_a_body_is_allowed() {
    for name in ["content_length", "Content.Length", "transfer_encoding", "TRANSFER\u{e9}ENCODING"] {
        assert_eq!(reserved(Folding::Allow).verdict(name), Verdict::Drop, "{name}");
    }
    for name in ["Content-Length", "Transfer-Encoding", "content_lengths"] {
        assert_eq!(reserved(Folding::Allow).verdict(name), Verdict::Keep, "{name}");
    }
}

#[test]
fn a_name_may_be_as_short_as_a_letter() {
    for (text, names, other) in [
        ("a", &["a", "A"][..], &["a-", "a-b", "ab"][..]),
        ("a-*", &["a", "a-", "a_b", "a-bc", "a--"], &["ab", "ab-", "b-a"]),
        ("7x", &["7x", "7X"], &["7x-", "7x-y", "7xy"]),
        ("7x-*", &["7x", "7x-", "7x-y", "7X.y"], &["7xy", "7"]),
        ("a-b-*", &["a-b", "a_b_", "a-b-c"], &["a-bc", "a-c"]),
        ("---", &["---", "_._"], &["--", "----"]),
    ] {
        let reserved = Reserved::new([text], Folding::Allow).unwrap();
        assert!(names.iter().all(|name| reserved.is_reserved(name)), "{text}");
        assert!(!other.iter().any(|name| reserved.is_reserved(name)), "{text}");
    }
}

#[test]
fn only_a_name_can_be_reserved() {
    for text in ["", "-*", "*", "x_team", "x-*-y", "x*", "x team", "é"] {
        assert_eq!(Reserved::new([text], Folding::Drop).unwrap_err(), ReservedError(text.into()), "{text}");
    }
}

#[test]
fn the_longest_name_that_can_be_reserved_is_compared_as_a_whole() {
    let longest = "x".repeat(63);
    let (below, longer) = (format!("{longest}-y"), format!("{longest}x"));
    for (text, is_below) in [(longest.clone(), Verdict::Keep), (format!("{longest}-*"), Verdict::Drop)] {
        let reserved = Reserved::new([&*text], Folding::Drop).unwrap();
        let verdicts = [&longest, &below, &longer].map(|name| reserved.verdict(name));
        assert_eq!(verdicts, [Verdict::Drop, is_below, Verdict::Keep], "{text}");
    }
    assert_eq!(Reserved::new([&*longer], Folding::Drop).unwrap_err(), ReservedError(longer.into()));
}

/// A name that is reserved, with something of its own where the pattern leaves it open.
fn name() -> impl Strategy<Value = String> {
    (proptest::sample::select(&RESERVED[..]), "[a-z0-9-]{0,8}").prop_map(|(name, own)| name.replace('*', &own))
}

/// Any character that is not a letter or a digit of ASCII.
fn sign() -> impl Strategy<Value = char> {
    let any = prop_oneof![proptest::char::range(' ', '~'), any::<char>()];
    any.prop_map(|character| if character.is_ascii_alphanumeric() { '_' } else { character })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn folding_catches_every_alias(name in name(), upper: u64, signs in proptest::collection::vec(sign(), 64)) {
        let alias: String = name.chars().zip(0..64).zip(&signs).map(|((character, at), sign)| match character {
            '-' => *sign,
            _ if upper >> at & 1 == 1 => character.to_ascii_uppercase(),
            _ => character,
        }).collect();
        prop_assert_eq!(fold(&alias), fold(&name));
        prop_assert!(reserved(Folding::Allow).is_reserved(&alias), "{} as {}", name, alias);
        prop_assert_eq!(reserved(Folding::Allow).verdict(&alias), Verdict::Drop);
    }

    #[test]
    fn what_is_reserved_is_judged_by_its_folded_form(name in "\\PC{0,20}") {
        prop_assert_eq!(reserved(Folding::Allow).is_reserved(&name), reserved(Folding::Allow).is_reserved(&fold(&name)));
    }
}
