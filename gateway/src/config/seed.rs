//! `seed.toml`: what each new organisation begins with. The file may be missing; then that is nothing.

use std::collections::BTreeMap;

use identity::{folded, foreign_name, readable_name};
use policies::config::{Diagnostic, Document, Element, FileSchema, Placed};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{DomainSeed, TeamSeed, TenantSeed};

/// As diagnostics call it.
pub(super) const FILE: &str = "seed.toml";
pub(super) const EMBEDDED: &str = include_str!("../../../config/seed.toml");
/// Teams, and domains, that an organisation can begin with: each is a row that every registration writes.
const MOST: usize = 100;
/// Characters of a key.
const MAX_KEY: usize = 64;

/// A team of every new organisation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawTeam {
    /// What it is called; unique, however it is written.
    name: Placed<String>,
    /// What another system calls it. Default: nothing.
    external_ref: Option<Placed<String>>,
}

/// A domain of every new organisation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawDomain {
    /// What programs call it: letters of ASCII, digits, `_`, `-` and `.`; unique, however it is written.
    key: Placed<String>,
    /// What people call it. Default: the key.
    name: Option<Placed<String>>,
    /// The key of the domain in which it lies, which stands above it. Default: in none.
    parent: Option<Placed<String>>,
}

/// Parses what the file holds; why it cannot be read, if that is so.
pub(super) fn load(text: Option<&Result<String, String>>) -> Result<TenantSeed, Vec<Diagnostic>> {
    match text {
        None => Ok(TenantSeed::default()),
        Some(Ok(text)) => read(text),
        Some(Err(why)) => Err(vec![Diagnostic::at(FILE, "", 0, why.clone(), None)]),
    }
}

/// The JSON Schema of `seed.toml`.
#[must_use]
pub fn schema() -> serde_json::Value {
    FileSchema::new("Portcullis: what a new organisation begins with")
        .elements::<RawTeam>("team")
        .elements::<RawDomain>("domain")
        .finish()
}

fn read(text: &str) -> Result<TenantSeed, Vec<Diagnostic>> {
    let mut document = Document::parse(FILE, text);
    let seed = TenantSeed { teams: teams(&mut document), domains: domains(&mut document) };
    let wrong = document.finish();
    if wrong.is_empty() { Ok(seed) } else { Err(wrong) }
}

fn teams(document: &mut Document<'_>) -> Vec<TeamSeed> {
    let elements: Vec<Element<RawTeam>> = document.elements("team");
    too_many(document, &elements);
    let mut seen = BTreeMap::new();
    let mut teams = Vec::new();
    for raw in elements.into_iter().filter_map(|element| element.value) {
        name(document, &raw.name);
        if let Some(reference) = &raw.external_ref
            && let Err(fault) = foreign_name(reference)
        {
            document.note(reference.span(), format!("what another system calls it {fault}"));
        }
        once(document, &mut seen, &raw.name, "team");
        let external_ref = raw.external_ref.map(Placed::into_inner);
        teams.push(TeamSeed { name: raw.name.into_inner(), external_ref });
    }
    teams
}

fn domains(document: &mut Document<'_>) -> Vec<DomainSeed> {
    let elements: Vec<Element<RawDomain>> = document.elements("domain");
    too_many(document, &elements);
    let mut seen = BTreeMap::new();
    let mut domains: Vec<DomainSeed> = Vec::new();
    for raw in elements.into_iter().filter_map(|element| element.value) {
        let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"_-.".contains(&letter);
        if !(1..=MAX_KEY).contains(&raw.key.len()) || !raw.key.bytes().all(fits) {
            let message = format!("a key is 1 to {MAX_KEY} letters of ASCII, digits, `_`, `-` and `.`");
            document.note(raw.key.span(), message);
        }
        if let Some(given) = &raw.name {
            name(document, given);
        }
        let parent = raw.parent.as_ref().and_then(|parent| {
            let place = domains.iter().position(|domain| domain.key == **parent);
            if place.is_none() {
                let message = format!("there is no domain `{}` above this one", **parent);
                document.note_unknown(parent, message, domains.iter().map(|domain| domain.key.as_str()));
            }
            place
        });
        once(document, &mut seen, &raw.key, "domain");
        let key = raw.key.into_inner();
        domains.push(DomainSeed { name: raw.name.map_or_else(|| key.clone(), Placed::into_inner), key, parent });
    }
    domains
}

/// As the account service takes it, and written as it keeps it.
fn name(document: &mut Document<'_>, given: &Placed<String>) {
    match readable_name(given) {
        Ok(name) if name == **given => {}
        Ok(_) => document.note(given.span(), "a name has no space around it"),
        Err(fault) => document.note(given.span(), format!("a name {fault}")),
    }
}

/// What is one thing to whoever compares it is there once.
fn once(document: &mut Document<'_>, seen: &mut BTreeMap<String, String>, word: &Placed<String>, what: &str) {
    let place = document.place(&word.span());
    if let Some(before) = seen.insert(folded(word), place) {
        document.note(word.span(), format!("there is a {what} `{}` already, at {before}", **word));
    }
}

fn too_many<T>(document: &mut Document<'_>, elements: &[Element<T>]) {
    if let Some(first) = elements.get(MOST) {
        document.note(first.span.clone(), format!("an organisation begins with {MOST} of these at most"));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;
    use crate::config::ConfigFolder;

    fn said(text: &str) -> String {
        let wrong = read(text).err().unwrap_or_default();
        wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_shipped_seed_is_that_of_the_old_system() {
        let seed = load(ConfigFolder::Embedded.read().seed.as_ref()).unwrap();
        let teams: Vec<_> = seed.teams.iter().map(|team| team.name.as_str()).collect();
        let domains: Vec<_> = seed.domains.iter().map(|domain| domain.key.as_str()).collect();
        assert_eq!(teams, ["General", "Engineering", "Product", "Design"]);
        assert_eq!(domains, ["engineering", "product", "design", "marketing", "sales"]);
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        insta::assert_snapshot!(said("[[team]]\nname = \"A\"\n[[team]]\nname = \"\u{ff21}\""), @r#"seed.toml:4:8: there is a team `Ａ` already, at seed.toml:2:8"#);
        insta::assert_snapshot!(said("[[team]]\nname = \" \"\nexternal = \"x\""), @r"
        seed.toml:2:8: a name must not be empty
        seed.toml:3:1: unknown key `external`; known are name, external_ref
        ");
        insta::assert_snapshot!(said("[[team]]\nname = \"\\u200b\"\nexternal_ref = \"\\u3164\"\n[[team]]\nname = \" A\"\nexternal_ref = \" a \"\n[[domain]]\nkey = \"a\"\nname = \"\\u202ea\""), @r"
        seed.toml:2:8: a name must have a character that can be seen
        seed.toml:3:16: what another system calls it must have a character that can be seen
        seed.toml:5:8: a name has no space around it
        seed.toml:9:8: a name must not contain characters that turn the direction of writing
        ");
        insta::assert_snapshot!(said("[[domain]]\nkey = \"sales\"\n[[domain]]\nkey = \"a b\"\nparent = \"sale\""), @r"
        seed.toml:4:7: a key is 1 to 64 letters of ASCII, digits, `_`, `-` and `.`
        seed.toml:5:10: there is no domain `sale` above this one; did you mean `sales`?
        ");
        insta::assert_snapshot!(said("[[domain]]\nkey = \"a\"\nparent = \"a\""), @"seed.toml:3:10: there is no domain `a` above this one");
        insta::assert_snapshot!(said("[[teams]]\nname = \"A\""), @"seed.toml:1:3: unknown section `teams`; did you mean `team`?");
        assert_eq!(said(""), "");
    }

    #[test]
    fn a_folder_without_the_file_begins_with_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let texts = ConfigFolder::Path(folder.path().into()).read();
        assert_eq!(load(texts.seed.as_ref()).unwrap(), TenantSeed::default());
    }
}
