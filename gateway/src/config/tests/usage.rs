//! How long what was used is kept.

use super::*;

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
