//! Failed logins: counted together by every node, exactly, and told of once.

use std::{net::IpAddr, time::Duration};

use identity::{Email, LockRules, OneTimePurpose, PasswordHash, SecretDigest, SessionId, Tally};
use store::{Aim, Claim, Confirmed, NewMail, NewSession, Origin, Store};
use uuid::Uuid;

use crate::{
    changed_hands::{one_time, shown},
    engines::{Database, at, hash, notice, on_both_engines, person, token},
    lock_order::{Deed, both_are_done},
};

on_both_engines!(
    the_fifth_failure_locks_whoever_counts_it_and_is_told_of_once,
    nodes_count_together_and_lose_none,
    what_is_counted_is_forgiven_by_place_or_altogether,
    a_login_knows_the_browser_and_the_network_of_earlier_sessions,
    nowhere_is_familiar_where_whoever_was_there_before_the_owner_has_been,
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

fn claim<'a>(email: &'a Email, device: Option<&'a SecretDigest>, network: Option<&'a str>) -> Claim<'a> {
    let network = (network, SecretDigest::of(b"a network of hers"));
    Claim { email, device, network, subject: ada().subject, from: self::network() }
}

/// What whoever comes from nowhere in particular finds counted, at the account and from the network.
async fn tallies(store: &Store) -> [Tally; 2] {
    store.claim(claim(&Email::parse("nobody@example.com").unwrap(), None, None)).await.unwrap().tallies
}

async fn fail(store: &Store, second: i64) -> [bool; 2] {
    let notice = |_| NewMail { template: "account_locked", is_wish: true, now: at(second), ..notice() };
    store.count_failure([(ada(), RULES), (network(), NEVER)], notice, at(second)).await.unwrap()
}

async fn the_fifth_failure_locks_whoever_counts_it_and_is_told_of_once(database: &Database) {
    let store = database.open().await;
    for second in 0..4 {
        assert_eq!(fail(&store, second).await, [false, false]);
    }
    assert_eq!(database.mails_waiting().await, 0);
    assert_eq!(fail(&store, 4).await, [true, false]);
    assert_eq!(database.mails_waiting().await, 1);
    let [of_ada, of_network] = tallies(&store).await;
    assert_eq!((of_ada.locked(at(5)), of_ada.locks), (Some(at(4 + 1800)), 1));
    assert_eq!((of_network.failures, of_network.locks), (5, 0));
    // Who was let in before the lock and fails after it makes it no longer, and nobody is told again.
    assert_eq!(fail(&store, 5).await, [false, false]);
    let [of_ada, _] = tallies(&store).await;
    assert_eq!((of_ada.locked(at(6)), database.mails_waiting().await), (Some(at(4 + 1800)), 1));
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
    let [_, of_network] = tallies(&database.connect().await).await;
    assert_eq!(of_network.failures, 30);
}

/// Whoever counts waits for who forgives, and finds nothing left of what there was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_counted_while_those_before_it_are_forgiven() {
    let database = Database::postgres().await;
    let store = database.open().await;
    fail(&store, 0).await;
    let (forgiving, failing) = (store.clone(), store.clone());
    let deeds: [Deed; 2] = [
        Box::pin(async move { forgiving.forgive(ada()).await }),
        Box::pin(async move {
            fail(&failing, 1).await;
            Ok(())
        }),
    ];
    // All of them are held.
    both_are_done(&database, "SELECT $1 FROM login_failures FOR UPDATE", Uuid::nil(), deeds).await;
    assert_eq!(tallies(&store).await.map(|tally| tally.failures), [1, 2]);
}

/// A session of hers in a browser and a network that are familiar from then on.
async fn at_home(store: &Store, account: &store::Account, device: SecretDigest) {
    let refresh = token();
    let new = NewSession {
        id: SessionId::new(Uuid::now_v7()),
        account,
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
}

async fn what_is_counted_is_forgiven_by_place_or_altogether(database: &Database) {
    let store = database.open().await;
    let (account, device) = (person(&store, "ada@example.com").await, SecretDigest::of(b"device"));
    at_home(&store, &account, device).await;
    let email = Email::parse("ada@example.com").unwrap();
    let home = async || {
        let claimed = store.claim(claim(&email, Some(&device), None)).await.unwrap();
        (claimed.at, claimed.tallies[0].failures)
    };
    let notice = |_| NewMail { template: "x", address: String::new(), is_wish: true, ..notice() };
    let (at_home, _) = home().await;
    assert_ne!(at_home, ada());
    store.count_failure([(ada(), RULES), (network(), NEVER)], notice, at(0)).await.unwrap();
    assert_eq!(home().await, (at_home, 0), "another place is another tally");
    store.count_failure([(at_home, RULES), (network(), NEVER)], notice, at(0)).await.unwrap();
    assert_eq!(home().await, (at_home, 1));
    store.forgive(at_home).await.unwrap();
    assert_eq!((home().await.1, tallies(&store).await[0].failures), (0, 1));
    assert!(store.unlock(&ada().subject).await.unwrap());
    assert!(!store.unlock(&ada().subject).await.unwrap());
    assert_eq!(tallies(&store).await.map(|tally| tally.failures), [0, 2]);
}

async fn a_login_knows_the_browser_and_the_network_of_earlier_sessions(database: &Database) {
    let store = database.open().await;
    let (account, other) = (person(&store, "ada@example.com").await, person(&store, "bob@example.com").await);
    let device = SecretDigest::of(b"device");
    at_home(&store, &account, device).await;
    let place = async |email: &str, device: Option<&SecretDigest>, network: Option<&str>| {
        let claimed = store.claim(claim(&Email::parse(email).unwrap(), device, network)).await.unwrap();
        assert_eq!(
            claimed.facts.is_some_and(|facts| facts.knows_device),
            claimed.at.source == SecretDigest::of(b"device")
        );
        claimed.at.source
    };
    let (anywhere, familiar) = (ada().source, SecretDigest::of(b"a network of hers"));
    assert_eq!(place("ada@example.com", None, None).await, anywhere);
    assert_eq!(place("ada@example.com", Some(&device), Some("2001:db8:1::/56")).await, device);
    let stranger = SecretDigest::of(b"x");
    assert_eq!(place("ada@example.com", Some(&stranger), Some("2001:db8:1::/56")).await, familiar);
    assert_eq!(place("ada@example.com", Some(&stranger), Some("2001:db8:1:100::/56")).await, anywhere);
    assert_eq!(place(&other.email, Some(&device), Some("2001:db8:1::/56")).await, anywhere);
    assert_eq!(place("nobody@example.com", Some(&device), Some("2001:db8:1::/56")).await, anywhere);
    let listed = store.list_sessions(account.id, at(1), None, 200).await.unwrap().items;
    assert_eq!(listed[0].address.as_deref(), Some("2001:db8:1:2::9"));
}

async fn nowhere_is_familiar_where_whoever_was_there_before_the_owner_has_been(database: &Database) {
    let store = database.open().await;
    let email = Email::parse("ada@example.com").unwrap();
    let (account, theirs) = (person(&store, "ada@example.com").await, SecretDigest::of(b"theirs"));
    at_home(&store, &account, theirs).await;
    let known = async |device: &SecretDigest| {
        let claimed = store.claim(claim(&email, Some(device), Some("2001:db8:1::/56"))).await.unwrap();
        let for_letters = store.knows(account.id, Some(device), "2001:db8:1::/56").await.unwrap();
        (claimed.at.source == *device, claimed.at == ada(), for_letters)
    };
    // Nobody has confirmed the address: whoever is in guesses at nobody else's password, but whom the letters go to may be another.
    assert_eq!(known(&theirs).await, (true, false, [false, false]));
    let (token, notice) = (crate::changed_hands::token(), notice());
    let none = PasswordHash::from("none".to_owned());
    let confirmed = Confirmed { from_role: "unverified", to_role: "user", no_password: &none };
    let purpose = OneTimePurpose::ResetPassword;
    store.keep_one_time(&one_time(&token, purpose, account.id, "ada@example.com")).await.unwrap();
    let hers = store.reset_password(&shown(&token, purpose), hash("new"), confirmed, &notice, at(1)).await.unwrap();
    assert_eq!(known(&theirs).await, (false, true, [false, false]), "the browser and the network of somebody else");
    let own = SecretDigest::of(b"hers");
    at_home(&store, &hers.unwrap(), own).await;
    assert_eq!(known(&own).await, (true, false, [true, true]));
    assert_eq!(known(&theirs).await, (false, false, [false, true]), "they sit beside her");
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
