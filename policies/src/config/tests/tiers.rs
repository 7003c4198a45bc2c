//! Roles, tiers and the rates that tiers and routes allow.

use super::*;
use crate::Amount;

#[test]
fn a_tier_is_what_is_written() {
    let policy = read("", ROLES, TIERS, "").unwrap().policy;
    let pro = policy.tiers.get("pro").unwrap();
    assert_eq!((pro.quotas["storage_gb"], pro.quotas["workbenches"]), (Amount::Finite(200), Amount::Unlimited));
    assert_eq!(pro.price.as_ref().unwrap().to_string(), "99.00 USD/month");
    assert!(pro.limits.is_empty() && pro.features.contains("swarm-agents"));
    assert_eq!(policy.tiers.get("free").unwrap().limits.len(), 2);
}

#[test]
fn rates_that_cannot_be_are_reported() {
    let limits = r#"limits = [
    { per = "ip", requests = "-5/minute" },
    { per = "ip", requests = ["0/minute", "5/month", "5 per minute", "5/fortnight", 5] },
    { per = "user", concurrent = 0 },
    { per = "user", concurrent = -1 },
    { per = "user" },
    { per = "users", requests = "5/minute" },
    { requests = "5/minute" },
    { per = "key", requests = ["5/minute", "6/60s"] },
    { per = "user", concurrent = 7, max_overshoot = -1 },
    { per = "tenant", concurrent = 7, requests = [] },
]"#;
    insta::assert_snapshot!(wrong_route(limits), @r#"
    routes.toml:6:30: a quota cannot be negative: "-5"
    routes.toml:7:31: a quota of 0 would refuse everybody; demand a role or a tier instead, or leave the route out
    routes.toml:7:43: a quota per calendar month is not supported; the longest window is "31d"
    routes.toml:7:54: a quota is written as "100/minute", "5/30s" or "unlimited"; "5 per minute" has no window
    routes.toml:7:70: "fortnight" is not a window: write second, minute, hour, day, or a length such as 30s, 5m, 2h, 1d (at most 31d)
    routes.toml:7:85: invalid type: integer `5`, expected a string
    routes.toml:8:34: not a whole number of requests from 1 to 4294967295
    routes.toml:9:34: not a whole number of requests from 1 to 4294967295
    routes.toml:10:5: nothing is limited: write `requests` or `concurrent`
    routes.toml:11:13: unknown value `users`; did you mean `user`?
    routes.toml:12:5: `per` is missing
    routes.toml:13:44: there is another limit of the same kind and length per key
    routes.toml:14:53: only `requests` can be overshot
    routes.toml:14:53: not a whole number of requests from 0 to 4294967295
    routes.toml:15:50: an empty list limits nothing: write "unlimited", or leave it out
    "#);
}

#[test]
fn roles_and_tiers_that_cannot_be_are_reported() {
    let roles = r#"
[role.admin]
permissions = ["*"]
[role.user]
permissions = ["Agents:read", "agents:*:x", "agents:*", ""]
permission = []
[role.none]
"#;
    let tiers = r#"
[tier.free]
price = "29 dollars"
limits = [{ per = "user", requests = "100/minut" }]
quotas = { storage_gb = -1, workbenches = "many", seats = 1.5 }
[tier.pro]
limit = []
features = "swarm-agents"
"#;
    insta::assert_snapshot!(read("", roles, tiers, "").unwrap_err(), @r#"
    roles.toml:5:16: "Agents:read" is not a permission: words of a-z, 0-9, `_` and `-`, joined by `:`, such as "agents:publish"
    roles.toml:5:31: "agents:*:x": `*` stands alone ("*") or for everything below a word ("agents:*")
    roles.toml:5:57: "" is not a permission: words of a-z, 0-9, `_` and `-`, joined by `:`, such as "agents:publish"
    roles.toml:6:1: unknown key `permission`; did you mean `permissions`?
    roles.toml:7:1: `permissions` is missing
    tiers.toml:3:9: "29 dollars" is not a price: write it as "29 USD/month" or "299.90 EUR/year"
    tiers.toml:4:38: "minut" is not a window: write second, minute, hour, day, or a length such as 30s, 5m, 2h, 1d (at most 31d)
    tiers.toml:5:25: "-1" is not an amount: a whole number, or "unlimited"
    tiers.toml:5:43: "many" is not an amount: a whole number, or "unlimited"
    tiers.toml:5:59: invalid type: floating point `1.5`, expected a whole number or "unlimited"
    tiers.toml:7:1: unknown key `limit`; did you mean `limits`?
    tiers.toml:8:12: invalid type: string "swarm-agents", expected a list
    "#);
}

/// A template whose list came out empty would open the door.
#[test]
fn an_empty_list_of_requests_is_no_way_to_say_unlimited() {
    let tiers = |requests: &str| {
        let tiers = format!("[tier.free]\nlimits = [{{ per = \"user\", requests = {requests}, concurrent = 20 }}]\n");
        read("", "", &tiers, "").map(drop)
    };
    insta::assert_snapshot!(tiers("[]").unwrap_err(), @r#"tiers.toml:2:38: an empty list limits nothing: write "unlimited", or leave it out"#);
    assert!(tiers("\"unlimited\"").is_ok() && tiers("[\"100/minute\"]").is_ok());
}
