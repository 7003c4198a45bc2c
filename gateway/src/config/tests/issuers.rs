//! Issuers elsewhere: how often their keys are fetched, and what their claims may say.

use super::*;

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
