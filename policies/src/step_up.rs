//! Step-up (RFC 9470): a route may demand that the person behind a session has shown lately, or by two factors, who they are.
//!
//! What is known of it is part of the verified caller: nothing is looked up to decide. An API key and a certificate are no person's
//! showing anything, and meet no such demand.

use std::time::Duration;

use identity::{Assurance, Authentication};

use crate::refusal::whole_seconds;

/// How and how lately a person must have shown who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepUp {
    /// At least so sure.
    pub acr: Option<Assurance>,
    /// At most so long ago.
    pub max_age: Option<Duration>,
}

// === impl StepUp ===

impl StepUp {
    /// `now` in Unix seconds. Somebody whom a node with a faster clock has seen was seen just now.
    #[must_use]
    pub fn is_met_by(&self, shown: Option<Authentication>, now: i64) -> bool {
        let Some(shown) = shown else { return false };
        let is_sure = self.acr.is_none_or(|wanted| shown.assurance >= wanted);
        let age = u64::try_from(now.saturating_sub(shown.at)).unwrap_or(0);
        is_sure && self.max_age.is_none_or(|longest| age <= longest.as_secs())
    }

    /// `WWW-Authenticate` (RFC 9470 §3).
    #[must_use]
    pub fn challenge(&self, realm: &str) -> String {
        let acr = self.acr.map(|acr| format!(", acr_values=\"{}\"", acr.word())).unwrap_or_default();
        let age = self.max_age.map(|age| format!(", max_age=\"{}\"", whole_seconds(age))).unwrap_or_default();
        format!("Bearer realm=\"{realm}\", error=\"insufficient_user_authentication\"{acr}{age}")
    }

    /// What it takes, as a clause.
    pub(crate) fn clause(&self) -> String {
        let what = match self.acr {
            Some(Assurance::Multi) => "a session with a second factor",
            Some(Assurance::PhishingResistant) => "a session with a passkey",
            Some(Assurance::Single) | None => "a session",
        };
        match self.max_age.map(whole_seconds) {
            Some(seconds) => format!("{what}, whose owner has shown who they are within {seconds} seconds"),
            None => what.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: StepUp = StepUp { acr: Some(Assurance::Multi), max_age: Some(Duration::from_mins(1)) };

    const fn shown(assurance: Assurance, at: i64) -> Authentication {
        Authentication { at, assurance }
    }

    #[test]
    fn both_demands_hold_and_nobody_unseen_meets_either() {
        for (shown, is_met) in [
            (shown(Assurance::Multi, 1000), true),
            (shown(Assurance::PhishingResistant, 1000), true),
            (shown(Assurance::Single, 1000), false),
            (shown(Assurance::Multi, 940), true),
            (shown(Assurance::Multi, 939), false),
            (shown(Assurance::Multi, 1030), true),
            (shown(Assurance::Multi, i64::MIN), false),
            (shown(Assurance::Multi, i64::MAX), true),
        ] {
            assert_eq!(BOTH.is_met_by(Some(shown), 1000), is_met, "{shown:?}");
        }
        for one in [BOTH, StepUp { acr: None, ..BOTH }, StepUp { max_age: None, ..BOTH }] {
            assert!(!one.is_met_by(None, 1000));
        }
        assert!(StepUp { acr: None, ..BOTH }.is_met_by(Some(shown(Assurance::Single, 1000)), 1000));
        assert!(StepUp { max_age: None, ..BOTH }.is_met_by(Some(shown(Assurance::Multi, 0)), 1000));
    }

    #[test]
    fn a_client_is_told_what_it_takes() {
        let words = "Bearer realm=\"r\", error=\"insufficient_user_authentication\"";
        assert_eq!(BOTH.challenge("r"), format!("{words}, acr_values=\"mfa\", max_age=\"60\""));
        assert_eq!(StepUp { acr: None, ..BOTH }.challenge("r"), format!("{words}, max_age=\"60\""));
        assert_eq!(StepUp { max_age: None, ..BOTH }.challenge("r"), format!("{words}, acr_values=\"mfa\""));
    }
}
