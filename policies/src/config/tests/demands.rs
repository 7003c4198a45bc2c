//! What a route may demand of its callers.

use super::*;

#[test]
fn names_that_other_files_do_not_know_are_reported() {
    let routes = r#"
[[route]]
name = "a"
paths = ["/a"]
upstream = "dmeo"
roles = ["user", "usr"]
permissions = ["acount:manage", "agents:fly"]
tiers = ["gold"]
features = ["swarm-agent"]
"#;
    insta::assert_snapshot!(wrong_routes(routes), @r#"
    routes.toml:5:12: there is no upstream `dmeo`; did you mean `demo`?
    routes.toml:6:18: there is no role `usr`; did you mean `user`?
    routes.toml:7:16: no role in roles.toml names the permission `acount:manage` (`*` alone does not count); did you mean `account:manage`?
    routes.toml:8:10: there is no tier `gold`
    routes.toml:9:13: there is no tier with the feature `swarm-agent`; did you mean `swarm-agents`?
    "#);
}

#[test]
fn a_permission_that_only_the_star_grants_is_taken_for_a_misspelling() {
    insta::assert_snapshot!(wrong_route("permissions = [\"billing:close\"]"), @"routes.toml:5:16: no role in roles.toml names the permission `billing:close` (`*` alone does not count)");
    let roles = ROLES.replace("[\"*\"]", "[\"*\", \"billing:close\"]");
    let routes = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\npermissions = [\"billing:close\"]\n";
    assert!(read(routes, &roles, TIERS, "").is_ok());
}

#[test]
fn demands_that_strangers_are_to_meet_are_reported() {
    insta::assert_snapshot!(wrong_route("auth = \"none\"\nroles = [\"user\"]\npermissions = [\"agents:read\"]"), @r#"
    routes.toml:6:9: with auth = "none" nobody is known, and nobody can meet a demand
    routes.toml:7:15: with auth = "none" nobody is known, and nobody can meet a demand
    "#);
    insta::assert_snapshot!(wrong_route("auth = \"optional\"\ntiers = [\"pro\"]\nfeatures = [\"swarm-agents\"]"), @r#"
    routes.toml:6:9: with auth = "optional" strangers come in, who cannot meet a demand
    routes.toml:7:12: with auth = "optional" strangers come in, who cannot meet a demand
    "#);
    insta::assert_snapshot!(wrong_route("auth = \"non\""), @"routes.toml:5:8: unknown value `non`; did you mean `none`?");
    insta::assert_snapshot!(wrong_route("auth = \"none\"\nlimits = [{ per = \"user\", concurrent = 1 }]"), @r#"routes.toml:6:11: with auth = "none" nobody is known; write per = "ip""#);
}

#[test]
fn a_demand_of_nothing_is_reported_because_it_reads_like_a_demand() {
    insta::assert_snapshot!(wrong_route("roles = []\ntiers = []\nfeatures = []\npermissions = []"), @r#"
    routes.toml:5:9: an empty list demands nothing and would let everybody in; leave it out
    routes.toml:6:9: an empty list demands nothing and would let everybody in; leave it out
    routes.toml:7:12: an empty list demands nothing and would let everybody in; leave it out
    routes.toml:8:15: an empty list demands nothing and would let everybody in; leave it out
    "#);
}

#[test]
fn what_a_path_names_may_have_to_be_the_callers() {
    let route = |paths: &str, more: &str| {
        format!(
            "[[route]]\nname = \"a\"\npaths = [{paths}]\nupstream = \"demo\"\nowner = \"agent_instance:{{id}}\"\n{more}"
        )
    };
    let good = route("\"/a/{id}\", \"/b/{id}/*\"", "owner_admins = true\n");
    let loaded = read(&good, ROLES, TIERS, "").unwrap();
    let owner = loaded.policy.routes.routes()[0].demand.owner.clone().unwrap();
    assert_eq!((owner.kind, owner.place, owner.admins), (crate::ResourceKind::AgentInstance, 1, true));
    let id = "0190a5a0-0000-7000-8000-000000000000";
    assert_eq!(owner.named_in(&format!("/b/{id}/x")).map(|id| id.to_string()).as_deref(), Some(id));
    for nameless in ["/b/7", "/b", "/b/0190a5a0000070008000000000000000", "/b/{0190a5a0-0000-7000-8000-000000000000}"] {
        assert_eq!(owner.named_in(nameless), None, "{nameless}");
    }
    let wrong = |paths: &str, more: &str| read(&route(paths, more), ROLES, TIERS, "").unwrap_err();
    insta::assert_snapshot!(wrong("\"/a/{id}\", \"/b\"", ""), @"routes.toml:3:21: `owner` needs the parameter {id}, which this path has not");
    insta::assert_snapshot!(wrong("\"/a/{id}\", \"/b/x/{id}\"", ""), @"routes.toml:3:21: {id} stands at another place here than in the route's first path");
    insta::assert_snapshot!(wrong("\"/a/{id}\"", "auth = \"none\"\n"), @r#"routes.toml:5:9: only with auth = "required" there is an account that could own something"#);
    let other = |owner: &str| read(&good.replace("agent_instance:{id}", owner), ROLES, TIERS, "").unwrap_err();
    insta::assert_snapshot!(other("agents:{id}"), @"routes.toml:5:9: there is nothing called `agents` that is owned; known are agent, agent_instance");
    insta::assert_snapshot!(other("agent:id"), @r#"routes.toml:5:9: what is owned is a kind and a parameter of the path, such as "agent_instance:{id}""#);
    insta::assert_snapshot!(wrong_route("owner_admins = true"), @"routes.toml:5:16: without `owner` nothing is demanded from which administrators could be free");
}
