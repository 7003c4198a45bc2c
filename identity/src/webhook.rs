//! Signed words between services: what Stripe tells us, and what we tell others (Standard Webhooks).

use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};

use crate::SecretText;

/// How far the time of a signature may be from ours, either way: who has recorded one cannot use it later.
const TOLERANCE: i64 = 300;
/// Signatures of one header that are looked at; while a secret changes there are two.
const MOST_SIGNATURES: usize = 8;

/// Why a word is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// The header is missing or cannot be read.
    #[error("the signature cannot be read")]
    Malformed,
    /// It was signed too long ago, or will be.
    #[error("the signature is too old, or from the future")]
    Stale,
    /// It is somebody else's.
    #[error("the signature is wrong")]
    Wrong,
}

/// Is it what Stripe signed with `secret`? `header` is `Stripe-Signature: t=SECONDS,v1=HEX,…`; `now` is in Unix seconds.
pub fn verify_stripe(header: &str, body: &[u8], secret: &SecretText, now: i64) -> Result<(), WebhookError> {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let mut times = parts().filter(|(name, _)| *name == "t");
    let (Some((_, time)), None) = (times.next(), times.next()) else { return Err(WebhookError::Malformed) };
    let at: i64 = time.parse().map_err(|_| WebhookError::Malformed)?;
    let signatures = parts().filter(|(name, _)| *name == "v1").filter_map(|(_, hex)| bytes_of(hex));
    let signatures: Vec<_> = signatures.take(MOST_SIGNATURES).collect();
    if signatures.is_empty() {
        return Err(WebhookError::Malformed);
    }
    if !now.checked_sub(at).is_some_and(|age| (-TOLERANCE..=TOLERANCE).contains(&age)) {
        return Err(WebhookError::Stale);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let signed = [time.as_bytes(), b".", body].concat();
    let is_ours = signatures.iter().any(|signature| hmac::verify(&key, &signed, signature).is_ok());
    if is_ours { Ok(()) } else { Err(WebhookError::Wrong) }
}

fn bytes_of(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}

/// What `webhook-signature` says of a body, by a secret as Standard Webhooks writes it: `whsec_` and base64. `None` if it is no such secret.
#[must_use]
pub fn sign_webhook(secret: &SecretText, id: &str, timestamp: i64, body: &str) -> Option<String> {
    let key = BASE64_STANDARD.decode(secret.expose().strip_prefix("whsec_")?).ok().filter(|key| key.len() >= 24)?;
    let signed = format!("{id}.{timestamp}.{body}");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    Some(format!("v1,{}", BASE64_STANDARD.encode(tag)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    /// As Stripe's own libraries do it.
    fn signed(secret: &str, at: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("{at}.{body}").as_bytes());
        tag.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    #[test]
    fn only_what_was_signed_lately_with_the_secret_is_believed() {
        let secret = SecretText::from("whsec_test".to_owned());
        let good = signed("whsec_test", 1000, "{}");
        let check = |header: &str, body: &str, now| verify_stripe(header, body.as_bytes(), &secret, now);
        let header = format!("t=1000,v1={good}");
        for now in [1000, 1300, 700] {
            assert_eq!(check(&header, "{}", now), Ok(()));
        }
        for now in [1301, 699, i64::MAX, i64::MIN] {
            assert_eq!(check(&header, "{}", now), Err(WebhookError::Stale));
        }
        assert_eq!(check(&header, "{ }", 1000), Err(WebhookError::Wrong));
        assert_eq!(check(&format!("t=1001,v1={good}"), "{}", 1000), Err(WebhookError::Wrong));
        assert_eq!(check(&format!("t=1000,v1={}", signed("other", 1000, "{}")), "{}", 1000), Err(WebhookError::Wrong));
        let two = format!("t=1000, v1={}, v1={good}, v0=x", "0".repeat(64));
        assert_eq!(check(&two, "{}", 1000), Ok(()), "while the secret changes");
        let many = format!("t=1000{},v1={good}", format!(",v1={}", "0".repeat(64)).repeat(8));
        assert_eq!(check(&many, "{}", 1000), Err(WebhookError::Wrong));
        for bad in [
            "",
            "t=1000",
            "v1=00",
            &format!("v1={good}"),
            &format!("t=x,v1={good}"),
            &format!("t=1,t=1000,v1={good}"),
            "t=1000,v1=zz",
        ] {
            assert_eq!(check(bad, "{}", 1000), Err(WebhookError::Malformed), "{bad}");
        }
    }

    #[test]
    fn what_we_say_is_signed_as_the_standard_has_it() {
        // The example of the specification.
        let secret = SecretText::from("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signature = sign_webhook(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(sign_webhook(&SecretText::from("plain".to_owned()), "a", 1, ""), None);
    }
}
