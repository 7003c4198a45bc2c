//! Sections as the gateway reads them, and every way in which they can be wrong.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::config::DurationText;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Listen {
    http: String,
    #[serde(default)]
    backlog: u32,
    #[serde(default)]
    nested: Nested,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Nested {
    wait: Option<DurationText>,
    #[serde(default)]
    points: Vec<Point>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Point {
    x: i64,
    y: i64,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Cache {
    #[serde(default)]
    size: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only what is missing matters")]
struct Demanding {
    text: String,
    list: Vec<String>,
    number: u32,
    table: BTreeMap<String, String>,
    flag: bool,
    last: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(default)]
    port: Option<Placed<Value<u16>>>,
    #[serde(default)]
    secret: Option<Placed<Secret>>,
}

struct Nowhere;

impl Surroundings for Nowhere {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "PORT").then(|| "eighty".to_owned())
    }

    fn file(&self, _: &str) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

/// What is wrong with a file that is asked for [listen], [cache], [pools.NAME] and [[rule]].
fn wrong(text: &str) -> String {
    let mut file = Document::parse("some.toml", text);
    file.section::<Listen>("listen");
    file.section::<Cache>("cache");
    file.entries::<Cache>("pools");
    file.elements::<Point>("rule");
    told(file)
}

fn told(file: Document<'_>) -> String {
    file.finish().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_good_file_is_read_as_it_is_written() {
    let text = r#"
        listen = { http = ":80", nested.wait = "5s" }
        pools.a.size = 3
        [[rule]]
        x = 1
        y = 2
        [pools."b c"]
    "#;
    let mut file = Document::parse("some.toml", text);
    let nested = Nested { wait: Some(DurationText(std::time::Duration::from_secs(5))), points: Vec::new() };
    assert_eq!(file.section("listen"), Some(Listen { http: ":80".to_owned(), backlog: 0, nested }));
    assert_eq!(file.section("cache"), Some(Cache { size: 0 }));
    let pools = file.entries::<Cache>("pools");
    let pools = pools.into_iter().map(|pool| (pool.name.into_inner(), pool.value.unwrap().size));
    assert_eq!(pools.collect::<Vec<_>>(), [("a".to_owned(), 3), ("b c".to_owned(), 0)]);
    assert_eq!(file.elements::<Point>("rule")[0].value, Some(Point { x: 1, y: 2 }));
    assert!(file.elements::<Point>("other").is_empty());
    assert_eq!(told(file), "");
}

#[test]
fn every_error_of_every_section_is_reported_in_the_order_of_the_places() {
    let text = r#"
colour = "red"
[listen]
htpp = ":80"
http = 80
backlog = "many"
colour = "blue"
nested = { wait = "soon", points = [{ x = 1, y = 2, z = 3 }, { y = 2 }, { x = "ß", yy = "é", y = true }] }
[cash]
[pools.a]
siez = 1
[pools.b]
size = -1
[[rule]]
x = 1.5
"#;
    insta::assert_snapshot!(wrong(text), @r#"
    some.toml:2:1: unknown key `colour`; known are listen, cache, pools, rule
    some.toml:4:1: unknown key `htpp`; did you mean `http`?
    some.toml:5:8: invalid type: integer `80`, expected a string
    some.toml:6:11: invalid type: string "many", expected a whole number that is not negative
    some.toml:7:1: unknown key `colour`; known are http, backlog, nested
    some.toml:8:19: "soon" is not a length of time: a whole number and ms, s, m, h or d, such as "250ms" or "30s", and a hundred years at most
    some.toml:8:53: unknown key `z`; known are x, y
    some.toml:8:62: `x` is missing
    some.toml:8:79: invalid type: string "ß", expected a whole number
    some.toml:8:84: unknown key `yy`; did you mean `y`?
    some.toml:8:98: invalid type: boolean `true`, expected a whole number
    some.toml:9:2: unknown section `cash`; known are listen, cache, pools, rule
    some.toml:11:1: unknown key `siez`; did you mean `size`?
    some.toml:13:8: invalid value: integer `-1`, expected a whole number that is not negative
    some.toml:14:1: `y` is missing
    some.toml:15:5: invalid type: floating point `1.5`, expected a whole number
    "#);
}

#[test]
fn everything_that_is_missing_is_reported() {
    let mut file = Document::parse("some.toml", "[a]\n");
    assert!(file.section::<Demanding>("a").is_none());
    insta::assert_snapshot!(told(file), @"
    some.toml:1:1: `text` is missing
    some.toml:1:1: `list` is missing
    some.toml:1:1: `number` is missing
    some.toml:1:1: `table` is missing
    some.toml:1:1: `flag` is missing
    some.toml:1:1: `last` is missing
    ");
}

#[test]
fn what_an_element_lacks_is_reported_and_the_rest_is_still_read() {
    let text = "[listen]\nhttp = \":80\"\nnested = { points = [{ y = 2 }, { x = 1, y = 2 }] }\n";
    let mut file = Document::parse("some.toml", text);
    let listen: Listen = file.section("listen").unwrap();
    assert_eq!(listen.nested.points, [Point { x: 1, y: 2 }]);
    assert_eq!(told(file), "some.toml:3:22: `x` is missing");
}

#[test]
fn where_nothing_is_known_nothing_is_listed() {
    assert_eq!(told(Document::parse("some.toml", "a = 1\n")), "some.toml:1:1: unknown key `a`");
}

#[test]
fn a_section_that_is_missing_is_reported_if_it_has_no_defaults() {
    insta::assert_snapshot!(wrong(""), @"some.toml:1:1: the section [listen] is missing");
}

#[test]
fn a_section_of_the_wrong_shape_is_reported() {
    insta::assert_snapshot!(wrong("listen = 5\npools = 1\n[rule]\n[[cache]]\n"), @"
    some.toml:1:1: `listen` is a table: write [listen]
    some.toml:2:1: `pools` holds tables: write [pools.NAME] above each
    some.toml:3:2: `rule` is a list of tables: write [[rule]] above each
    some.toml:4:3: `cache` is a table: write [cache]
    ");
    insta::assert_snapshot!(wrong("listen.http = \"\"\npools.a = 1\nrule = [1]\n"), @"
    some.toml:2:7: `pools` holds tables: write [pools.a]
    some.toml:3:1: `rule` is a list of tables: write [[rule]] above each
    ");
}

#[test]
fn syntax_errors_are_all_reported_and_nothing_is_guessed_from_the_rest() {
    let mut file = Document::parse("some.toml", "[listen]\nhttp = \nhttp = \"x\nok = 1\nok = 2\n[cash\n");
    assert!(!file.is_readable());
    assert!(file.section::<Listen>("listen").is_none());
    insta::assert_snapshot!(told(file), @r#"
    some.toml:2:8: string values must be quoted, expected literal string
    some.toml:3:1: duplicate key `http`
    some.toml:3:10: invalid basic string, expected `"`
    some.toml:5:1: duplicate key `ok`
    some.toml:6:6: unclosed table, expected `]`
    "#);
}

#[test]
fn a_value_that_is_not_to_be_had_is_reported_where_it_is_asked_for() {
    let text = "[a]\nport = { env = \"PORT\" }\nsecret = { file = \"key\" }\n[b]\nport = { env = \"PORTS\" }\n[c]\nport = 80\n";
    let mut file = Document::parse("some.toml", text);
    let mut port = |name| {
        let keys: Keys = file.section(name).unwrap();
        keys.secret.and_then(|secret| file.resolve_secret(&secret, &Nowhere));
        file.resolve(&keys.port.unwrap(), &Nowhere)
    };
    assert_eq!([port("a"), port("b"), port("c")], [None, None, Some(80)]);
    insta::assert_snapshot!(told(file), @r#"
    some.toml:2:8: "eighty" is not a whole number from 0 up (from the environment variable PORT)
    some.toml:3:10: the file "key" cannot be read: no such file
    some.toml:5:8: the environment variable PORTS is not set
    "#);
}

#[test]
fn what_is_wrong_with_a_value_that_stands_elsewhere_says_where() {
    let mut file = Document::parse("some.toml", "port = { env = \"PORT\" }\nother = \"80\"\n");
    for (from, to) in [(7, 23), (32, 36)] {
        let value = if from == 7 {
            Value::Env {
                env: crate::config::Names::Several(vec!["PORTS".to_owned(), "PORT".to_owned()]),
                unit: None,
                default: None,
            }
        } else {
            Value::Plain("80".to_owned())
        };
        let value = Placed::new(from..to, value);
        assert!(file.resolve::<String>(&value, &Nowhere).is_some());
        file.note(value.span(), "no port");
    }
    let told = file.wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(told, @r"
    some.toml:1:8: no port (from the environment variable PORT)
    some.toml:2:9: no port
    ");
}

/// Whoever writes it knows TOML, and not what we are written in.
#[test]
fn what_does_not_fit_is_told_in_words_of_the_file() {
    insta::assert_snapshot!(wrong("listen = { http = \"a\" }\ncache = { size = [1] }\n[[rule]]\nx = { y = 1 }\ny = 1\n"), @r"
    some.toml:2:18: invalid type: list, expected a whole number that is not negative
    some.toml:4:5: invalid type: table, expected a whole number
    ");
    let nested = |nested: &str| wrong(&format!("[listen]\nhttp = \"a\"\nnested = {nested}\n"));
    insta::assert_snapshot!(nested("[]"), @"some.toml:3:10: invalid type: list, expected a table: { key = value }");
    insta::assert_snapshot!(nested("{ points = [\"a\"] }"), @r#"some.toml:3:22: invalid type: string "a", expected a table: { key = value }"#);
}

#[test]
fn a_secret_in_clear_is_refused_and_not_repeated() {
    for secret in [
        "secret = \"hunter2\"",
        "secret = 2222",
        "secret = { env = \"NAME\", default = \"hunter2\" }",
        "secret = { text = \"hunter2\" }",
        "secret = [\"hunter2\"]",
        "secret = true",
        "secret = { env = \"A\", file = \"b\" }",
        "secret = { env = [[\"hunter2\"]] }",
        "secret = { env = [] }",
    ] {
        let text = format!("[a]\n{secret}\n");
        let mut file = Document::parse("some.toml", &text);
        file.section::<Keys>("a");
        let told = told(file);
        assert!(!told.contains("hunter2") && told.starts_with("some.toml:2:"), "{told}");
    }
    let text = "[a]\nsecret = \"hunter2\"\n[b]\nsecret = { env = \"A\", file = \"b\" }\n[c]\nsecret = true\n";
    let mut file = Document::parse("some.toml", text);
    for section in ["a", "b", "c"] {
        file.section::<Keys>(section);
    }
    insta::assert_snapshot!(told(file), @r#"
    some.toml:2:10: a secret is not written in clear; use { env = "NAME" } or { file = "path" }
    some.toml:4:10: write either { env = "NAME" } or { file = "path" }
    some.toml:6:10: invalid type: boolean `true`, expected { env = "NAME" } or { file = "path" }
    "#);
}

const WORDS: [&str; 18] =
    ["a", "=", "\"", "[", "]", "[[", "]]", "{", "}", ",", "\n", ".", "listen", "http", "é", "1", "'", "#"];

proptest! {
    #[test]
    fn nothing_that_is_written_makes_the_reader_panic_or_run_forever(
        words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..30)
    ) {
        let text = words.concat();
        let lines = text.matches('\n').count() + 1;
        let mut file = Document::parse("some.toml", &text);
        file.section::<Listen>("listen");
        file.entries::<Cache>("a");
        file.elements::<Point>("http");
        for wrong in file.finish() {
            prop_assert!((1..=lines).contains(&wrong.line) && wrong.column >= 1, "{wrong} in {text:?}");
        }
    }
}
