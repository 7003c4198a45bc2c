//! Time-based one-time passwords (RFC 6238): six digits that an authenticator shows for half a minute.
//!
//! SHA-1, 30 seconds and six digits are what every authenticator can do; HMAC does not need its hash to be free of collisions (RFC 6238
//! §1.2, RFC 4226 §B.2). That a code serves once is the store's to see to: it keeps the step of the last one.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use rand::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes: the length of the hash, as RFC 4226 §4 recommends.
const SECRET: usize = 20;
/// Seconds that a code is shown.
const PERIOD: i64 = 30;
const DIGITS: usize = 6;
/// Steps by which clocks may differ at most, either way: the one step that RFC 6238 §5.2 allows for delay, also for clocks that are ahead.
pub const MOST_SKEW: u8 = 1;

/// RFC 4648 §6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What an authenticator and we share.
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<[u8; SECRET]>);

// === impl TotpSecret ===

impl TotpSecret {
    /// A fresh secret.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; SECRET]);
        rng.fill_bytes(&mut *bytes);
        Self(bytes)
    }

    /// As it was sealed; `None` unless it is 20 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// For sealing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// As people type it: base32 (RFC 4648 §6), which of 20 bytes has no padding.
    #[must_use]
    pub fn base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SECRET * 8 / 5));
        for five in self.0.chunks(5) {
            let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            (0..8).rev().for_each(|place| text.push(char::from(BASE32[(bits >> (5 * place) & 31) as usize])));
        }
        text
    }

    /// What authenticators read from a QR code (`otpauth`, the key URI format).
    #[must_use]
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let (issuer, account) = (escaped(issuer), escaped(account));
        let secret = self.base32();
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={PERIOD}",
            *secret
        ))
    }

    /// The step in which `code` is shown, or up to `skew` steps ago or from now, [`MOST_SKEW`] at most; `None`: it is no code for now. Blanks are
    /// no part of it: authenticators show it as `123 456`.
    #[must_use]
    pub fn step_of(&self, code: &str, skew: u8, now: DateTime<Utc>) -> Option<i64> {
        let (current, skew) = (now.timestamp().div_euclid(PERIOD), i64::from(skew.min(MOST_SKEW)));
        let steps = current - skew..=current + skew;
        let digits = code.chars().filter(|typed| !typed.is_whitespace()).collect::<String>();
        let code = Zeroizing::new(digits);
        // All of them are computed, so that the time tells nothing.
        steps.fold(None, |found, step| {
            let is_it = bool::from(self.code(step).as_bytes().ct_eq(code.as_bytes()));
            if is_it { Some(step) } else { found }
        })
    }

    /// What an authenticator shows at `now`.
    #[must_use]
    pub fn code_at(&self, now: DateTime<Utc>) -> String {
        self.code(now.timestamp().div_euclid(PERIOD))
    }

    /// The code of a step (RFC 4226 §5.3).
    fn code(&self, step: i64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &*self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let hash = tag.as_ref();
        let at = usize::from(hash[SECRET - 1] & 15);
        let number = hash[at..at + 4].iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        format!("{:0DIGITS$}", (number & 0x7fff_ffff) % 10_u32.pow(DIGITS as u32))
    }
}

/// What has a meaning of its own in a URI, or is not ASCII, as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a String cannot fail");
        }
        escaped
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn secret() -> TotpSecret {
        TotpSecret::from_slice(b"12345678901234567890").unwrap()
    }

    #[test]
    fn a_code_is_typed_as_it_is_shown() {
        for typed in ["287 082", " 287082\n", "28 70 82", "287\u{a0}082"] {
            assert_eq!(secret().step_of(typed, 0, at(59)), Some(1), "{typed:?}");
        }
        for typed in ["287-082", "2870820", "28708", ""] {
            assert_eq!(secret().step_of(typed, 0, at(59)), None, "{typed:?}");
        }
    }

    /// RFC 6238 appendix B, the last six of its eight digits.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret().step_of(code, 1, at(seconds)), Some(seconds / 30), "{seconds}");
        }
    }

    #[test]
    fn a_code_serves_for_one_step_before_and_after_its_own_and_no_longer() {
        let step = 1_111_111_109 / 30;
        for (seconds, serves) in [
            ((step - 1) * 30 - 1, false),
            ((step - 1) * 30, true),
            (step * 30, true),
            ((step + 2) * 30 - 1, true),
            ((step + 2) * 30, false),
        ] {
            assert_eq!(secret().step_of("081804", 1, at(seconds)), serves.then_some(step), "{seconds}");
            assert_eq!(secret().step_of("081804", 200, at(seconds)), serves.then_some(step), "{seconds}");
        }
    }

    #[test]
    fn without_skew_a_code_serves_for_its_own_half_minute_alone() {
        let step = 1_111_111_109 / 30;
        for (seconds, serves) in
            [(step * 30 - 1, false), (step * 30, true), (step * 30 + 29, true), (step * 30 + 30, false)]
        {
            assert_eq!(secret().step_of("081804", 0, at(seconds)), serves.then_some(step), "{seconds}");
        }
    }

    #[test]
    fn nothing_but_the_six_digits_is_a_code() {
        for bad in ["", "81804", "0081804", "08180४", "081805", "94287082"] {
            assert_eq!(secret().step_of(bad, 1, at(1_111_111_109)), None, "{bad}");
        }
    }

    #[test]
    fn an_authenticator_can_read_what_it_is_told() {
        let uri = secret().uri("Ädmin & Co:1", "ada+x@example.com");
        assert_eq!(
            &**uri,
            "otpauth://totp/%C3%84dmin%20%26%20Co%3A1:ada%2Bx%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=%C3%84dmin%20%26%20Co%3A1&algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn a_secret_is_twenty_bytes() {
        assert!(TotpSecret::from_slice(&[0; 19]).is_none() && TotpSecret::from_slice(&[0; 21]).is_none());
        let made = TotpSecret::generate(&mut StdRng::seed_from_u64(1));
        assert_eq!(TotpSecret::from_slice(made.as_bytes()).unwrap().base32(), made.base32());
    }
}
