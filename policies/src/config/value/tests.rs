//! Values from the file, the environment and other files.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;

struct Around;

impl Surroundings for Around {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "PORT" => Some("81".to_owned()),
            "WAIT" => Some("5m".to_owned()),
            "NAME" => Some("a name".to_owned()),
            "EMPTY" => Some(String::new()),
            "MINUTES" | "ALSO_MINUTES" => Some("5".to_owned()),
            "DAYS" => Some("7".to_owned()),
            "MANY" => Some("99999".to_owned()),
            _ => None,
        }
    }

    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "unix" => Ok("a secret\n".to_owned()),
            "dos" => Ok("a secret\r\n".to_owned()),
            "lines" => Ok("a\nsecret\n\n".to_owned()),
            "empty" => Ok("\n".to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }
}

#[derive(Deserialize)]
struct Key<T> {
    key: T,
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str::<Key<T>>(text).map(|key| key.key).map_err(|error| error.message().to_owned())
}

/// What `key = …` is here.
fn value<T>(text: &str) -> Result<T, String>
where
    T: serde::de::DeserializeOwned + Clone + FromStr,
    T::Err: Display + 'static,
{
    read::<Value<T>>(text)?.resolve(&Around).map_err(|error| error.to_string())
}

fn secret(text: &str) -> Result<String, String> {
    let secret = read::<Secret>(text)?.resolve(&Around).map_err(|error| error.to_string())?;
    Ok(secret.expose().to_owned())
}

#[test]
fn a_value_comes_from_the_file_the_environment_or_another_file() {
    assert_eq!(value("key = 80"), Ok(80_u16));
    assert_eq!(value("key = true"), Ok(true));
    assert_eq!(value("key = 0.5"), Ok(0.5));
    assert_eq!(value("key = \"text\""), Ok("text".to_owned()));
    assert_eq!(value("key = { env = \"PORT\", default = 80 }"), Ok(81_u16));
    assert_eq!(value("key = { env = \"NAME\" }"), Ok("a name".to_owned()));
    assert_eq!(value("key = { env = \"WAIT\" }"), Ok(DurationText(Duration::from_mins(5))));
    assert_eq!(value("key = { file = \"unix\" }"), Ok("a secret".to_owned()));
}

#[test]
fn a_variable_that_is_not_set_or_empty_leaves_the_default() {
    assert_eq!(value("key = { env = \"NONE\", default = 80 }"), Ok(80_u16));
    assert_eq!(value("key = { env = \"EMPTY\", default = 80 }"), Ok(80_u16));
    let unset = Err("the environment variable EMPTY is not set".to_owned());
    assert_eq!(value::<String>("key = { env = \"EMPTY\" }"), unset);
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_its_source() {
    let refused = |text: &str| value::<u16>(text).unwrap_err();
    let mut told = Vec::new();
    for text in [
        "key = -1",
        "key = \"80\"",
        "key = [80]",
        "key = { env = \"NAME\" }",
        "key = { env = \"MANY\" }",
        "key = { env = \"NONE\" }",
        "key = { file = \"unix\" }",
        "key = { file = \"none\" }",
        "key = {}",
        "key = { env = \"PORT\", file = \"unix\" }",
        "key = { file = \"unix\", default = 80 }",
        "key = { default = 80 }",
        "key = { env = \"PORT\", default = \"80\" }",
        "key = { evn = \"PORT\" }",
    ] {
        told.push(format!("{text}: {}", refused(text)));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    key = -1: invalid value: integer `-1`, expected u16
    key = "80": invalid type: string "80", expected u16
    key = [80]: invalid type: sequence, expected a value, { env = "NAME" } or { file = "path" }
    key = { env = "NAME" }: "a name" is not a whole number from 0 up (from the environment variable NAME)
    key = { env = "MANY" }: "99999" is too large a number (from the environment variable MANY)
    key = { env = "NONE" }: the environment variable NONE is not set
    key = { file = "unix" }: what it holds is not a whole number from 0 up (from the file "unix")
    key = { file = "none" }: the file "none" cannot be read: no such file
    key = {}: write either { env = "NAME" } or { file = "path" }
    key = { env = "PORT", file = "unix" }: write either { env = "NAME" } or { file = "path" }
    key = { file = "unix", default = 80 }: a file has no default; leave `default` out
    key = { default = 80 }: write either { env = "NAME" } or { file = "path" }
    key = { env = "PORT", default = "80" }: invalid type: string "80", expected u16
    key = { evn = "PORT" }: unknown field `evn`, expected one of `env`, `unit`, `file`, `default`
    "#);
    let neither = "\"a name\" is neither true nor false (from the environment variable NAME)".to_owned();
    assert_eq!(value::<bool>("key = { env = \"NAME\" }"), Err(neither));
}

#[test]
fn a_file_loses_its_last_line_end_alone() {
    assert_eq!(secret("key = { file = \"dos\" }"), Ok("a secret".to_owned()));
    assert_eq!(secret("key = { file = \"lines\" }"), Ok("a\nsecret\n".to_owned()));
}

#[test]
fn a_secret_is_never_empty() {
    assert_eq!(secret("key = { env = \"NAME\" }"), Ok("a name".to_owned()));
    assert_eq!(secret("key = { env = \"EMPTY\" }"), Err("the environment variable EMPTY is not set".to_owned()));
    assert_eq!(secret("key = { file = \"empty\" }"), Err("the file \"empty\" is empty".to_owned()));
    let missing = "the file \"none\" cannot be read: no such file".to_owned();
    assert_eq!(secret("key = { file = \"none\" }"), Err(missing));
}

#[test]
fn a_length_of_time_is_read_as_it_is_written() {
    for (text, millis) in
        [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("7d", 604_800_000), ("0s", 0)]
    {
        assert_eq!(text.parse(), Ok(DurationText(Duration::from_millis(millis))), "{text}");
    }
    for text in [
        "",
        "5",
        "s",
        "-5s",
        "+5s",
        "1.5s",
        "5 s",
        "5S",
        "5min",
        "5s5",
        "99999999999999999999s",
        "9999999999999999999d",
        "36501d",
    ] {
        assert_eq!(text.parse::<DurationText>(), Err(DurationError(text.into())));
    }
}

#[test]
fn who_writes_a_bare_number_is_told_how_a_length_of_time_is_written() {
    let told = value::<DurationText>("key = 30").unwrap_err();
    assert!(told.contains("integer `30`, expected a length of time such as \"30s\""), "{told}");
}

#[test]
fn what_a_file_holds_is_not_repeated() {
    let told = value::<DurationText>("key = { file = \"unix\" }").unwrap_err();
    assert!(
        told.starts_with("what it holds is not a length of time") && told.ends_with("(from the file \"unix\")"),
        "{told}"
    );
}

#[test]
fn a_bare_number_is_so_many_of_the_unit_and_what_names_its_own_is_that() {
    let minutes = |seconds| Ok(DurationText(Duration::from_secs(seconds)));
    assert_eq!(value("key = { env = \"MINUTES\", unit = \"m\", default = \"1h\" }"), minutes(300));
    assert_eq!(value("key = { env = \"DAYS\", unit = \"d\" }"), minutes(7 * 86_400));
    assert_eq!(value("key = { env = \"WAIT\", unit = \"d\" }"), minutes(300), "it says 5m");
    assert_eq!(value("key = { env = \"NONE\", unit = \"d\", default = \"1h\" }"), minutes(3600));
    let bare = value::<DurationText>("key = { env = \"DAYS\" }").unwrap_err();
    assert!(
        bare.starts_with("\"7\" is not a length") && bare.ends_with("(from the environment variable DAYS)"),
        "{bare}"
    );
    assert!(value::<DurationText>("key = { file = \"unix\", unit = \"m\" }").unwrap_err().contains("has no unit"));
}

#[test]
fn a_variable_may_have_several_names_and_those_that_are_set_agree() {
    let number = |text: &str| value::<u64>(text);
    assert_eq!(number("key = { env = [\"NONE\", \"PORT\"] }"), Ok(81));
    assert_eq!(number("key = { env = [\"EMPTY\", \"PORT\", \"NONE\"] }"), Ok(81));
    assert_eq!(number("key = { env = [\"MINUTES\", \"ALSO_MINUTES\"] }"), Ok(5));
    assert_eq!(number("key = { env = [\"NONE\", \"EMPTY\"], default = 3 }"), Ok(3));
    let said = number("key = { env = [\"NONE\", \"PORT\", \"DAYS\"] }").unwrap_err();
    assert_eq!(said, "the environment variables PORT and DAYS are two names for one thing, and do not agree");
    assert_eq!(
        number("key = { env = [\"NONE\", \"EMPTY\"] }").unwrap_err(),
        "the environment variable NONE or EMPTY is not set"
    );
    assert!(number("key = { env = [] }").unwrap_err().contains("names no variable"));
    assert_eq!(secret("key = { env = [\"NONE\", \"NAME\"] }"), Ok("a name".to_owned()));
    assert!(secret("key = { env = [\"PORT\", \"NAME\"] }").unwrap_err().contains("PORT and NAME"));
}
