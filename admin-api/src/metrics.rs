//! What operators see of the office: logins, registrations, refreshes and the queue for passwords. Never labelled with a
//! person.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Registered once in the registry that the process exposes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct OfficeMetrics {
    logins: IntCounterVec,
    registrations: IntCounterVec,
    refreshes: IntCounterVec,
    mails: IntCounterVec,
    lockouts: IntCounterVec,
    confirmations: IntCounterVec,
    resets: IntCounterVec,
    email_changes: IntCounterVec,
    stuffing: IntCounterVec,
    pub(crate) unwritten: IntCounter,
    pub(crate) hashes: IntCounter,
    pub(crate) argon2_checks: IntCounter,
    pub(crate) bcrypt_rounds: IntCounter,
    pub(crate) hashes_waiting: IntGauge,
    pub(crate) hashes_refused: IntCounter,
}

// === impl OfficeMetrics ===

impl OfficeMetrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let r = registry;
        Ok(Self {
            logins: outcomes(
                r,
                "portcullis_logins_total",
                "Logins by outcome (ok, refused, locked, unverified, disabled, mfa_required, mfa_refused, provider, provider_refused, passkey, passkey_refused, link, link_refused).",
            )?,
            registrations: outcomes(
                r,
                "portcullis_registrations_total",
                "Registrations by outcome (begun, invited, ok, taken), those at login providers among them; an issuer's tokens register nobody.",
            )?,
            refreshes: outcomes(
                r,
                "portcullis_refreshes_total",
                "Refreshes by outcome (ok, refused, reused); each reuse ended a session.",
            )?,
            mails: outcomes(r, "portcullis_mails_total", "Mails by outcome (sent, retried, failed, too_many).")?,
            lockouts: outcomes(
                r,
                "portcullis_lockouts_total",
                "Locks after failed logins, of what (account, network).",
            )?,
            confirmations: outcomes(
                r,
                "portcullis_verifications_total",
                "Addresses to be confirmed by outcome (asked, ok, refused).",
            )?,
            resets: outcomes(
                r,
                "portcullis_password_resets_total",
                "Password resets by outcome (asked, ok, refused).",
            )?,
            email_changes: outcomes(
                r,
                "portcullis_email_changes_total",
                "Changes of addresses by outcome (asked, ok, refused).",
            )?,
            stuffing: outcomes(
                r,
                "portcullis_suspected_stuffing_total",
                "Failed logins that look like one attack, by its sign: many accounts from one network, or with one password (network, password).",
            )?,
            unwritten: IntCounter::new(
                "portcullis_audit_failures_total",
                "Events that could not be added to the audit trail.",
            )
            .and_then(|c| registered(r, c))?,
            hashes: IntCounter::new("portcullis_password_hashes_total", "Passwords hashed or checked.")
                .and_then(|c| registered(r, c))?,
            argon2_checks: IntCounter::new(
                "portcullis_login_argon2_checks_total",
                "Argon2 computations of logins; one for each failed one, whatever its account has.",
            )
            .and_then(|c| registered(r, c))?,
            bcrypt_rounds: IntCounter::new(
                "portcullis_login_bcrypt_rounds_total",
                "Rounds of bcrypt of logins, as many for each failed one as the dearest imported hash takes that is still in use.",
            )
            .and_then(|c| registered(r, c))?,
            hashes_waiting: IntGauge::new(
                "portcullis_password_hashes_waiting",
                "Passwords waiting to be hashed or checked.",
            )
            .and_then(|g| registered(r, g))?,
            hashes_refused: IntCounter::new(
                "portcullis_password_hashes_refused_total",
                "Requests answered 503 because too many passwords were waiting, or one for too long.",
            )
            .and_then(|c| registered(r, c))?,
        })
    }

    pub(crate) fn login(&self, outcome: &str) {
        self.logins.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn registration(&self, outcome: &str) {
        self.registrations.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn mail(&self, outcome: &str) {
        self.mails.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn lockout(&self, of: &str) {
        self.lockouts.with_label_values(&[of]).inc();
    }

    pub(crate) fn verification(&self, outcome: &str) {
        self.confirmations.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn reset(&self, outcome: &str) {
        self.resets.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn email_change(&self, outcome: &str) {
        self.email_changes.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn stuffing(&self, sign: &str) {
        self.stuffing.with_label_values(&[sign]).inc();
    }

    pub(crate) fn refresh(&self, outcome: &str) {
        self.refreshes.with_label_values(&[outcome]).inc();
    }
}

fn outcomes(registry: &Registry, name: &str, help: &str) -> Result<IntCounterVec, prometheus::Error> {
    let metric =
        IntCounterVec::new(Opts::new(name, help), &["outcome"]).and_then(|metric| registered(registry, metric))?;
    // What has not happened yet is 0 and not absent: else its first time would be no increase, and no alert.
    let words = help.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(words, _)| words);
    for word in words.split(", ").filter(|word| !word.is_empty()) {
        metric.with_label_values(&[word]);
    }
    Ok(metric)
}

fn registered<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone())).map(|()| metric)
}
