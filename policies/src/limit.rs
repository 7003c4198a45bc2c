//! How much: a limit has an owner (a tier or a route), someone it is counted per, and a kind.
//!
//! Counting is `window`'s for requests and the gateway's for what is in flight; the header fields are `ratelimit_fields`'.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// One limit of a tier or a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Stable across reloads and processes: the same owner, per, kind and window keep their counters when `units` change.
    pub id: u64,
    /// What `RateLimit-Policy` calls it: `free-user-minute`, `login-ip-5m`, `free-user-concurrent`.
    pub name: Arc<str>,
    /// Whose use is added up.
    pub per: Per,
    /// What is counted.
    pub kind: Kind,
    /// Requests beyond the quota that all nodes together may let through in a window rather than wait for an answer.
    pub max_overshoot: u32,
}

/// Who lists the limit; part of its identity, so that a tier and a route of one name do not share counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The tier of this name.
    Tier(&'a str),
    /// The route of this name.
    Route(&'a str),
}

/// Whose use is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Per {
    /// One account, whichever credential it shows.
    User,
    /// All accounts of one customer organisation.
    Tenant,
    /// One API key or one session.
    Key,
    /// One client address (IPv6: one /56).
    Ip,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Requests within a sliding window.
    Requests(Quota),
    /// Requests in flight at one moment.
    Concurrent(u32),
}

/// At most `units` in any interval of length `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// At least 1.
    pub units: u32,
    /// Whole seconds, at least one and at most 31 days.
    pub window: Duration,
}

/// Why a text is not a quota.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuotaError {
    /// No `/`.
    #[error("a quota is written as \"100/minute\", \"5/30s\" or \"unlimited\"; \"{0}\" has no window")]
    NoWindow(Box<str>),
    /// The part before the `/` is not a number of units.
    #[error("\"{0}\" is not a whole number of requests from 1 to 4294967295")]
    Units(Box<str>),
    /// The part before the `/` is negative.
    #[error("a quota cannot be negative: \"{0}\"")]
    Negative(Box<str>),
    /// Zero units.
    #[error("a quota of 0 would refuse everybody; demand a role or a tier instead, or leave the route out")]
    Zero,
    /// A month has an edge, which a sliding window has not (docs/decisions/0015).
    #[error("a quota per calendar month is not supported; the longest window is \"31d\"")]
    Month,
    /// The part after the `/` is not a window.
    #[error(
        "\"{0}\" is not a window: write second, minute, hour, day, or a length such as 30s, 5m, 2h, 1d (at most 31d)"
    )]
    Window(Box<str>),
}

const DAY: u64 = 86_400;
const LONGEST: u64 = 31 * DAY;

// === impl Limit ===

impl Limit {
    /// Names and identifies a limit by its owner.
    #[must_use]
    pub fn new(owner: Owner<'_>, per: Per, kind: Kind) -> Self {
        let span = kind.span();
        let name = format!("{}-{per}-{span}", owner.name()).into();
        let id = fnv1a(&format!("{}:{}|{per}|{}|{span}", owner.word(), owner.name(), kind.word()));
        Self { id, name, per, kind, max_overshoot: 0 }
    }
}

impl<'a> Owner<'a> {
    const fn name(self) -> &'a str {
        match self {
            Self::Tier(name) | Self::Route(name) => name,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Tier(_) => "tier",
            Self::Route(_) => "route",
        }
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Requests(_) => "requests",
            Self::Concurrent(_) => "concurrent",
        }
    }

    fn span(self) -> String {
        match self {
            Self::Requests(quota) => span(quota.window),
            Self::Concurrent(_) => "concurrent".to_owned(),
        }
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Tenant => "tenant",
            Self::Key => "key",
            Self::Ip => "ip",
        })
    }
}

/// FNV-1a, 64 bit: <http://www.isthe.com/chongo/tech/comp/fnv/>. Stable, and its input is the operator's own text.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

// === impl Quota ===

impl Quota {
    /// Reads `100/minute`, `20/second`, `5/30s`, `5/10m`, `1000/hour`, `10/day`; `unlimited` is `None`.
    pub fn parse(text: &str) -> Result<Option<Self>, QuotaError> {
        let text = text.trim();
        if text == "unlimited" {
            return Ok(None);
        }
        let (units, window) = text.split_once('/').ok_or_else(|| QuotaError::NoWindow(text.into()))?;
        let (units, window) = (parse_units(units.trim())?, parse_window(window.trim())?);
        Ok(Some(Self { units, window }))
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.units, span(self.window))
    }
}

fn parse_units(text: &str) -> Result<u32, QuotaError> {
    if text.starts_with('-') {
        return Err(QuotaError::Negative(text.into()));
    }
    match digits(text).and_then(|units| u32::try_from(units).ok()) {
        Some(0) => Err(QuotaError::Zero),
        Some(units) => Ok(units),
        None => Err(QuotaError::Units(text.into())),
    }
}

fn parse_window(text: &str) -> Result<Duration, QuotaError> {
    let seconds = match text {
        "second" => Some(1),
        "minute" => Some(60),
        "hour" => Some(3600),
        "day" => Some(DAY),
        "month" | "months" => return Err(QuotaError::Month),
        _ => parse_length(text),
    };
    seconds
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| QuotaError::Window(text.into()))
}

fn parse_length(text: &str) -> Option<u64> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY,
        _ => return None,
    };
    digits(&text[..text.len() - 1])?.checked_mul(unit)
}

/// Digits only: `str::parse` would take a sign too.
pub(crate) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The window as people say it: `minute`, `5m`, `30s`.
fn span(window: Duration) -> String {
    match window.as_secs() {
        1 => "second".to_owned(),
        60 => "minute".to_owned(),
        3600 => "hour".to_owned(),
        DAY => "day".to_owned(),
        seconds if seconds % DAY == 0 => format!("{}d", seconds / DAY),
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn quota(text: &str) -> Quota {
        Quota::parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_quota_is_read_as_it_is_written() {
        for (text, units, seconds, shown) in [
            ("100/minute", 100, 60, "100/minute"),
            ("20/second", 20, 1, "20/second"),
            ("5/30s", 5, 30, "5/30s"),
            ("5/10m", 5, 600, "5/10m"),
            ("1000/hour", 1000, 3600, "1000/hour"),
            (" 7 / 60s ", 7, 60, "7/minute"),
            ("1/31d", 1, 31 * 86_400, "1/31d"),
            ("4/day", 4, 86_400, "4/day"),
            ("4/24h", 4, 86_400, "4/day"),
            ("3/90m", 3, 5400, "3/90m"),
            ("3/12h", 3, 43_200, "3/12h"),
        ] {
            let quota = quota(text);
            assert_eq!((quota.units, quota.window.as_secs()), (units, seconds), "{text}");
            assert_eq!(quota.to_string(), shown);
        }
        assert_eq!(Quota::parse("unlimited"), Ok(None));
    }

    #[test]
    fn what_is_no_quota_is_refused_with_a_sentence() {
        let refused = |text: &str| Quota::parse(text).unwrap_err();
        assert_eq!(refused("-5/minute"), QuotaError::Negative("-5".into()));
        assert_eq!(refused("0/minute"), QuotaError::Zero);
        assert_eq!(refused("10/month"), QuotaError::Month);
        assert_eq!(refused("100"), QuotaError::NoWindow("100".into()));
        for units in ["", "+5", "1.5", "4294967296", "1e3", "99999999999999999999999"] {
            assert_eq!(refused(&format!("{units}/minute")), QuotaError::Units(units.into()));
        }
        for window in ["", "s", "0s", "-1s", "32d", "fortnight", "5 m m", "1ms", "5é", "99999999999999999999d"] {
            assert_eq!(refused(&format!("5/{window}")), QuotaError::Window(window.into()), "{window}");
        }
        assert!(refused("10/month").to_string().contains("not supported;"));
    }

    #[test]
    fn a_limit_keeps_its_id_when_only_its_units_change() {
        let of = |owner, per, text| Limit::new(owner, per, Kind::Requests(quota(text)));
        let minute = of(Owner::Tier("free"), Per::User, "100/minute");
        assert_eq!(&*minute.name, "free-user-minute");
        assert_eq!(minute.id, of(Owner::Tier("free"), Per::User, "200/60s").id);
        // Written down, so that a change of the hash, which would forget every counter at an upgrade, is noticed.
        assert_eq!(minute.id, 0xd338_c0c5_8233_79bc);
        let others = [
            of(Owner::Route("free"), Per::User, "100/minute"),
            of(Owner::Tier("free"), Per::Ip, "100/minute"),
            of(Owner::Tier("free"), Per::User, "100/hour"),
            of(Owner::Tier("pro"), Per::User, "100/minute"),
            Limit::new(Owner::Tier("free"), Per::User, Kind::Concurrent(100)),
        ];
        for other in others {
            assert_ne!(minute.id, other.id, "{other:?}");
        }
    }
}
