//! One-time tokens: once, in time, for their purpose, in their browser; and what each buys.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use identity::{AccountId, Email, OneTimePurpose, OneTimeToken, PasswordHash, SecretDigest, SessionId};
use store::{
    Account, AccountChange, ChallengeSeed, Confirmed, LinkLogin, Most, NewAccount, NewMail, NewOneTime, Origin,
    SessionSeed, ShownOneTime, Status, Store, StoreError, Subject,
};
use uuid::Uuid;

use crate::engines::{Database, anyway, at, hash, heard, notice, on_both_engines, person, session, token};

static NO_PASSWORD: LazyLock<PasswordHash> = LazyLock::new(|| PasswordHash::from("none".to_owned()));

fn terms() -> Confirmed<'static> {
    Confirmed { from_role: "unverified", to_role: "user", no_password: &NO_PASSWORD }
}

on_both_engines!(
    a_token_serves_once_also_to_two_who_show_it_at_once,
    a_token_serves_in_time_and_for_its_purpose_alone,
    a_token_that_is_bound_serves_one_browser,
    to_confirm_an_address_makes_a_full_account_once,
    a_token_for_an_address_that_the_account_has_left_confirms_nothing,
    a_registration_becomes_an_account_when_it_is_confirmed,
    a_new_password_ends_every_session_and_every_other_token,
    a_link_opens_a_session_of_an_active_account,
    attempts_that_are_over_are_forgotten,
);

struct Sent {
    token: OneTimeToken,
    purpose: OneTimePurpose,
}

impl Sent {
    fn shown(&self) -> ShownOneTime {
        self.shown_for(self.purpose)
    }

    fn shown_for(&self, purpose: OneTimePurpose) -> ShownOneTime {
        ShownOneTime { id: self.token.id(), purpose, digest: self.token.digest_for(purpose), binding: None }
    }
}

/// A token sent at second 0 that is over at second 100.
async fn send(
    store: &Store,
    purpose: OneTimePurpose,
    account: Option<AccountId>,
    address: &str,
    binding: Option<SecretDigest>,
) -> Sent {
    let (wish, token) = (Uuid::now_v7(), OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng()));
    let mail = |id, is_wish| NewMail { id, template: "x", address: address.to_owned(), is_wish, ..notice() };
    store.post(&mail(wish, true)).await.unwrap();
    let new = NewOneTime {
        id: token.id(),
        purpose,
        account,
        address,
        digest: token.digest_for(purpose),
        binding,
        sealed: Some(b"sealed".to_vec()),
        now: at(0),
        expires_at: at(100),
    };
    store.grant_wish_with(wish, &mail(Uuid::now_v7(), false), anyway(), &new).await.unwrap();
    Sent { token, purpose }
}

async fn send_to(store: &Store, purpose: OneTimePurpose, account: &Account) -> Sent {
    send(store, purpose, Some(account.id), "ada@example.com", None).await
}

async fn reset(store: &Store, shown: &ShownOneTime, now: DateTime<Utc>) -> Option<Account> {
    store.reset_password(shown, hash("new"), terms(), &NewMail { now, ..notice() }, now).await.unwrap()
}

async fn log_in(store: &Store, shown: &ShownOneTime) -> Option<Account> {
    let seed = SessionSeed {
        id: SessionId::new(Uuid::now_v7()),
        proof: store::Proof::Refresh { token: (token().id(), token().digest()), expires_at: at(1000) },
        origin: Origin { method: Some("magic_link"), ..Origin::default() },
    };
    let challenge = ChallengeSeed {
        id: Uuid::now_v7(),
        digest: SecretDigest::of(b"challenge"),
        sealed: b"sealed".to_vec(),
        expires_at: at(300),
    };
    match store.log_in_by(shown, terms(), seed, &challenge, at(10)).await.unwrap()? {
        LinkLogin::Opened(account, _) => Some(account),
        LinkLogin::Challenged(_) => panic!("nobody here has a second factor"),
    }
}

async fn a_token_serves_once_also_to_two_who_show_it_at_once(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    for _ in 0..5 {
        let sent = send_to(&store, OneTimePurpose::ResetPassword, &ada).await;
        let nodes = [database.connect().await, database.connect().await];
        let tries = nodes.map(|node| {
            let shown = sent.shown();
            tokio::spawn(async move { reset(&node, &shown, at(1)).await.is_some() })
        });
        let mut served = 0;
        for tried in tries {
            served += usize::from(tried.await.unwrap());
        }
        assert_eq!(served, 1);
        assert!(reset(&store, &sent.shown(), at(2)).await.is_none());
    }
}

async fn a_token_serves_in_time_and_for_its_purpose_alone(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    for purpose in OneTimePurpose::ALL {
        let sent = send_to(&store, purpose, &ada).await;
        for other in OneTimePurpose::ALL {
            let found = store.look_at(&sent.shown_for(other), at(99)).await.unwrap();
            assert_eq!(found.is_some(), other == purpose, "{purpose:?} shown for {other:?}");
            // The right purpose, but the digest for another one.
            let forged = ShownOneTime { purpose, ..sent.shown_for(other) };
            assert_eq!(store.look_at(&forged, at(99)).await.unwrap().is_some(), other == purpose);
        }
        assert!(store.look_at(&sent.shown(), at(100)).await.unwrap().is_none(), "its time is over");
    }
    let sent = send_to(&store, OneTimePurpose::VerifyEmail, &ada).await;
    assert!(reset(&store, &sent.shown(), at(1)).await.is_some(), "the endpoint says the purpose, and is tested there");
    let late = send_to(&store, OneTimePurpose::ResetPassword, &ada).await;
    assert!(reset(&store, &late.shown(), at(100)).await.is_none());
    assert!(reset(&store, &late.shown_for(OneTimePurpose::MagicLink), at(1)).await.is_none());
    assert!(log_in(&store, &late.shown_for(OneTimePurpose::MagicLink)).await.is_none());
}

async fn a_token_that_is_bound_serves_one_browser(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (own, other) = (SecretDigest::of(b"own"), SecretDigest::of(b"other"));
    let sent = send(&store, OneTimePurpose::MagicLink, Some(ada.id), "ada@example.com", Some(own)).await;
    for binding in [None, Some(other)] {
        let shown = ShownOneTime { binding, ..sent.shown() };
        assert!(log_in(&store, &shown).await.is_none());
        assert!(store.look_at(&shown, at(1)).await.unwrap().is_none());
    }
    let shown = ShownOneTime { binding: Some(own), ..sent.shown() };
    assert!(log_in(&store, &shown).await.is_some(), "whoever had no right to it has not used it up");
    assert!(log_in(&store, &shown).await.is_none());
}

async fn to_confirm_an_address_makes_a_full_account_once(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let role = AccountChange { role: Some("unverified".to_owned()), ..AccountChange::default() };
    store.change_account(ada.id, role.clone(), at(0)).await.unwrap();
    let before = heard(&store).await.len();
    let sent = send_to(&store, OneTimePurpose::VerifyEmail, &ada).await;
    let confirmed = store.confirm_email(&sent.shown(), terms(), at(1)).await.unwrap().unwrap();
    assert_eq!((confirmed.is_verified, &*confirmed.role), (true, "user"));
    assert_eq!(heard(&store).await[before..], [Subject::Account(ada.id)], "the new role counts at once");
    // Whoever gets that role afterwards keeps it.
    store.change_account(ada.id, role, at(2)).await.unwrap();
    let again = send_to(&store, OneTimePurpose::VerifyEmail, &ada).await;
    assert_eq!(store.confirm_email(&again.shown(), terms(), at(3)).await.unwrap().unwrap().role, "unverified");
}

async fn a_token_for_an_address_that_the_account_has_left_confirms_nothing(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "new@example.com").await;
    let sent = send_to(&store, OneTimePurpose::VerifyEmail, &ada).await;
    assert_eq!(store.confirm_email(&sent.shown(), terms(), at(1)).await.unwrap(), None);
    assert!(!store.account(ada.id).await.unwrap().unwrap().is_verified);
    let sent = send_to(&store, OneTimePurpose::ResetPassword, &ada).await;
    assert_eq!(reset(&store, &sent.shown(), at(1)).await, None);
}

async fn a_registration_becomes_an_account_when_it_is_confirmed(database: &Database) {
    let store = database.open().await;
    let email = Email::parse("Ada@example.com").unwrap();
    let new = || NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &email,
        password_hash: hash("a hash"),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: true,
        kind: store::AccountKind::Person,
        tenant: store::Belonging::Nowhere,
        now: at(5),
    };
    let first = send(&store, OneTimePurpose::Register, None, "ada@example.com", None).await;
    let second = send(&store, OneTimePurpose::Register, None, "ada@example.com", None).await;
    let (id, sealed) = store.pending_registration("ada@example.com", at(1)).await.unwrap().unwrap();
    assert!([first.token.id(), second.token.id()].contains(&id) && sealed == b"sealed");
    assert_eq!(store.pending_registration("ada@example.com", at(100)).await.unwrap(), None);
    assert_eq!(store.account_by_address("ada@example.com").await.unwrap(), None);

    let made = store.confirm_registration(&first.shown(), new()).await.unwrap().unwrap();
    assert_eq!((made.is_verified, &*made.role, &*made.email), (true, "user", "Ada@example.com"));
    assert_eq!(store.account_by_address("ada@example.com").await.unwrap(), Some(made));
    assert_eq!(store.confirm_registration(&first.shown(), new()).await.unwrap(), None);
    assert!(matches!(store.confirm_registration(&second.shown(), new()).await, Err(StoreError::EmailTaken)));
}

async fn a_new_password_ends_every_session_and_every_other_token(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let bob = person(&store, "bob@example.com").await;
    let (own, _) = session(&store, &ada).await;
    let (theirs, _) = session(&store, &bob).await;
    let sent = send_to(&store, OneTimePurpose::ResetPassword, &ada).await;
    let others = [
        send_to(&store, OneTimePurpose::ResetPassword, &ada).await,
        send_to(&store, OneTimePurpose::MagicLink, &ada).await,
        send_to(&store, OneTimePurpose::ChangeEmail, &ada).await,
    ];
    database.confirm("ada@example.com").await;
    let before = heard(&store).await.len();
    let changed = reset(&store, &sent.shown(), at(1)).await.unwrap();
    assert!(changed.is_verified, "whoever reads the mail of an address has confirmed it");
    assert_eq!(store.password_hash(ada.id).await.unwrap(), Some(hash("new")));
    assert_eq!(heard(&store).await[before..], [Subject::Account(ada.id), Subject::Session(own)]);
    assert!(store.session_grant(theirs).await.unwrap().unwrap().ended_at.is_none());
    for other in others {
        assert!(store.look_at(&other.shown(), at(2)).await.unwrap().is_none(), "{:?}", other.purpose);
    }
    // So does a password that is changed by who knows the old one.
    let waiting = send_to(&store, OneTimePurpose::ResetPassword, &ada).await;
    store.set_password(ada.id, &hash("new"), hash("newer"), None, &notice(), at(3)).await.unwrap();
    assert!(store.look_at(&waiting.shown(), at(4)).await.unwrap().is_none());
    // But one too many to be told of leaves whoever reads the mail a link.
    let kept = send_to(&store, OneTimePurpose::ResetPassword, &ada).await;
    let gone = send_to(&store, OneTimePurpose::MagicLink, &ada).await;
    let untold = Some(Most { letters: 0, kinds: vec!["password_changed"] });
    let untold = NewMail { most: untold, ..notice() };
    store.set_password(ada.id, &hash("newer"), hash("newest"), None, &untold, at(3)).await.unwrap();
    assert!(store.look_at(&kept.shown(), at(4)).await.unwrap().is_some());
    assert!(store.look_at(&gone.shown(), at(4)).await.unwrap().is_none());

    let late = send_to(&store, OneTimePurpose::ResetPassword, &ada).await;
    let disabled = AccountChange { status: Some(Status::Disabled), ..AccountChange::default() };
    store.change_account(ada.id, disabled, at(4)).await.unwrap();
    assert_eq!(reset(&store, &late.shown(), at(5)).await, None);
    assert_eq!(store.password_hash(ada.id).await.unwrap(), Some(hash("newest")));
}

async fn a_link_opens_a_session_of_an_active_account(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let sent = send_to(&store, OneTimePurpose::MagicLink, &ada).await;
    assert!(log_in(&store, &sent.shown()).await.unwrap().is_verified);
    let sessions: Vec<(Option<String>,)> =
        database.rows("SELECT method FROM sessions", "SELECT method FROM sessions").await;
    assert_eq!(sessions, [(Some("magic_link".to_owned()),)]);
    let late = send_to(&store, OneTimePurpose::MagicLink, &ada).await;
    let disabled = AccountChange { status: Some(Status::Disabled), ..AccountChange::default() };
    store.change_account(ada.id, disabled, at(4)).await.unwrap();
    assert!(log_in(&store, &late.shown()).await.is_none());
}

async fn attempts_that_are_over_are_forgotten(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let sent = send_to(&store, OneTimePurpose::MagicLink, &ada).await;
    assert_eq!(store.forget_begun(at(101)).await.unwrap(), 0, "somebody may ask after it");
    assert_eq!(store.forget_attempts(at(100)).await.unwrap(), 0);
    assert!(store.look_at(&sent.shown(), at(1)).await.unwrap().is_some());
    assert_eq!(store.forget_attempts(at(101)).await.unwrap(), 1);
    assert!(store.look_at(&sent.shown(), at(1)).await.unwrap().is_none());
    for purpose in [OneTimePurpose::PasskeyLogin, OneTimePurpose::PasskeyProof, OneTimePurpose::OauthState] {
        send_to(&store, purpose, &ada).await;
        assert_eq!(store.forget_begun(at(100)).await.unwrap(), 0);
        assert_eq!(store.forget_begun(at(101)).await.unwrap(), 1, "{purpose:?}");
    }
}
