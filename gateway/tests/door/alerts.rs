//! What `deploy/alerts.yml` looks at is there from the start, and docs/reference.md tells of every metric. Whether what alerts and the
//! dashboard look at is there at all is for `scripts/check-alerts` to say, which believes that page.

use std::{collections::BTreeSet, fs};

use crate::platform::{Answer, Platform, exchange, shipped};

fn metrics(platform: &Platform) -> String {
    let answer = exchange(platform.metrics, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    Answer::parse(&answer).body
}

#[test]
fn the_reference_for_operators_has_every_metric_with_its_type_labels_and_meaning() {
    let platform = Platform::start();
    platform.register("ada@example.com");
    platform.send("GET", "/demo/x", &[], "");
    let (text, reference) = (metrics(&platform), fs::read_to_string(shipped("docs/reference.md")).unwrap());
    let after = |line: &str, word: &str| line.strip_prefix(word).map(|rest| rest.trim().to_owned());
    let ours = text.lines().filter_map(|line| after(line, "# HELP ")).filter(|line| line.starts_with("portcullis_"));
    let mut seen = 0;
    for help in ours {
        let (name, meaning) = help.split_once(' ').unwrap();
        let kind = text.lines().find_map(|line| after(line, &format!("# TYPE {name} "))).unwrap();
        let row = reference.lines().find(|line| line.starts_with(&format!("| `{name}` | {kind} | ")));
        let row = row.unwrap_or_else(|| panic!("docs/reference.md has no {kind} {name}"));
        assert!(row.ends_with(&format!("| {meaning} |")), "{name} means: {meaning}");
        let series = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap_or_default();
        for label in labels(series.trim_start_matches(name)).iter().filter_map(|label| label.split_once('=')) {
            assert!(row.contains(&format!("`{}`", label.0)), "{name} has the label {}", label.0);
        }
        seen += 1;
    }
    assert!(seen > 60, "{seen} metrics");
}

/// A counter that begins with its first event shows no increase then, and its alert misses it.
#[test]
fn every_series_that_an_alert_waits_for_is_there_before_anything_has_happened() {
    let text = metrics(&Platform::start());
    let rules = fs::read_to_string(shipped("deploy/alerts.yml")).unwrap();
    // By their rate, of many requests at once: there the first one is none to speak of. And what only a listener with TLS has.
    let excepted = ["portcullis_requests_total", "portcullis_certificate_expiry_timestamp_seconds"];
    let mut missing = BTreeSet::new();
    // What is told to people in words is no series.
    for line in rules.lines().filter(|line| !line.contains("description:") && !line.trim_start().starts_with('#')) {
        for used in line.split("portcullis_").skip(1) {
            let name: String =
                used.chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect();
            let rest = &used[name.len()..];
            let name = format!("portcullis_{name}");
            if excepted.contains(&name.as_str()) {
                continue;
            }
            for label in labels(rest) {
                let is_there = |line: &str| {
                    line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' ']) && rest.contains(&label))
                };
                if !text.lines().any(is_there) {
                    missing.insert(format!("{name}{{{label}}}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Of these the sources say nothing: they are the client library's.
#[test]
fn what_the_dashboard_shows_of_processes_is_there() {
    let text = metrics(&Platform::start());
    let dashboard = fs::read_to_string(shipped("deploy/grafana/portcullis.json")).unwrap();
    let rest = dashboard.split("process_").skip(1);
    let names: BTreeSet<_> = rest.filter_map(|rest| rest.split_once('{')).map(|(name, _)| name).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert!(text.lines().any(|line| line.starts_with(&format!("process_{name} "))), "there is no process_{name}");
    }
}

/// `outcome="a"` and `outcome="b"` of `{outcome=~"a|b"}…`; nothing in particular of what has no label.
fn labels(rest: &str) -> Vec<String> {
    let Some((inside, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return vec![String::new()];
    };
    let of_one = |matcher: &str| -> Vec<String> {
        let (label, words) = matcher.split_once('=').unwrap();
        let words = words.trim_start_matches('~').trim_matches('"');
        words.split('|').map(|word| format!("{}=\"{word}\"", label.trim())).collect()
    };
    inside.split(',').flat_map(|matcher| of_one(matcher.trim())).collect()
}
