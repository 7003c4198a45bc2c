//! When somebody has last shown who they are who begins a session.

use chrono::{DateTime, Utc};

/// When somebody who begins a session has last shown who they are.
#[derive(Clone, Copy, Debug, Default)]
pub enum Seen {
    /// Just now, here.
    #[default]
    Now,
    /// Then, elsewhere.
    At(DateTime<Utc>),
    /// Nobody says.
    Unknown,
}

// === impl Seen ===

impl Seen {
    /// Never later than now, whatever is said elsewhere.
    pub(crate) fn at(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Now => Some(now),
            Self::At(at) => Some(at.min(now)),
            Self::Unknown => None,
        }
    }
}
