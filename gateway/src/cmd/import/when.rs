//! Times as exports of older systems write them.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer, de::Error};

/// A moment. One without a zone is UTC's: so their databases kept it (`timestamp` of Prisma and of `SQLAlchemy`), and `row_to_json` and
/// `isoformat` write it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct When(pub(super) DateTime<Utc>);

/// With a `T` as in RFC 3339, or a space as Postgres writes it as text.
const WITHOUT_ZONE: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];

// === impl When ===

impl When {
    fn read(text: &str) -> Option<Self> {
        if let Ok(at) = text.parse() {
            return Some(Self(at));
        }
        let naive = WITHOUT_ZONE.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        naive.map(|naive| Self(naive.and_utc()))
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::read(&text).ok_or_else(|| D::Error::custom("no time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_utcs() {
        let read = |text| When::read(text).map(|when| when.0.to_rfc3339());
        for text in [
            "2024-05-06T07:08:09Z",
            "2024-05-06T09:08:09+02:00",
            "2024-05-06T07:08:09",
            "2024-05-06 07:08:09",
            "2024-05-06T07:08:09.000",
        ] {
            assert_eq!(read(text).as_deref(), Some("2024-05-06T07:08:09+00:00"), "{text}");
        }
        assert_eq!(read("2024-05-06T07:08:09.123").as_deref(), Some("2024-05-06T07:08:09.123+00:00"));
        for text in ["", "2024-05-06", "yesterday", "1714979289", "2024-13-06T07:08:09"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
