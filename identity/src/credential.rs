//! What a caller shows: nothing, exactly one credential, or something that is refused.
//!
//! ```text
//! Authorization: Bearer eyJhbGciOiJFZERTQSIs…    a JWT        (RFC 6750 §2.1)
//! Authorization: Bearer pck_…                    an API key, known by its prefix
//! X-API-Key: pck_…                               an API key
//! ```
//!
//! A new type of credential is a variant of [`Credential`]; the compiler shows every place that has to know it. Whether a
//! credential is good is found out later.

use crate::opaque::{ApiKeyKind, Kind};

/// One credential, not yet verified. It has no `Debug`: its text is a secret.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// A JSON Web Token.
    Jwt(&'a str),
    /// An API key.
    ApiKey(&'a str),
}

/// Why what was shown is not a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// More than one.
    #[error("more than one credential was sent")]
    Ambiguous,
    /// An `Authorization` of another scheme.
    #[error("the authorization scheme is not supported")]
    Unsupported,
    /// Not the characters of a credential.
    #[error("the credential is malformed")]
    Malformed,
}

// === impl Credential ===

impl<'a> Credential<'a> {
    /// Reads the values of the headers `Authorization` and `X-API-Key`.
    pub fn read(
        authorization: impl Iterator<Item = &'a [u8]>,
        x_api_key: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, CredentialError> {
        let mut shown = authorization.map(Header::Authorization).chain(x_api_key.map(Header::ApiKey));
        let Some(first) = shown.next() else { return Ok(None) };
        if shown.next().is_some() {
            return Err(CredentialError::Ambiguous);
        }
        match first {
            Header::Authorization(value) => bearer(value).map(Some),
            Header::ApiKey(value) => Ok(Some(Self::ApiKey(b64token(value)?))),
        }
    }
}

enum Header<'a> {
    Authorization(&'a [u8]),
    ApiKey(&'a [u8]),
}

fn bearer(value: &[u8]) -> Result<Credential<'_>, CredentialError> {
    let (scheme, mut rest) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(if scheme.is_empty() { CredentialError::Malformed } else { CredentialError::Unsupported });
    }
    // Spaces and nothing else: a tab or a line end here is an attempt to be read in two ways.
    while let [b' ', after @ ..] = rest {
        rest = after;
    }
    let token = b64token(rest)?;
    Ok(if token.starts_with(ApiKeyKind::PREFIX) { Credential::ApiKey(token) } else { Credential::Jwt(token) })
}

/// Are these the characters of a `b64token`? Without a branch per byte, so that the compiler looks at 32 of them at once:
/// every byte of every request's token passes here.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a lazy operator is a branch, and a branch per byte is what this avoids"
)]
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |plain, byte| {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // `-./0123456789` lie side by side.
        let digit = byte.wrapping_sub(b'-') < 13;
        plain & (letter | digit | (*byte == b'_') | (*byte == b'~') | (*byte == b'+'))
    })
}

/// `b64token` of RFC 6750 §2.1, with `=` at the end only; anything else could be read in two ways.
fn b64token(value: &[u8]) -> Result<&str, CredentialError> {
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &value[..value.len() - padding];
    if body.is_empty() || !is_plain(body) {
        return Err(CredentialError::Malformed);
    }
    std::str::from_utf8(value).map_err(|_| CredentialError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(authorization: &[&str], key: &[&str]) -> Result<Option<(bool, String)>, CredentialError> {
        let read =
            Credential::read(authorization.iter().map(|text| text.as_bytes()), key.iter().map(|text| text.as_bytes()));
        read.map(|found| {
            found.map(|credential| match credential {
                Credential::Jwt(text) => (false, text.to_owned()),
                Credential::ApiKey(text) => (true, text.to_owned()),
            })
        })
    }

    #[test]
    fn exactly_one_credential_is_read() {
        assert_eq!(read(&[], &[]), Ok(None));
        for bearer in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(read(&[bearer], &[]), Ok(Some((false, "a.b.c".into()))), "{bearer}");
        }
        assert_eq!(read(&["Bearer pck_x"], &[]), Ok(Some((true, "pck_x".into()))));
        assert_eq!(read(&[], &["pck_x"]), Ok(Some((true, "pck_x".into()))));
    }

    #[test]
    fn more_than_one_is_ambiguous_even_if_they_are_equal() {
        for (authorization, key) in [
            (vec!["Bearer a", "Bearer a"], vec![]),
            (vec!["Bearer a"], vec!["pck_x"]),
            (vec![], vec!["pck_x", "pck_x"]),
        ] {
            assert_eq!(read(&authorization, &key), Err(CredentialError::Ambiguous));
        }
    }

    #[test]
    fn what_is_no_credential_is_refused() {
        for (value, error) in [
            ("Basic dTpw", CredentialError::Unsupported),
            ("Bearer", CredentialError::Malformed),
            ("Bearer ", CredentialError::Malformed),
            ("Bearer a b", CredentialError::Malformed),
            ("Bearer a,b", CredentialError::Malformed),
            ("Bearer \u{e9}", CredentialError::Malformed),
            ("Bearer\ta", CredentialError::Unsupported),
            ("Bearer \ta", CredentialError::Malformed),
            ("Bearer a\t", CredentialError::Malformed),
            ("Bearer a\0", CredentialError::Malformed),
            ("Bearer =", CredentialError::Malformed),
            ("Bearer a=b", CredentialError::Malformed),
            ("Bearer Bearer a", CredentialError::Malformed),
            ("BearerX a", CredentialError::Unsupported),
            (" Bearer a", CredentialError::Malformed),
            ("", CredentialError::Malformed),
        ] {
            assert_eq!(read(&[value], &[]), Err(error), "{value:?}");
        }
        for key in ["", "pck_a pck_b", "pck_a,pck_b", "\u{e9}"] {
            assert_eq!(read(&[], &[key]), Err(CredentialError::Malformed), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_what_is_read_is_one_plain_word_of_it(value: Vec<u8>, bearer: bool) {
            let value = if bearer { [b"Bearer ".as_slice(), &value].concat() } else { value };
            let read = Credential::read(std::iter::once(value.as_slice()), std::iter::empty());
            if let Ok(Some(Credential::Jwt(word) | Credential::ApiKey(word))) = read {
                prop_assert!(value.ends_with(word.as_bytes()));
                prop_assert!(word.bytes().all(|byte| byte.is_ascii_graphic() && !b",;\"".contains(&byte)));
            }
        }
    }
}
