//! What a caller shows: nothing, exactly one credential, or something that is refused.
//!
//! ```text
//! Authorization: Bearer eyJhbGciOiJFZERTQSIs…    a JWT        (RFC 6750 §2.1)
//! Authorization: Bearer pck_…                    an API key, known by its prefix
//! X-API-Key: pck_…                               an API key
//! Sec-WebSocket-Protocol: chat, bearer.eyJ…      either, from pages that can set no other header (RFC 6455 §1.9)
//! Cookie: __Host-portcullis=pcs_…                a browser's session (`cookie`)
//! ```
//!
//! A new type of credential is a variant of [`Credential`], and a header that is nothing else stands in [`Credential::HEADERS`]; the compiler
//! shows every place that has to know them. Whether a credential is good is found out later.

use crate::opaque::{ApiKeyKind, Kind};

/// One credential, not yet verified. It has no `Debug`: its text is a secret.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// A JSON Web Token.
    Jwt(&'a str),
    /// An API key.
    ApiKey(&'a str),
    /// No proof at all: `X-User-Email` and `X-User-Name`, where a developer's machine is told to believe them. [`Self::read`]
    /// never finds it.
    Developer {
        /// Whose account.
        email: &'a str,
        /// What the owner is called, if the account is made for it.
        name: Option<&'a str>,
    },
    /// What a session cookie holds: it proves who a browser's user is, and not that the user meant the request.
    Cookie(&'a str),
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
    /// The headers that are a credential and nothing else, in lower case: none of them goes on to an upstream that has not asked for it. Of
    /// `Sec-WebSocket-Protocol` and `Cookie` only a part is.
    pub const HEADERS: [&'static str; 2] = ["authorization", "x-api-key"];

    /// Reads the values of [`Self::HEADERS`], one after the other, and of `Sec-WebSocket-Protocol` and the session cookie.
    pub fn read<V: Iterator<Item = &'a [u8]>>(
        [authorization, x_api_key]: [V; 2],
        websocket_protocol: impl Iterator<Item = &'a [u8]>,
        cookie: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, CredentialError> {
        let mut shown = authorization
            .map(Header::Authorization)
            .chain(x_api_key.map(Header::ApiKey))
            .chain(websocket_protocol.flat_map(list_members).filter_map(bearer_protocol).map(Header::Protocol))
            .chain(cookie.map(Header::Cookie));
        let Some(first) = shown.next() else { return Ok(None) };
        if shown.next().is_some() {
            return Err(CredentialError::Ambiguous);
        }
        match first {
            Header::Authorization(value) => bearer(value).map(Some),
            // A token shown as a key would be refused once, and be found in the cache the next time.
            Header::ApiKey(value) => match Self::of_token(b64token(value)?) {
                key @ Self::ApiKey(_) => Ok(Some(key)),
                Self::Jwt(_) | Self::Developer { .. } | Self::Cookie(_) => Err(CredentialError::Malformed),
            },
            Header::Protocol(token) => b64token(token).map(Self::of_token).map(Some),
            Header::Cookie(value) => b64token(value).map(Self::Cookie).map(Some),
        }
    }

    /// What a bearer token is, by its prefix.
    fn of_token(token: &'a str) -> Self {
        if token.starts_with(ApiKeyKind::PREFIX) { Self::ApiKey(token) } else { Self::Jwt(token) }
    }
}

enum Header<'a> {
    Authorization(&'a [u8]),
    ApiKey(&'a [u8]),
    Protocol(&'a [u8]),
    Cookie(&'a [u8]),
}

/// The members of a field that is a list (RFC 9110 §5.6.1), such as `Sec-WebSocket-Protocol` or `Connection`, without the blanks around them.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// The token in a protocol `bearer.<token>`. The prefix has no case here, so that no spelling of it is passed on as if it
/// were a protocol of the application's.
#[must_use]
pub fn bearer_protocol(member: &[u8]) -> Option<&[u8]> {
    let (prefix, token) = member.split_at_checked(b"bearer.".len())?;
    prefix.eq_ignore_ascii_case(b"bearer.").then_some(token)
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
    b64token(rest).map(Credential::of_token)
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
        read_all(authorization, key, &[])
    }

    fn read_all(
        authorization: &[&str],
        key: &[&str],
        protocols: &[&str],
    ) -> Result<Option<(bool, String)>, CredentialError> {
        let [authorization, key, protocols] =
            [authorization, key, protocols].map(|values| values.iter().map(|text| text.as_bytes()));
        Credential::read([authorization, key], protocols, std::iter::empty()).map(|found| {
            found.map(|credential| match credential {
                Credential::Jwt(text) => (false, text.to_owned()),
                Credential::ApiKey(text) => (true, text.to_owned()),
                Credential::Developer { .. } | Credential::Cookie(_) => unreachable!("there is none"),
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

    #[test]
    fn a_websocket_protocol_may_be_the_one_credential() {
        for (offered, read) in [
            (vec!["bearer.a.b.c"], Ok(Some((false, "a.b.c".into())))),
            (vec!["chat, Bearer.pck_x", "v2"], Ok(Some((true, "pck_x".into())))),
            (vec!["\tchat , \tbearer.a.b.c "], Ok(Some((false, "a.b.c".into())))),
            (vec!["chat", "bearer", "bearer-a", "xbearer.a"], Ok(None)),
            (vec!["bearer.a, bearer.a"], Err(CredentialError::Ambiguous)),
            (vec!["bearer.a", "chat,BEARER.b"], Err(CredentialError::Ambiguous)),
            (vec!["bearer."], Err(CredentialError::Malformed)),
            (vec!["bearer.a b"], Err(CredentialError::Malformed)),
            (vec!["bearer.\"a\""], Err(CredentialError::Malformed)),
        ] {
            assert_eq!(read_all(&[], &[], &offered), read, "{offered:?}");
        }
        for (authorization, key) in [(vec!["Bearer a"], vec![]), (vec!["Basic x"], vec![]), (vec![], vec!["pck_x"])] {
            assert_eq!(read_all(&authorization, &key, &["bearer.a"]), Err(CredentialError::Ambiguous));
        }
    }

    #[test]
    fn a_cookie_is_the_one_credential_or_one_too_many() {
        let read = |authorization: &[&'static str], cookie: &[&'static str]| {
            let [authorization, none, cookie] =
                [authorization, &[], cookie].map(|values| values.iter().map(|text| text.as_bytes()));
            let read = Credential::read([authorization, none], std::iter::empty(), cookie);
            read.map(|found| found.is_some_and(|found| matches!(found, Credential::Cookie("pcs_x"))))
        };
        assert_eq!(read(&[], &["pcs_x"]), Ok(true));
        assert_eq!(read(&["Bearer pcs_x"], &[]), Ok(false), "a cookie's value elsewhere is no cookie");
        for (authorization, cookie) in
            [(&["Bearer a"][..], &["pcs_x"][..]), (&["Basic a"], &["pcs_x"]), (&[], &["a", "a"])]
        {
            assert_eq!(read(authorization, cookie), Err(CredentialError::Ambiguous));
        }
        for value in ["", "pcs_x y", "\"pcs_x\""] {
            assert_eq!(read(&[], &[value]), Err(CredentialError::Malformed), "{value}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sent_what_is_read_is_one_plain_word_of_it(value: Vec<u8>, bearer: bool) {
            let value = if bearer { [b"Bearer ".as_slice(), &value].concat() } else { value };
            let none = std::iter::empty;
            let read = Credential::read([Some(value.as_slice()), None].map(Option::into_iter), none(), none());
            if let Ok(Some(Credential::Jwt(word) | Credential::ApiKey(word))) = read {
                prop_assert!(value.ends_with(word.as_bytes()));
                prop_assert!(word.bytes().all(|byte| byte.is_ascii_graphic() && !b",;\"".contains(&byte)));
            }
        }
    }
}
