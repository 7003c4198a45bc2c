//! What callers are told of their quotas: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers, structured
//! fields of RFC 9651) and the `X-RateLimit-*` numbers that older clients read.
//!
//! ```text
//! RateLimit-Policy: "free-user-minute";q=100;w=60
//! RateLimit: "free-user-minute";r=50;t=30
//! ```
//!
//! `t` is when the oldest counted units come back, not all of them. It is never later than `Retry-After`, as the draft wants.

use std::fmt::{Result, Write};
use std::time::Duration;

use crate::refusal::whole_seconds;
use crate::{Quota, Spend};

/// One limit as the request left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The limit's name.
    pub name: &'a str,
    /// What it allows.
    pub quota: Quota,
    /// Units left now.
    pub remaining: u32,
    /// Until some units come back.
    pub reset: Duration,
}

/// The values of `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from now).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Units per window.
    pub limit: u32,
    /// Units left now.
    pub remaining: u32,
    /// Seconds until some units come back.
    pub reset: u64,
}

/// Appends the value of `RateLimit-Policy`. Fails only as `out` does.
pub fn write_policy<'a>(out: &mut impl Write, readings: impl IntoIterator<Item = &'a Reading<'a>>) -> Result {
    readings.into_iter().enumerate().try_for_each(|(index, reading)| {
        write_name(out, index, reading.name)?;
        write_numbers(out, (";q=", reading.quota.units.into()), (";w=", reading.quota.window.as_secs()))
    })
}

/// Appends the value of `RateLimit`. Fails only as `out` does.
pub fn write_ratelimit<'a>(out: &mut impl Write, readings: impl IntoIterator<Item = &'a Reading<'a>>) -> Result {
    readings.into_iter().enumerate().try_for_each(|(index, reading)| {
        write_name(out, index, reading.name)?;
        write_numbers(out, (";r=", reading.remaining.into()), (";t=", reading.seconds()))
    })
}

/// The reading nearest to a refusal, for clients that know one limit only: the fewest units left, then the longest wait.
#[must_use]
pub fn plain<'a>(readings: impl IntoIterator<Item = &'a Reading<'a>>) -> Option<Plain> {
    let tightest = readings.into_iter().min_by_key(|reading| (reading.remaining, std::cmp::Reverse(reading.reset)))?;
    Some(Plain { limit: tightest.quota.units, remaining: tightest.remaining, reset: tightest.seconds() })
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// What a window answered.
    #[must_use]
    pub const fn of(name: &'a str, quota: Quota, spend: Spend) -> Self {
        let (Spend::Admitted { remaining, reset } | Spend::Refused { remaining, reset, .. }) = spend;
        Self { name, quota, remaining, reset }
    }

    /// Rounded up, and never beyond the window that is advertised beside it: the 1/64 that the window is in effect longer
    /// belongs to `Retry-After`, which must be exact.
    fn seconds(&self) -> u64 {
        whole_seconds(self.reset).min(self.quota.window.as_secs())
    }
}

/// A structured field string (RFC 9651 §3.3.3): visible ASCII and space, `"` and `\` escaped.
fn write_name(out: &mut impl Write, index: usize, name: &str) -> Result {
    out.write_str(if index == 0 { "\"" } else { ", \"" })?;
    // Nearly every name is plain and copied whole.
    if name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.write_str(name)?;
    } else {
        name.chars().try_for_each(|character| write_escaped(out, character))?;
    }
    out.write_str("\"")
}

fn write_escaped(out: &mut impl Write, character: char) -> Result {
    match character {
        '"' => out.write_str("\\\""),
        '\\' => out.write_str("\\\\"),
        ' '..='~' => out.write_char(character),
        _ => out.write_char('-'),
    }
}

/// `itoa` and not `write!`: these are on every answer.
fn write_numbers(out: &mut impl Write, (first, one): (&str, u64), (second, two): (&str, u64)) -> Result {
    for (word, number) in [(first, one), (second, two)] {
        out.write_str(word)?;
        out.write_str(itoa::Buffer::new().format(number))?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn reading(name: &str, units: u32, window: u64, remaining: u32, reset_ms: u64) -> Reading<'_> {
        let quota = Quota { units, window: Duration::from_secs(window) };
        Reading { name, quota, remaining, reset: Duration::from_millis(reset_ms) }
    }

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let readings = [reading("free-user-minute", 100, 60, 50, 29_001), reading("login-ip-5m", 20, 300, 19, 60_000)];
        let (mut policy, mut ratelimit) = (String::new(), String::new());
        write_policy(&mut policy, &readings).unwrap();
        write_ratelimit(&mut ratelimit, &readings).unwrap();
        assert_eq!(policy, r#""free-user-minute";q=100;w=60, "login-ip-5m";q=20;w=300"#);
        assert_eq!(ratelimit, r#""free-user-minute";r=50;t=30, "login-ip-5m";r=19;t=60"#);
    }

    #[test]
    fn a_name_is_always_a_structured_field_string() {
        for (name, said) in [("a\"b\\c\r\né", r#"a\"b\\c---"#), ("\"\"", r#"\"\""#), ("\\", r"\\")] {
            let mut policy = String::new();
            write_policy(&mut policy, &[reading(name, 1, 1, 0, 0)]).unwrap();
            assert_eq!(policy, format!("\"{said}\";q=1;w=1"));
        }
    }

    #[test]
    fn the_reset_never_exceeds_the_window_beside_it() {
        let mut ratelimit = String::new();
        write_ratelimit(&mut ratelimit, &[reading("n", 1, 60, 0, 60_900)]).unwrap();
        assert_eq!(ratelimit, r#""n";r=0;t=60"#);
    }

    #[test]
    fn old_clients_are_told_of_the_tightest_limit() {
        let readings = [reading("a", 500, 60, 9, 1), reading("b", 20, 1, 3, 500), reading("c", 30, 300, 3, 200_000)];
        assert_eq!(plain(&readings), Some(Plain { limit: 30, remaining: 3, reset: 200 }));
        assert_eq!(plain(&[]), None);
    }
}
