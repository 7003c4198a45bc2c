//! The schemas beside the shipped files: what is shipped fits them, and what the reader would refuse for a word does not.

use std::fs;

use policies::config::DurationText;
use serde_json::Value;

use super::shipped;
use crate::config::{schema, seed_schema};

const NAMES: [&str; 6] = ["gateway", "routes", "roles", "tiers", "cases", "seed"];

fn schema_of(name: &str) -> Value {
    let text = fs::read_to_string(shipped().join(format!("schema/{name}.schema.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What an editor would say of the file.
fn said(name: &str, text: &str) -> Result<(), String> {
    let (root, file) = (schema_of(name), toml::from_str(text).unwrap());
    fits(&root, &root, &file, name)
}

/// Does the value fit? As much of JSON Schema (draft 7) as ours say.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(rules) = schema.as_object() else {
        return if schema == true { Ok(()) } else { Err(format!("{at} may not be there")) };
    };
    let fit = |schema: &Value| fits(root, schema, value, at);
    let members = || value.as_object().into_iter().flatten();
    for (keyword, rule) in rules {
        let each = || rule.as_array().unwrap().iter();
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "definitions" | "format" => true,
            "$ref" => {
                fit(root.pointer(rule.as_str().unwrap().trim_start_matches('#')).unwrap())?;
                true
            }
            "allOf" => {
                each().try_for_each(fit)?;
                true
            }
            "anyOf" => each().any(|schema| fit(schema).is_ok()),
            "oneOf" => each().filter(|schema| fit(schema).is_ok()).count() == 1,
            "type" if rule.is_array() => each().any(|name| is_a(name, value)),
            "type" => is_a(rule, value),
            "enum" => each().any(|word| word == value),
            "const" => rule == value,
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            // The only one there is, as its reader has it.
            "pattern" if rule == "^[0-9]+(ms|s|m|h|d)$" => {
                value.as_str().is_none_or(|text| text.parse::<DurationText>().is_ok())
            }
            "required" => each().all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => {
                let known = members().filter_map(|(name, value)| Some((name, value, rule.get(name)?)));
                known
                    .into_iter()
                    .try_for_each(|(name, value, rule)| fits(root, rule, value, &format!("{at}.{name}")))?;
                true
            }
            "additionalProperties" => {
                let known = |name: &str| rules.get("properties").is_some_and(|known| known.get(name).is_some());
                let others = members().filter(|(name, _)| !known(name));
                others.into_iter().try_for_each(|(name, value)| fits(root, rule, value, &format!("{at}.{name}")))?;
                true
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items
                    .into_iter()
                    .try_for_each(|(at_item, item)| fits(root, rule, item, &format!("{at}[{at_item}]")))?;
                true
            }
            other => panic!("our schemas begin to say `{other}`: teach this test what it means"),
        };
        if !holds {
            return Err(format!("{at} is not {keyword} {rule}"));
        }
    }
    Ok(())
}

fn is_a(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("there is no type {other}"),
    }
}

#[test]
fn every_file_that_is_shipped_fits_its_schema() {
    let mut read = 0;
    for folder in ["", "examples/production", "examples/cluster", "../bench/config"] {
        for name in NAMES {
            let path = shipped().join(folder).join(format!("{name}.toml"));
            let Ok(text) = fs::read_to_string(&path) else { continue };
            assert_eq!(said(name, &text), Ok(()), "{}", path.display());
            read += 1;
        }
    }
    // The benchmark has no seed.
    assert_eq!(read, 4 * NAMES.len() - 1);
}

#[test]
fn a_word_that_the_reader_would_refuse_is_refused_by_the_schema() {
    let text = fs::read_to_string(shipped().join("gateway.toml")).unwrap();
    for (from, to) in [
        ("level = \"info\"", "level = \"loud\""),
        ("level = \"info\"", "level = { env = \"LEVEL\", default = \"loud\" }"),
        ("algorithm = { env = \"AUTH_JWT_ALGORITHM\", default = \"EdDSA\" }", "algorithm = \"none\""),
        ("default = \"EdDSA\"", "default = \"none\""),
        ("algorithms = [\"RS256\",", "algorithms = [\"HS256\","),
        ("accounts = { env = \"AUTH_OIDC_ACCOUNTS\", default = \"\" }", "accounts = \"all\""),
        ("subject = \"id\"", "subject = \"name\""),
        ("registration = \"immediate\"", "registration = \"never\""),
        ("balance = \"round_robin\"", "balance = \"any\""),
        ("underscore_headers = \"drop\"", "underscore_headers = \"keep\""),
        ("transport = \"file\"", "transport = \"post\""),
        ("drain = \"30s\"", "drain = \"30 seconds\""),
        ("max_uri_bytes = 8192", "max_url_bytes = 8192"),
        ("max_uri_bytes = 8192", "max_uri_bytes = \"8192\""),
    ] {
        assert!(text.contains(from), "{from}");
        assert!(said("gateway", &text.replacen(from, to, 1)).is_err(), "{to}");
    }
    for good in ["\"warn\"", "{ env = \"LEVEL\", default = \"warn\" }", "{ env = \"LEVEL\" }", "{ file = \"level\" }"] {
        assert_eq!(said("gateway", &text.replacen("level = \"info\"", &format!("level = {good}"), 1)), Ok(()));
    }
}

#[test]
fn the_schemas_beside_the_files_are_those_of_this_version() {
    for (name, schema) in [("gateway", schema()), ("seed", seed_schema())] {
        let path = shipped().join(format!("schema/{name}.schema.json"));
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let checked_in = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(checked_in, text, "{name}: run with UPDATE_SCHEMAS=1 to write it");
    }
}
