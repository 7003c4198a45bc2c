//! Money as it is counted: whole millionths of a currency's unit, read from decimal text and never by way of a float.

use std::fmt;

use thiserror::Error;

/// Millionths in a unit.
pub const MICROS: i64 = 1_000_000;
/// What one event may cost at most, in millionths: a million units. More is a mistake of whoever says it, and a sum of nine million
/// such events still fits.
pub const MOST_COST: i64 = 1_000_000 * MICROS;
/// What a bill may be of, in millionths: so much once for its price and once for what was used still fits.
pub const MOST_BILLED: i64 = 1_000_000_000_000 * MICROS;
/// Characters of a number that are looked at; JSON writers need 25 for any float.
const LONGEST: usize = 64;
/// Digits that are kept, which always fit; what follows them is far below a millionth of what is allowed.
const MOST_DIGITS: usize = 36;

/// So many millionths, not negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(i64);

/// Why a text is no cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// It is no decimal number.
    #[error("must be a decimal number such as 0.0125")]
    NotDecimal,
    /// It is below zero.
    #[error("must not be negative")]
    Negative,
    /// It is more than so many units.
    #[error("must not be more than {0}")]
    Huge(i64),
}

// === impl Micros ===

impl Micros {
    /// So many, if that is an amount.
    #[must_use]
    pub const fn new(micros: i64) -> Option<Self> {
        if micros < 0 { None } else { Some(Self(micros)) }
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads what an event costs: [`MOST_COST`] at most.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        Self::parse_up_to(MOST_COST, text)
    }

    /// Reads a number as JSON writes it (RFC 8259 §6): `12`, `0.0125`, `1e-05`. Halves of a millionth are rounded up. `most` is in millionths.
    pub fn parse_up_to(most: i64, text: &str) -> Result<Self, MoneyError> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let micros = micros(text)?;
        if negative && micros != Some(0) {
            return Err(MoneyError::Negative);
        }
        micros
            .and_then(|micros| i64::try_from(micros).ok())
            .filter(|micros| *micros <= most)
            .map(Self)
            .ok_or(MoneyError::Huge(most / MICROS))
    }
}

/// `None`: more than can be counted.
fn micros(text: &str) -> Result<Option<u128>, MoneyError> {
    let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, rest)| (whole, Some(rest)));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if text.len() > LONGEST || !is_digits(whole) || leading_zero || !fraction.is_none_or(is_digits) {
        return Err(MoneyError::NotDecimal);
    }
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if !is_digits(digits) {
        return Err(MoneyError::NotDecimal);
    }
    // Further away than any text is long: nothing, or more than can be.
    let exponent: i32 = digits.parse().unwrap_or(1000).min(1000) * if exponent.starts_with('-') { -1 } else { 1 };
    let fraction = fraction.unwrap_or_default();
    let all = format!("{whole}{fraction}");
    let all = all.trim_start_matches('0');
    let (kept, cut) = all.split_at_checked(MOST_DIGITS).unwrap_or((all, ""));
    let Ok(mantissa) = kept.parse::<u128>() else { return Ok(Some(0)) };
    // Lengths are bounded by `LONGEST`.
    let places = |digits: &str| i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let shift = 6 + exponent - places(fraction) + places(cut);
    let scale = 10_u128.checked_pow(shift.unsigned_abs());
    Ok(match scale {
        Some(scale) if shift >= 0 => mantissa.checked_mul(scale),
        None if shift >= 0 => None,
        Some(scale) => Some((mantissa + scale / 2) / scale),
        None => Some(0),
    })
}

impl fmt::Display for Micros {
    /// `12`, `0.0125`: no more digits than it has, and at least two behind a point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.0 / MICROS, self.0 % MICROS);
        let rest = format!("{rest:06}");
        let rest = rest.trim_end_matches('0');
        write!(f, "{units}.{rest:0<2}")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_counted() {
        for (text, micros, shown) in [
            ("0", 0, "0.00"),
            ("-0.0", 0, "0.00"),
            ("12", 12_000_000, "12.00"),
            ("0.0125", 12_500, "0.0125"),
            ("0.1", 100_000, "0.10"),
            ("0.30000000000000004", 300_000, "0.30"),
            ("0.30000000000000000000000000000000000000000000000000004", 300_000, "0.30"),
            ("1e-05", 10, "0.00001"),
            ("2.5E+2", 250_000_000, "250.00"),
            ("0.0000005", 1, "0.000001"),
            ("0.00000049999999999999999999999", 0, "0.00"),
            ("1000000", MOST_COST, "1000000.00"),
            ("1e-999999999999", 0, "0.00"),
        ] {
            let read = Micros::parse(text).unwrap();
            assert_eq!((read.get(), read.to_string().as_str()), (micros, shown), "{text}");
        }
    }

    #[test]
    fn no_amount_is_below_nothing() {
        assert_eq!([-1, 0, 1].map(Micros::new), [None, Some(Micros(0)), Some(Micros(1))]);
    }

    #[test]
    fn what_is_no_cost_is_told_apart() {
        for text in [
            "", "-", ".5", "5.", "01", "+1", "1 ", " 1", "0x10", "1,5", "NaN", "Infinity", "1e", "1e+", "1.2.3",
            "\u{661}",
        ] {
            assert_eq!(Micros::parse(text), Err(MoneyError::NotDecimal), "{text:?}");
        }
        let long = |length: usize| Micros::parse(&format!("0.{}", "1".repeat(length - 2)));
        assert_eq!((long(64), long(65)), (Ok(Micros(111_111)), Err(MoneyError::NotDecimal)));
        for text in ["-1", "-0.000001", "-1e999"] {
            assert_eq!(Micros::parse(text), Err(MoneyError::Negative), "{text}");
        }
        for text in ["1000000.000001", "1e7", "1e999999999999", &"9".repeat(60)] {
            assert_eq!(Micros::parse(text), Err(MoneyError::Huge(1_000_000)), "{text}");
        }
        assert_eq!(Micros::parse_up_to(MOST_BILLED, "1e12"), Ok(Micros(MOST_BILLED)));
        assert_eq!(Micros::parse_up_to(MOST_BILLED, "1e13"), Err(MoneyError::Huge(1_000_000_000_000)));
    }
}
