//! API keys that may be shown from some networks alone. From elsewhere they are nobody's: a thief is told nothing of them, neither that
//! they are real nor that they have ended. Nothing is kept of such a refusal, since whoever shows the key from where it belongs is right.

use std::{net::IpAddr, sync::Arc};

use identity::Networks;
use policies::Refusal;
use uuid::Uuid;

use super::{Asking, Directory, Known};
use crate::stamps::Moment;

/// A refusal that the database gave cause for, and about whom it said so.
#[derive(Clone)]
pub(super) struct Denied {
    pub(super) refusal: Refusal,
    pub(super) about: [Uuid; 3],
    pub(super) learnt: Moment,
    /// From where the credential may be shown; boxed, since it is so seldom.
    pub(super) networks: Option<Box<Networks>>,
}

// === impl Denied ===

impl Denied {
    /// Nobody knows, or not for long: it is not kept.
    pub(super) fn passing(refusal: Refusal) -> Self {
        Self { refusal, about: [Uuid::nil(); 3], learnt: Moment::NEVER, networks: None }
    }

    /// What is said to whoever shows it from there, or from nobody knows where.
    pub(super) fn told(&self, place: Option<IpAddr>) -> Refusal {
        match &self.networks {
            Some(networks) if !admits(networks, place) => Refusal::InvalidToken,
            _ => self.refusal.clone(),
        }
    }
}

// === impl Known ===

impl Known {
    /// Is it a key that may not be shown from there, or from nobody knows where?
    pub(super) fn is_elsewhere(&self, place: Option<IpAddr>) -> bool {
        self.principal.networks.as_ref().is_some_and(|networks| !admits(networks, place))
    }
}

fn admits(networks: &Networks, place: Option<IpAddr>) -> bool {
    place.is_some_and(|place| networks.admit(place))
}

// === impl Directory ===

impl Directory {
    /// Lets somebody in who is known and believed, if they are where they may be and their time is not over.
    pub(super) fn welcome(&self, known: Arc<Known>, asking: Asking<'_>) -> Result<Arc<Known>, Refusal> {
        known.touch();
        self.metrics.hits.inc();
        if known.is_elsewhere(asking.place()) {
            return Err(self.refuse_elsewhere(&known, asking.client));
        }
        known.unless_expired(asking.now)
    }

    /// What is said of a key that is good, but not there: as of one that is nobody's, and it counts as that against the address. Out of
    /// line: an honest caller never comes here.
    #[cold]
    pub(super) fn refuse_elsewhere(&self, known: &Known, client: IpAddr) -> Refusal {
        if let Err(too_many) = self.check_refusals(client) {
            return too_many;
        }
        tracing::debug!(key = %known.principal.grant.uuid(), %client, "a key is shown from outside its networks");
        self.count_refusal(client);
        Refusal::InvalidToken
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use chrono::{DateTime, Utc};
    use identity::{AccountId, ApiKey, Credential, KeyId};
    use store::{NewKey, Subject};

    use super::{super::tests::House, *};

    const HOME: &str = "192.0.2.7";
    const THIEF: &str = "203.0.113.9";

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
    }

    /// Somebody's key that ends after a minute and belongs to one network of IPv4.
    async fn bound_key(house: &House) -> (ApiKey, AccountId) {
        let key = ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rand::rng());
        let account = house.person("ada@example.com").await.id;
        let new = NewKey {
            id: key.id(),
            account,
            by: None,
            tenant: None,
            name: "bound".to_owned(),
            prefix: key.prefix(),
            digest: key.digest(),
            scopes: None,
            networks: Some(Networks::parse(&["192.0.2.0/24"]).unwrap()),
            expires_at: Some(at(60)),
            most: 10,
            now: at(0),
        };
        house.store.create_key(new).await.unwrap();
        (key, account)
    }

    /// What comes of it when it is shown from there.
    async fn shown(house: &House, key: &ApiKey, client: &str, second: i64) -> &'static str {
        let (client, is_client_known) = match client.strip_prefix("for somebody: ") {
            Some(proxy) => (proxy, false),
            None => (client, true),
        };
        let asking = Asking { client: client.parse().unwrap(), is_client_known, now: at(second), request: None };
        let known = house.directory.authenticate(Credential::ApiKey(key.expose()), asking).await;
        known.err().map_or("ok", |refusal| refusal.code())
    }

    #[tokio::test]
    async fn a_bound_key_is_nobodys_from_elsewhere_and_good_at_home_whatever_came_between() {
        let house = House::open().await;
        let (key, _) = bound_key(&house).await;
        for (client, code) in [
            (THIEF, "invalid_token"),
            (HOME, "ok"),
            (THIEF, "invalid_token"),
            ("::ffff:192.0.2.8", "ok"),
            ("::ffff:203.0.113.9", "invalid_token"),
            // Three refusals are what an address may cause, as with a key that is nobody's.
            (THIEF, "too_many_refusals"),
            (THIEF, "too_many_refusals"),
            (HOME, "ok"),
            ("2001:db8::1", "invalid_token"),
        ] {
            assert_eq!(shown(&house, &key, client, 0).await, code, "{client}");
        }
        assert_eq!(house.metrics.cache.misses.get(), 1, "no refusal is kept, and none drives out what is");
    }

    #[tokio::test]
    async fn a_bound_key_is_nobodys_where_nobody_knows_who_shows_it() {
        let house = House::open().await;
        let (key, account) = bound_key(&house).await;
        let proxy = "for somebody: 192.0.2.9";
        // First as one that nobody has shown yet, and then as one that is known.
        for (client, code) in [(proxy, "invalid_token"), (HOME, "ok"), (proxy, "invalid_token")] {
            assert_eq!(shown(&house, &key, client, 0).await, code, "{client}");
        }
        house.store.revoke_key(account, key.id(), None, at(0)).await.unwrap();
        house.directory.hear([Subject::Key(key.id())]);
        for (client, code) in [(HOME, "revoked"), (proxy, "invalid_token"), (proxy, "too_many_refusals")] {
            assert_eq!(shown(&house, &key, client, 0).await, code, "{client}");
        }
    }

    #[tokio::test]
    async fn what_has_become_of_a_bound_key_is_told_at_home_alone() {
        let house = House::open().await;
        let (key, account) = bound_key(&house).await;
        assert_eq!(shown(&house, &key, HOME, 0).await, "ok");
        assert_eq!(shown(&house, &key, THIEF, 60).await, "invalid_token");
        assert_eq!(shown(&house, &key, HOME, 60).await, "expired");
        house.store.revoke_key(account, key.id(), None, at(0)).await.unwrap();
        house.directory.hear([Subject::Key(key.id())]);
        // Once from the database and once from what is kept of it, whoever asks first.
        for (client, code) in
            [(THIEF, "invalid_token"), (HOME, "revoked"), ("198.51.100.1", "invalid_token"), (HOME, "revoked")]
        {
            assert_eq!(shown(&house, &key, client, 0).await, code, "{client}");
        }
    }

    #[tokio::test]
    async fn a_bound_key_that_is_shown_from_elsewhere_is_not_used_by_that() {
        let house = House::open().await;
        let (key, account) = bound_key(&house).await;
        let used = async || {
            house.directory.tidy(at(9)).await;
            house.store.list_keys(account).await.unwrap()[0].last_used_at
        };
        assert_eq!(shown(&house, &key, THIEF, 1).await, "invalid_token");
        assert_eq!(shown(&house, &key, THIEF, 2).await, "invalid_token");
        assert_eq!(used().await, None);
        assert_eq!(shown(&house, &key, HOME, 3).await, "ok");
        assert_eq!(shown(&house, &key, THIEF, 4).await, "invalid_token");
        assert_eq!(used().await, Some(at(3)));
    }
}
