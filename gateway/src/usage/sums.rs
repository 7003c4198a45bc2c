//! What is counted as one, and how much of it there was.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use identity::Grant;
use store::Used;
use uuid::Uuid;

use super::{Counted, meter::Metered};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// One caller, route, day and kind of answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) account: Uuid,
    pub(super) key: Option<Uuid>,
    pub(super) tenant: Option<Uuid>,
    pub(super) route: Arc<str>,
    /// Since 1970.
    pub(super) day: i64,
    pub(super) service: Option<Box<str>>,
    pub(super) model: Option<Box<str>>,
    pub(super) request_type: Option<Box<str>>,
}

/// How much.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) requests: i64,
    pub(super) tokens: i64,
    pub(super) cost: i64,
}

/// What was counted since the spool was last written.
pub(super) type Sums = HashMap<Kind, Sum>;

// === impl Kind ===

impl Kind {
    /// What one request adds to.
    pub(super) fn of(counted: Counted) -> (Self, Sum) {
        let Metered { tokens, cost, model, service, request_type, .. } =
            counted.metered.map(|metered| *metered).unwrap_or_default();
        let (tokens, cost) = (tokens.unwrap_or(0), cost.unwrap_or(0));
        let principal = &counted.known.principal;
        let kind = Self {
            account: principal.account.uuid(),
            key: if let Grant::Key(key) = principal.grant { Some(key.uuid()) } else { None },
            tenant: principal.tenant.map(|tenant| tenant.uuid()),
            route: Arc::clone(&counted.route.name),
            day: counted.at.div_euclid(DAY),
            service,
            model,
            request_type,
        };
        (kind, Sum { requests: 1, tokens, cost })
    }

    /// When its day began.
    pub(super) fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(day.saturating_mul(DAY), 0).unwrap_or_default()
    }
}

// === impl Sum ===

impl Sum {
    /// What one answer may say is bounded, so this takes nine million of them within an interval.
    pub(super) fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.tokens = self.tokens.saturating_add(more.tokens);
        self.cost = self.cost.saturating_add(more.cost);
    }

    /// Adds it to what was used.
    pub(super) fn add_to(self, used: &mut Used) {
        used.requests = used.requests.saturating_add(self.requests);
        used.tokens = used.tokens.saturating_add(self.tokens);
        used.cost = used.cost.saturating_add(self.cost);
    }
}
