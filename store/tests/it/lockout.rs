//! Failed logins: counted together by every node, exactly, and told of once.

use std::{net::IpAddr, time::Duration};

use identity::{Email, LockRules, SecretDigest, SessionId};
use store::{Aim, NewMail, NewSession, Origin, Store};
use uuid::Uuid;

use crate::engines::{Database, at, on_both_engines, person, token};

on_both_engines!(
    the_fifth_failure_locks_whoever_counts_it_and_is_told_of_once,
    nodes_count_together_and_lose_none,
    what_is_counted_is_forgiven_by_place_or_altogether,
    a_login_knows_the_browser_and_the_network_of_earlier_sessions,
    failures_are_forgotten_when_they_are_over,
);

const RULES: LockRules = LockRules {
    attempts: 5,
    duration: Duration::from_mins(30),
    longest: Duration::from_hours(4),
    forget_after: Duration::from_hours(24),
};
const NEVER: LockRules = LockRules { attempts: 0, ..RULES };

fn ada() -> Aim {
    Aim::anywhere(SecretDigest::of(b"ada"))
}

fn network() -> Aim {
    Aim::anywhere(SecretDigest::of(b"network"))
}

async fn fail(store: &Store, second: i64) -> [bool; 2] {
    let notice = |_| NewMail {
        id: Uuid::now_v7(),
        template: "account_locked",
        address: "ada@example.com".to_owned(),
        is_wish: true,
        sealed: None,
        now: at(second),
    };
    store.count_failure([(ada(), RULES), (network(), NEVER)], notice, at(second)).await.unwrap()
}

async fn the_fifth_failure_locks_whoever_counts_it_and_is_told_of_once(database: &Database) {
    let store = database.open().await;
    for second in 0..4 {
        assert_eq!(fail(&store, second).await, [false, false]);
    }
    assert_eq!(store.mails_waiting().await.unwrap(), 0);
    assert_eq!(fail(&store, 4).await, [true, false]);
    assert_eq!(store.mails_waiting().await.unwrap(), 1);
    let [of_ada, of_network] = store.tallies([ada(), network()]).await.unwrap();
    assert_eq!((of_ada.locked(at(5)), of_ada.locks), (Some(at(4 + 1800)), 1));
    assert_eq!((of_network.failures, of_network.locks), (5, 0));
    // Who was let in before the lock and fails after it makes it no longer, and nobody is told again.
    assert_eq!(fail(&store, 5).await, [false, false]);
    let [of_ada, _] = store.tallies([ada(), network()]).await.unwrap();
    assert_eq!((of_ada.locked(at(6)), store.mails_waiting().await.unwrap()), (Some(at(4 + 1800)), 1));
    let [other, _] = store.tallies([Aim { source: SecretDigest::of(b"home"), ..ada() }, network()]).await.unwrap();
    assert_eq!(other, identity::Tally::default(), "another place is another tally");
}

async fn nodes_count_together_and_lose_none(database: &Database) {
    database.open().await;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let node = database.connect().await;
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                fail(&node, 1).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let [_, of_network] = database.connect().await.tallies([ada(), network()]).await.unwrap();
    assert_eq!(of_network.failures, 30);
}

async fn what_is_counted_is_forgiven_by_place_or_altogether(database: &Database) {
    let store = database.open().await;
    let home = Aim { source: SecretDigest::of(b"home"), ..ada() };
    let notice = |_| NewMail {
        id: Uuid::now_v7(),
        template: "x",
        address: String::new(),
        is_wish: true,
        sealed: None,
        now: at(0),
    };
    for aim in [ada(), home] {
        store.count_failure([(aim, RULES), (network(), NEVER)], notice, at(0)).await.unwrap();
    }
    store.forgive(home, at(1)).await.unwrap();
    assert_eq!(store.tallies([ada(), home]).await.unwrap().map(|tally| tally.failures), [1, 0]);
    assert!(store.unlock(&ada().subject, at(1)).await.unwrap());
    assert!(!store.unlock(&ada().subject, at(1)).await.unwrap());
    assert_eq!(store.tallies([ada(), network()]).await.unwrap().map(|tally| tally.failures), [0, 2]);
}

async fn a_login_knows_the_browser_and_the_network_of_earlier_sessions(database: &Database) {
    let store = database.open().await;
    let (account, other) = (person(&store, "ada@example.com").await, person(&store, "bob@example.com").await);
    let device = SecretDigest::of(b"device");
    let refresh = token();
    let new = NewSession {
        id: SessionId::new(Uuid::now_v7()),
        account: &account,
        proof: store::Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(100) },
        now: at(0),
        origin: Origin {
            actor: None,
            amr: None,
            address: Some(IpAddr::from([0x2001, 0xdb8, 1, 2, 0, 0, 0, 9])),
            device: Some(device),
            user_agent: Some("curl/8"),
            method: Some("password"),
            seen: store::Seen::Now,
        },
    };
    store.open_session(new).await.unwrap();
    let knows = async |email: &str, device: Option<&SecretDigest>, network: Option<&str>| {
        let facts = store.login_facts(&Email::parse(email).unwrap(), device, network).await.unwrap().unwrap();
        (facts.knows_device, facts.knows_network)
    };
    assert_eq!(knows("ada@example.com", None, None).await, (false, false));
    assert_eq!(knows("ada@example.com", Some(&device), Some("2001:db8:1:2::/64")).await, (true, true));
    assert_eq!(
        knows("ada@example.com", Some(&SecretDigest::of(b"x")), Some("2001:db8:1:3::/64")).await,
        (false, false)
    );
    assert_eq!(knows(&other.email, Some(&device), Some("2001:db8:1:2::/64")).await, (false, false));
    let listed = store.list_sessions(account.id, at(1)).await.unwrap();
    assert_eq!(listed[0].address.as_deref(), Some("2001:db8:1:2::9"));
}

async fn failures_are_forgotten_when_they_are_over(database: &Database) {
    let store = database.open().await;
    for second in 0..5 {
        fail(&store, second).await;
    }
    assert_eq!(store.forget_attempts(at(5)).await.unwrap(), 1, "the network's, which is not locked");
    assert_eq!(store.forget_attempts(at(4 + 1800)).await.unwrap(), 0);
    assert_eq!(store.forget_attempts(at(5 + 1800)).await.unwrap(), 1);
}
