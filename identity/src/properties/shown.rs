//! What a caller shows is one plain word, or nothing, or refused.

use crate::{Credential, CredentialError};

/// Header values, a line each; those that begin with `K:` are of `X-API-Key`, the others of `Authorization`.
///
/// # Panics
/// When what is read is not what a naive reading gives.
pub fn authorization(data: &[u8]) {
    let lines: Vec<&[u8]> =
        if data.is_empty() { Vec::new() } else { data.split(|byte| *byte == b'\n').take(8).collect() };
    let of = |is_key| {
        let lines = lines.iter().filter(move |line| line.starts_with(b"K:") == is_key);
        lines.map(|line| line.strip_prefix(b"K:").unwrap_or(line))
    };
    let read = Credential::read([of(false), of(true)], std::iter::empty(), std::iter::empty());
    match (&lines[..], read) {
        ([], read) => assert!(matches!(read, Ok(None))),
        ([_, _, ..], read) => assert!(matches!(read, Err(CredentialError::Ambiguous)), "several were read"),
        ([line], read) => {
            let naive = match line.strip_prefix(b"K:") {
                Some(key) => plain(key).filter(|word| word.starts_with("pck_")).map(|word| (true, word)),
                None => bearer(line).map(|word| (word.starts_with("pck_"), word)),
            };
            let read = match read {
                Ok(Some(Credential::Jwt(word))) => Some((false, word)),
                Ok(Some(Credential::ApiKey(word))) => Some((true, word)),
                Ok(None | Some(Credential::Cookie(_) | Credential::Developer { .. })) => {
                    panic!("a value was taken for none, or for a cookie")
                }
                Err(error) => {
                    assert_ne!(error, CredentialError::Ambiguous, "one was taken for several");
                    None
                }
            };
            assert_eq!(read, naive, "{:?}", String::from_utf8_lossy(line));
        }
    }
}

fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, word) = str::from_utf8(value).ok()?.split_once(' ')?;
    if scheme.to_lowercase() == "bearer" { plain(word.trim_start_matches(' ').as_bytes()) } else { None }
}

/// RFC 6750 §2.1: `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`.
fn plain(word: &[u8]) -> Option<&str> {
    let word = str::from_utf8(word).ok()?;
    let body = word.trim_end_matches('=');
    let good = |character: char| character.is_ascii_alphanumeric() || "-._~+/".contains(character);
    (!body.is_empty() && body.chars().all(good)).then_some(word)
}
