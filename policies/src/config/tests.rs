//! Every way in which the four files can be wrong, each with its place and text.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cases;
mod demands;
mod injection;
mod routes;
mod tiers;

use std::collections::BTreeSet;

use super::*;

const ROLES: &str = "
[role.admin]
permissions = [\"*\"]
[role.user]
permissions = [\"account:manage\", \"agents:*\"]
";
const TIERS: &str = "
[tier.free]
limits = [{ per = \"user\", requests = \"100/minute\", concurrent = 20 }]
[tier.pro]
features = [\"swarm-agents\"]
quotas = { storage_gb = 200, workbenches = \"unlimited\" }
price = \"99 USD/month\"
";

fn read(routes: &str, roles: &str, tiers: &str, cases: &str) -> Result<Loaded, String> {
    let names = BTreeSet::from(["admin-api".to_owned(), "demo".to_owned()]);
    read_knowing(&Upstreams { names, ..Upstreams::default() }, routes, roles, tiers, cases)
}

fn read_knowing(upstreams: &Upstreams, routes: &str, roles: &str, tiers: &str, cases: &str) -> Result<Loaded, String> {
    let sources = Sources {
        routes: Source { name: "routes.toml", text: Ok(routes) },
        roles: Source { name: "roles.toml", text: Ok(roles) },
        tiers: Source { name: "tiers.toml", text: Ok(tiers) },
        cases: Source { name: "cases.toml", text: Ok(cases) },
    };
    let told = |wrong: Vec<Diagnostic>| wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    load(&sources, Some(upstreams)).map_err(told)
}

fn wrong_routes(routes: &str) -> String {
    read(routes, ROLES, TIERS, "").unwrap_err()
}

/// What is wrong with one route that is otherwise good; its header is line 1, `more` begins at line 5.
fn wrong_route(more: &str) -> String {
    wrong_routes(&format!("[[route]]\nname = \"a\"\npaths = [\"/a/*\"]\nupstream = \"demo\"\n{more}\n"))
}

#[test]
fn a_misspelt_key_is_reported_and_the_rest_is_still_looked_at() {
    insta::assert_snapshot!(wrong_route("metods = [\"GET\"]\nroles = [\"amdin\"]"), @r#"
    routes.toml:5:1: unknown key `metods`; did you mean `methods`?
    routes.toml:6:10: there is no role `amdin`; did you mean `admin`?
    "#);
}

#[test]
fn names_that_would_not_do_as_labels_are_reported() {
    let routes = "[[route]]\nname = \"Überweisung 1\"\npaths = [\"/a\"]\nupstream = \"demo\"\n";
    let roles = "[role.\"\"]\npermissions = []\n[role.user]\npermissions = [\"account:manage\", \"agents:*\"]\n";
    let tiers = format!("{TIERS}[tier.Gold]\nfeatures = [\"Swarm Agents\"]\nquotas = {{ \"GB\" = 1 }}\n");
    insta::assert_snapshot!(read(routes, roles, &tiers, "").unwrap_err(), @r#"
    routes.toml:2:8: `Überweisung 1` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    roles.toml:1:7: `` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    tiers.toml:8:7: `Gold` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    tiers.toml:9:13: `Swarm Agents` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    tiers.toml:10:12: `GB` is not a name: 1 to 64 of a-z, 0-9, `-` and `_`
    "#);
}

#[test]
fn errors_of_all_files_are_reported_at_once() {
    let routes = "[[rout]]\nname = \"a\"\n";
    insta::assert_snapshot!(read(routes, "[roles.a]\n", "x = 1\n", "[[case]]\n").unwrap_err(), @r#"
    routes.toml:1:3: unknown section `rout`; did you mean `route`?
    roles.toml:1:2: unknown section `roles`; did you mean `role`?
    tiers.toml:1:1: unknown key `x`; known are tier
    cases.toml:1:1: `name` is missing
    cases.toml:1:1: `request` is missing
    cases.toml:1:1: `answer` is missing
    "#);
}

#[test]
fn a_file_that_cannot_be_read_is_no_reason_to_complain_about_others() {
    let routes = r#"
[[route]]
name = "a"
paths = ["/a"]
upstream = "demo"
roles = ["user"]
permissions = ["agents:read"]
tiers = ["free"]
features = ["swarm-agents"]
"#;
    let cases = "[[case]]\nname = \"one\"\ncaller = { role = \"user\", tier = \"free\" }\nrequest = \"GET /a\"\nanswer = \"permit\"\nroute = \"a\"\n";
    insta::assert_snapshot!(read(routes, "[role.user\n", "[tier.free\n", cases).unwrap_err(), @r#"
    roles.toml:1:11: unclosed table, expected `]`
    tiers.toml:1:11: unclosed table, expected `]`
    "#);
    insta::assert_snapshot!(read("[[route]\n", ROLES, TIERS, cases).unwrap_err(), @"routes.toml:1:9: unclosed array table, expected `]`");
    // Nor is a section of it.
    let roles = "[role.user]\npermissions = 5\n";
    let tiers = "[tier.free]\nfeatures = 5\n";
    insta::assert_snapshot!(read(routes, roles, tiers, cases).unwrap_err(), @"
    roles.toml:2:15: invalid type: integer `5`, expected a list
    tiers.toml:2:12: invalid type: integer `5`, expected a list
    ");
}

#[test]
fn a_file_that_is_not_there_hides_nothing_of_the_others() {
    let text = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"demo\"\nroles = [\"user\"]\nmetods = []\n";
    let sources = Sources {
        routes: Source { name: "routes.toml", text: Ok(text) },
        roles: Source { name: "roles.toml", text: Err("it is not there") },
        tiers: Source { name: "tiers.toml", text: Ok("x = 1\n") },
        cases: Source { name: "cases.toml", text: Err("nor is it") },
    };
    let wrong = load(&sources, None).unwrap_err();
    insta::assert_snapshot!(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @"
    routes.toml:6:1: unknown key `metods`; did you mean `methods`?
    roles.toml:1:1: it is not there
    tiers.toml:1:1: unknown key `x`; known are tier
    cases.toml:1:1: nor is it
    ");
}

#[test]
fn upstreams_that_cannot_be_known_are_not_complained_about() {
    let text = "[[route]]\nname = \"a\"\npaths = [\"/a\"]\nupstream = \"anything\"\n";
    let source = |name, text| Source { name, text: Ok(text) };
    let sources = Sources {
        routes: source("routes.toml", text),
        roles: source("roles.toml", ""),
        tiers: source("tiers.toml", ""),
        cases: source("cases.toml", ""),
    };
    assert!(load(&sources, None).is_ok());
    assert!(load(&sources, Some(&Upstreams::default())).is_err());
}
