//! Keys at providers.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_route_shows_a_key_at_a_provider() {
    let routes = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\n\
                  inject_credential = { service = \"openai\", header = \"Authorization\", format = \"Bearer {key}\" }\n";
    let policy = read(routes, ROLES, TIERS, "").unwrap().policy;
    let injection = policy.routes.routes()[0].inject_credential.as_deref().unwrap();
    assert_eq!(
        (&*injection.service, injection.header(), injection.around()),
        ("openai", "authorization", ("Bearer ", ""))
    );
}

#[test]
fn a_key_that_cannot_be_shown_so_is_reported() {
    let all = [
        "inject_credential = { service = \"Open AI\", header = \"Authorization\" }",
        "inject_credential = { service = \"openai\", header = \"X-User-Id\" }",
        "inject_credential = { service = \"openai\", header = \"Connection\" }",
        "inject_credential = { service = \"openai\", header = \"a b\" }",
        "inject_credential = { service = \"openai\", header = \"Authorization\", format = \"Bearer\" }",
        "inject_credential = { service = \"openai\", headers = \"Authorization\" }",
        "auth = \"none\"\ninject_credential = { service = \"openai\", header = \"Authorization\" }",
        "auth = \"mtls\"\ninject_credential = { service = \"openai\", header = \"Authorization\" }",
        "forward_credential = true\ninject_credential = { service = \"openai\", header = \"Authorization\" }",
    ];
    insta::assert_snapshot!(all.map(wrong_route).join("\n"), @r#"
    routes.toml:5:33: a service is 1 to 64 of a-z, 0-9, `_` and `-`, such as "openai"
    routes.toml:5:52: this header says who the caller is or how the request travels, and cannot carry a provider's key
    routes.toml:5:52: this header says who the caller is or how the request travels, and cannot carry a provider's key
    routes.toml:5:52: a header's name is letters, digits and `-`, such as "Authorization" or "X-Goog-Api-Key"
    routes.toml:5:78: write `{key}` once where the key belongs, such as "Bearer {key}"; the rest is visible ASCII that does not end in spaces
    routes.toml:5:21: `header` is missing
    routes.toml:5:43: unknown key `headers`; did you mean `header`?
    routes.toml:6:21: only whoever is known has keys at providers: auth = "required"
    routes.toml:6:21: holders of client certificates have no keys at providers: auth = "required"
    routes.toml:6:21: with forward_credential = true a provider would be shown the caller's credential as well
    "#);
}

#[test]
fn a_provider_is_told_only_what_is_said_and_never_in_clear() {
    let set = |name: &str| BTreeSet::from([name.to_owned()]);
    let names = ["talks", "clear", "good", "admin-api"].map(str::to_owned).into();
    let upstreams = Upstreams { names, without_headers: set("talks"), in_clear: set("clear"), ..Upstreams::default() };
    let route = |upstream: &str, more: &str| {
        let text = format!("[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"{upstream}\"\n{more}");
        read_knowing(&upstreams, &text, ROLES, TIERS, "")
    };
    let injects = "inject_credential = { service = \"openai\", header = \"Authorization\" }\n";
    assert!(route("good", injects).is_ok() && route("talks", "").is_ok() && route("clear", "").is_ok());
    insta::assert_snapshot!(["talks", "clear", "admin-api"].map(|upstream| route(upstream, injects).unwrap_err()).join("\n"), @r#"
    routes.toml:5:21: `talks` would be sent every caller's id, address and a signed assertion: say in [upstreams.talks] what it may know, such as headers = ["x-request-id"]
    routes.toml:5:21: keys at providers would travel to `clear` in clear: give it a `tls` table, or servers on this machine
    routes.toml:5:21: the account service has no use for a provider's key
    "#);
}
