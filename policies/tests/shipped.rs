//! The files under `config/`: they load, their cases hold, and their schemas are those of the types.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use policies::config::{self, Loaded, Source, Sources};
use policies::{Amount, Kind, cases, matrix};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn shipped() -> Loaded {
    let [routes, roles, tiers, cases] = ["routes.toml", "roles.toml", "tiers.toml", "cases.toml"].map(text);
    let sources = Sources {
        routes: Source { name: "routes.toml", text: &routes },
        roles: Source { name: "roles.toml", text: &roles },
        tiers: Source { name: "tiers.toml", text: &tiers },
        cases: Source { name: "cases.toml", text: &cases },
    };
    let upstreams = BTreeSet::from(["admin-api".to_owned(), "demo".to_owned()]);
    config::load(&sources, Some(&upstreams)).unwrap_or_else(|wrong| {
        panic!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    })
}

#[test]
fn the_shipped_files_load_and_every_case_holds() {
    let Loaded { policy, cases } = shipped();
    assert!(cases.len() > 100, "only {} cases were read", cases.len());
    let failures = cases::run(&policy, &cases);
    assert!(failures.is_empty(), "{}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_shipped_route_permits_somebody_in_some_case() {
    let Loaded { policy, cases } = shipped();
    for route in policy.routes.routes() {
        let is_tried = cases.iter().filter(|case| case.answer == cases::Answer::Permit).any(|case| {
            let path = policies::normalise(&case.path).unwrap();
            policy.routes.find(&case.host, &case.method, &path).is_ok_and(|found| found.name == route.name)
        });
        assert!(is_tried, "no case of cases.toml is permitted by {}", route.name);
    }
}

#[test]
fn the_shipped_tiers_are_those_of_the_price_list() {
    let Loaded { policy, .. } = shipped();
    let told = policy.tiers.iter().map(|tier| {
        let limits = tier.limits.iter().map(|limit| match limit.kind {
            Kind::Requests(quota) => format!("{} = {quota}", limit.name),
            Kind::Concurrent(number) => format!("{} = {number}", limit.name),
        });
        let limits = limits.collect::<Vec<_>>().join(", ");
        let (storage, workbenches) = (tier.quotas["storage_gb"], tier.quotas["workbenches"]);
        let price = tier.price.as_ref().unwrap();
        let features = tier.features.len();
        format!("{}: {price}; {storage} GB, {workbenches} workbenches, {features} features; {limits}", tier.name)
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @"");
    assert_eq!(policy.tiers.get("enterprise").unwrap().quotas["storage_gb"], Amount::Unlimited);
}

#[test]
fn the_table_of_the_shipped_policy_says_who_may_call_what() {
    let table = matrix::table(&shipped().policy);
    assert!(table.lines().all(|line| line.len() <= 160), "too wide:\n{table}");
    insta::assert_snapshot!(table, @"");
}

/// `UPDATE_SCHEMAS=1` writes them.
#[test]
fn the_checked_in_schemas_are_those_of_the_types() {
    for (name, schema) in config::schemas() {
        let path = folder().join(format!("schema/{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let checked_in: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(checked_in, schema, "{name}.schema.json is out of date; run this test with UPDATE_SCHEMAS=1");
    }
}
