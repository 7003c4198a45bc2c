//! Second factors: confirmed before they count, each code once, on whichever node; recovery codes; what a log-in buys with them.

use std::time::Duration;

use identity::{AccountId, FactorId, OneTimePurpose, OneTimeToken, SecretDigest, SessionId};
use store::{
    Account, AccountChange, ChallengeSeed, Confirmation, FactorKind, FactorLogin, FactorProof, Groups, NewFactor,
    NewMail, Origin, Proof, RefreshOutcome, RefreshRefusal, RefreshTerms, Renewal, Renewed, SessionSeed, ShownOneTime,
    Status, Store, StoreError, Subject,
};
use uuid::Uuid;

use crate::{
    cookies::cookie,
    engines::{Database, at, heard, on_both_engines, person, session, token},
};

on_both_engines!(
    a_factor_counts_once_it_is_confirmed,
    of_many_who_begin_factors_at_once_one_waits_and_none_is_one_too_many,
    a_code_serves_once_also_to_two_who_show_it_at_once,
    a_recovery_code_serves_once_for_its_account,
    a_log_in_uses_token_and_code_or_neither,
    a_token_bears_so_many_attempts_and_no_more,
    a_token_needs_the_account_whose_first_factor_was_shown,
    the_last_factor_takes_the_recovery_codes_with_it,
    a_factor_that_is_removed_takes_with_it_what_was_begun_by_it,
    a_session_remembers_how_its_owner_was_seen,
    what_a_session_had_before_its_owner_showed_more_buys_nothing,
);

const TERMS: RefreshTerms = RefreshTerms {
    grace: Duration::from_secs(10),
    ttl: Duration::from_secs(200),
    session_life: Duration::from_secs(250),
};

pub(crate) fn is_missing<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::NotFound))
}

pub(crate) fn notice() -> NewMail {
    NewMail { template: "factor_added", ..crate::engines::notice() }
}

pub(crate) async fn begin(store: &Store, account: AccountId) -> FactorId {
    try_begin(store, account, FactorKind::Totp).await.unwrap()
}

async fn try_begin(store: &Store, account: AccountId, kind: FactorKind) -> Result<FactorId, StoreError> {
    let id = FactorId::new(Uuid::now_v7());
    let new = NewFactor { id, account, kind, name: None, sealed: b"sealed".to_vec(), now: at(0) };
    store.begin_factor(&new).await.map(|()| id)
}

pub(crate) async fn confirm(
    store: &Store,
    account: AccountId,
    factor: FactorId,
    session: SessionId,
    recovery: &[SecretDigest],
) -> Result<bool, StoreError> {
    let notice = notice();
    let session = (session, "pwd otp mfa");
    store
        .confirm_factor(Confirmation {
            factor,
            account,
            step: 100,
            passkey: None,
            recovery,
            session,
            renewal: nothing_more(),
            notice: &notice,
            now: at(5),
        })
        .await
        .map(|(kept, _)| kept)
}

/// No refresh token comes after those that end.
pub(crate) fn nothing_more() -> Renewal {
    Renewal { refresh: None, cookie: None, terms: TERMS }
}

/// An account with a factor whose last step is 100, and two recovery codes.
pub(crate) async fn armed(store: &Store, email: &str) -> (Account, FactorId) {
    let ada = person(store, email).await;
    let (session, _) = session(store, &ada).await;
    let factor = begin(store, ada.id).await;
    assert!(confirm(store, ada.id, factor, session, &codes()).await.unwrap());
    (store.account(ada.id).await.unwrap().unwrap(), factor)
}

fn codes() -> [SecretDigest; 2] {
    [SecretDigest::of(b"one"), SecretDigest::of(b"two")]
}

pub(crate) async fn challenge(store: &Store, account: &Account) -> ShownOneTime {
    try_challenge(store, account).await.unwrap()
}

pub(crate) async fn try_challenge(store: &Store, account: &Account) -> Result<ShownOneTime, StoreError> {
    let token = OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng());
    let (id, purpose) = (token.id(), OneTimePurpose::SecondFactor);
    let digest = token.digest_for(purpose);
    let seed = ChallengeSeed { id, digest, sealed: b"sealed".to_vec(), expires_at: at(300) };
    store.challenge(account, "ada@example.com", &seed, at(0)).await?;
    Ok(ShownOneTime { id, purpose, digest, binding: None })
}

async fn log_in(store: &Store, shown: &ShownOneTime, account: &Account, proof: FactorProof) -> FactorLogin {
    let seed = SessionSeed {
        id: SessionId::new(Uuid::now_v7()),
        proof: Proof::Refresh { token: (token().id(), token().digest()), expires_at: at(1000) },
        origin: Origin { amr: Some("pwd otp mfa"), ..Origin::default() },
    };
    store.log_in_with_factor(shown, account, &proof, seed, at(10)).await.unwrap()
}

async fn a_factor_counts_once_it_is_confirmed(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (session, _) = session(&store, &ada).await;
    let forgotten = begin(&store, ada.id).await;
    let factor = begin(&store, ada.id).await;
    assert!(store.factors(ada.id).await.unwrap().is_empty());
    assert!(is_missing(&confirm(&store, ada.id, forgotten, session, &codes()).await));
    let other = person(&store, "eve@example.com").await;
    assert!(is_missing(&confirm(&store, other.id, factor, session, &codes()).await));
    assert_eq!(store.recovery_codes_left(ada.id).await.unwrap(), 0);
    let pending = store.pending_factor(ada.id, FactorKind::Totp, at(-1)).await.unwrap().unwrap();
    assert_eq!((pending.id(), pending.sealed), (factor, b"sealed".to_vec()));
    assert!(store.pending_factor(ada.id, FactorKind::Totp, at(1)).await.unwrap().is_none(), "it was begun before");
    assert!(confirm(&store, ada.id, factor, session, &codes()).await.unwrap());
    assert!(is_missing(&confirm(&store, ada.id, factor, session, &codes()).await));
    assert_eq!((store.factors(ada.id).await.unwrap().len(), store.recovery_codes_left(ada.id).await.unwrap()), (1, 2));
    // A second one leaves the codes that there are.
    let second = begin(&store, ada.id).await;
    assert!(!confirm(&store, ada.id, second, session, &[SecretDigest::of(b"x")]).await.unwrap());
    assert_eq!(store.recovery_codes_left(ada.id).await.unwrap(), 2);
}

async fn of_many_who_begin_factors_at_once_one_waits_and_none_is_one_too_many(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let at_once = async |kinds: [FactorKind; 2]| {
        let tries: Vec<_> = (0..8)
            .map(|number| {
                let (store, account, kind) = (store.clone(), ada.id, kinds[number % 2]);
                tokio::spawn(async move { try_begin(&store, account, kind).await })
            })
            .collect();
        for tried in tries {
            if let Err(error) = tried.await.unwrap() {
                assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");
            }
        }
        let factors = "SELECT COUNT(*) FROM factors";
        let [(count,)] = database.rows::<(i64,)>(factors, factors).await[..] else { panic!("one row is counted") };
        count
    };
    assert_eq!(at_once([FactorKind::Totp; 2]).await, 1, "each took the place of the one before");
    let (session, _) = session(&store, &ada).await;
    for _ in 0..9 {
        let factor = begin(&store, ada.id).await;
        confirm(&store, ada.id, factor, session, &[]).await.unwrap();
    }
    assert_eq!(at_once([FactorKind::Totp, FactorKind::Passkey]).await, 10, "there was room for one");
}

async fn a_code_serves_once_also_to_two_who_show_it_at_once(database: &Database) {
    let store = database.open().await;
    let (ada, factor) = armed(&store, "ada@example.com").await;
    assert!(!store.use_factor(ada.id, &FactorProof::Code { factor, step: 100 }, at(6)).await.unwrap());
    let eve = person(&store, "eve@example.com").await;
    assert!(!store.use_factor(eve.id, &FactorProof::Code { factor, step: 101 }, at(6)).await.unwrap());
    for step in 101..106 {
        let nodes = [database.connect().await, database.connect().await];
        let tries = nodes.map(|node| {
            let id = ada.id;
            tokio::spawn(async move { node.use_factor(id, &FactorProof::Code { factor, step }, at(7)).await.unwrap() })
        });
        let mut served = 0;
        for tried in tries {
            served += usize::from(tried.await.unwrap());
        }
        assert_eq!(served, 1);
    }
    assert!(
        !store.use_factor(ada.id, &FactorProof::Code { factor, step: 104 }, at(8)).await.unwrap(),
        "it is from before"
    );
}

async fn a_recovery_code_serves_once_for_its_account(database: &Database) {
    let store = database.open().await;
    let (ada, _) = armed(&store, "ada@example.com").await;
    let eve = person(&store, "eve@example.com").await;
    let one = FactorProof::Recovery(codes()[0]);
    assert!(!store.use_factor(eve.id, &one, at(6)).await.unwrap());
    assert!(store.use_factor(ada.id, &one, at(6)).await.unwrap());
    assert!(!store.use_factor(ada.id, &one, at(7)).await.unwrap());
    assert_eq!(store.recovery_codes_left(ada.id).await.unwrap(), 1);
    let fresh = [SecretDigest::of(b"three")];
    store.renew_recovery_codes(ada.id, &fresh, &notice(), at(8)).await.unwrap();
    assert!(!store.use_factor(ada.id, &FactorProof::Recovery(codes()[1]), at(9)).await.unwrap());
    assert!(store.use_factor(ada.id, &FactorProof::Recovery(fresh[0]), at(9)).await.unwrap());
    let renewed = store.renew_recovery_codes(eve.id, &fresh, &notice(), at(8)).await;
    assert!(is_missing(&renewed), "she has no second factor");
}

async fn a_log_in_uses_token_and_code_or_neither(database: &Database) {
    let store = database.open().await;
    let (ada, factor) = armed(&store, "ada@example.com").await;
    let shown = challenge(&store, &ada).await;
    let code = |step| FactorProof::Code { factor, step };
    assert_eq!(log_in(&store, &shown, &ada, code(100)).await, FactorLogin::Used);
    assert_eq!(
        log_in(&store, &shown, &ada, code(101)).await,
        FactorLogin::Opened(Groups::default()),
        "the token was not used up"
    );
    assert_eq!(log_in(&store, &shown, &ada, code(102)).await, FactorLogin::TokenGone);
    let shown = challenge(&store, &ada).await;
    assert_eq!(
        log_in(&store, &shown, &ada, code(102)).await,
        FactorLogin::Opened(Groups::default()),
        "nor was the code"
    );
    // Somebody else's token buys nothing with one's own code.
    let (eve, hers) = armed(&store, "eve@example.com").await;
    let shown = challenge(&store, &ada).await;
    let proof = FactorProof::Code { factor: hers, step: 101 };
    assert_eq!(log_in(&store, &shown, &eve, proof).await, FactorLogin::TokenGone);
    // Of an account that has changed since it was looked at, none.
    let seed = |account| log_in(&store, &shown, account, code(103));
    store.renew_recovery_codes(ada.id, &codes(), &notice(), at(9)).await.unwrap();
    let fresh = store.account(ada.id).await.unwrap().unwrap();
    assert_ne!(fresh.updated_at, ada.updated_at);
    assert_eq!(seed(&fresh).await, FactorLogin::Opened(Groups::default()));
}

async fn a_token_bears_so_many_attempts_and_no_more(database: &Database) {
    let store = database.open().await;
    let (ada, _) = armed(&store, "ada@example.com").await;
    let shown = challenge(&store, &ada).await;
    let taken = async |at| store.take_attempt(&shown, 2, at).await.unwrap().and_then(|token| token.account());
    assert!(taken(at(300)).await.is_none(), "it is over");
    assert_eq!((taken(at(1)).await, taken(at(1)).await, taken(at(1)).await), (Some(ada.id), Some(ada.id), None));
    // A new password voids it.
    let shown = challenge(&store, &ada).await;
    let before = store.password_hash(ada.id).await.unwrap().unwrap();
    store
        .set_password(ada.id, &before, crate::engines::hash("new"), None, &crate::engines::notice(), at(2))
        .await
        .unwrap();
    assert!(store.take_attempt(&shown, 2, at(3)).await.unwrap().is_none());
}

async fn a_token_needs_the_account_whose_first_factor_was_shown(database: &Database) {
    let store = database.open().await;
    let (before, _) = armed(&store, "ada@example.com").await;
    let (old, new) = (crate::engines::hash("a hash"), crate::engines::hash("new"));
    store.set_password(before.id, &old, new, None, &crate::engines::notice(), at(6)).await.unwrap();
    let refused = try_challenge(&store, &before).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "the old password was shown: {refused:?}");
    let present = store.account(before.id).await.unwrap().unwrap();
    challenge(&store, &present).await;
    let disable = AccountChange { status: Some(Status::Disabled), ..AccountChange::default() };
    let disabled = store.change_account(before.id, disable, at(7)).await.unwrap();
    assert!(matches!(try_challenge(&store, &disabled).await, Err(StoreError::Conflict(_))));
    store.delete_account(before.id, None, at(8)).await.unwrap();
    assert!(is_missing(&try_challenge(&store, &disabled).await));
}

async fn the_last_factor_takes_the_recovery_codes_with_it(database: &Database) {
    let store = database.open().await;
    let (ada, factor) = armed(&store, "ada@example.com").await;
    let (eve, nobody) = (person(&store, "eve@example.com").await, SessionId::new(Uuid::now_v7()));
    // Nor does anybody else call it anything.
    assert!(is_missing(&store.rename_factor(eve.id, factor, Some("Eve's")).await));
    for name in [Some("Phone"), None] {
        store.rename_factor(ada.id, factor, name).await.unwrap();
        assert_eq!(store.factors(ada.id).await.unwrap()[0].name.as_deref(), name);
    }
    assert!(is_missing(&store.remove_factor(eve.id, factor, nobody, &notice(), at(6)).await));
    store.remove_factor(ada.id, factor, nobody, &notice(), at(6)).await.unwrap();
    assert_eq!(store.recovery_codes_left(ada.id).await.unwrap(), 0);
    assert!(!store.remove_factors(ada.id, "user", &notice(), at(7)).await.unwrap());
    let (bob, _) = armed(&store, "bob@example.com").await;
    assert!(store.remove_factors(bob.id, "user", &notice(), at(7)).await.unwrap());
    assert!(store.factors(bob.id).await.unwrap().is_empty());
    assert_eq!(store.recovery_codes_left(bob.id).await.unwrap(), 0);
}

async fn a_factor_that_is_removed_takes_with_it_what_was_begun_by_it(database: &Database) {
    let store = database.open().await;
    let (ada, factor) = armed(&store, "ada@example.com").await;
    let ((here, _), (there, _)) = (session(&store, &ada).await, session(&store, &ada).await);
    store.reauthenticate(ada.id, here, "pwd otp mfa", nothing_more(), at(5)).await.unwrap();
    let before = heard(&store).await.len();
    store.remove_factor(ada.id, factor, here, &notice(), at(6)).await.unwrap();
    assert_eq!(heard(&store).await[before..], [Subject::Account(ada.id)]);
    let grant = async |id| store.session_grant(id).await.unwrap().unwrap();
    assert_eq!(grant(there).await.ended_at, Some(at(6)));
    let kept = grant(here).await;
    assert_eq!((kept.ended_at, kept.authentication.unwrap().assurance.word()), (None, "single"));
    assert_eq!(store.authentication(here).await.unwrap(), Some((Some(at(5)), "pwd".to_owned())));

    let (bob, _) = armed(&store, "bob@example.com").await;
    let (his, _) = session(&store, &bob).await;
    let before = heard(&store).await.len();
    assert!(store.remove_factors(bob.id, "user", &notice(), at(7)).await.unwrap());
    assert_eq!(heard(&store).await[before..], [Subject::Account(bob.id)]);
    assert_eq!(grant(his).await.ended_at, Some(at(7)));
}

async fn a_session_remembers_how_its_owner_was_seen(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, _) = session(&store, &ada).await;
    let seen = async || store.session_grant(id).await.unwrap().unwrap().authentication.unwrap();
    assert_eq!((seen().await.at, seen().await.assurance.word()), (at(0).timestamp(), "single"));
    store.reauthenticate(ada.id, id, "pwd otp mfa", nothing_more(), at(60)).await.unwrap();
    assert_eq!((seen().await.at, seen().await.assurance.word()), (at(60).timestamp(), "mfa"));
    assert_eq!(heard(&store).await.last(), Some(&Subject::Session(id)));
    let eve = person(&store, "eve@example.com").await;
    assert!(is_missing(&store.reauthenticate(eve.id, id, "pwd", nothing_more(), at(70)).await));
    store.end_session(id, at(80)).await.unwrap();
    assert!(is_missing(&store.reauthenticate(ada.id, id, "pwd", nothing_more(), at(90)).await));
}

async fn what_a_session_had_before_its_owner_showed_more_buys_nothing(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let ((id, first), (other, others)) = (session(&store, &ada).await, session(&store, &ada).await);
    let rotate = async |shown: &identity::RefreshToken, now: i64| {
        let next = token();
        let outcome = store
            .rotate_refresh(shown.id(), &shown.digest(), (next.id(), next.digest()), at(now), TERMS)
            .await
            .unwrap();
        (outcome, next)
    };
    let refused = |outcome: RefreshOutcome| match outcome {
        RefreshOutcome::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let (rotated, second) = rotate(&first, 1).await;
    assert!(matches!(rotated, RefreshOutcome::Rotated { generation: 0, .. }));
    let next = token();
    let renewal = Renewal { refresh: Some((next.id(), next.digest())), ..nothing_more() };
    let renewed = store.reauthenticate(ada.id, id, "pwd otp mfa", renewal, at(2)).await.unwrap();
    assert_eq!(renewed, Renewed { generation: 1, refreshes: true });
    // Neither what was in force nor what was still within its grace; and nobody is thrown out for it.
    for before in [&first, &second] {
        assert_eq!(refused(rotate(before, 3).await.0), RefreshRefusal::Expired);
    }
    let (rotated, last) = rotate(&next, 4).await;
    assert!(matches!(rotated, RefreshOutcome::Rotated { generation: 1, .. }), "{rotated:?}");
    // What was used long before is reused, as ever.
    assert_eq!(refused(rotate(&first, 20).await.0), RefreshRefusal::Reused);
    assert_eq!(refused(rotate(&last, 21).await.0), RefreshRefusal::Ended);
    assert!(matches!(rotate(&others, 5).await.0, RefreshOutcome::Rotated { session, .. } if session == other));

    // A session lives no longer for it, and one that had no refresh token gets none.
    let (id, _) = session(&store, &ada).await;
    let (next, later) = (token(), token());
    let renewal = Renewal { refresh: Some((next.id(), next.digest())), ..nothing_more() };
    store.reauthenticate(ada.id, id, "pwd", renewal, at(100)).await.unwrap();
    assert_eq!(refused(rotate(&next, 250).await.0), RefreshRefusal::Expired);
    let renewal = Renewal { refresh: Some((later.id(), later.digest())), ..nothing_more() };
    let renewed = store.reauthenticate(ada.id, id, "pwd", renewal, at(260)).await.unwrap();
    assert_eq!(renewed, Renewed { generation: 2, refreshes: false });
    assert_eq!(rotate(&later, 261).await.0, RefreshOutcome::Unknown);

    // A browser's cookie goes with what its session is raised by, and neither without the other.
    let (browser, another) = (cookie(&store, &ada).await.id(), SecretDigest::of(b"another"));
    let renewal = Renewal { cookie: Some(another), ..nothing_more() };
    store.reauthenticate(ada.id, browser, "pwd otp mfa", renewal, at(50)).await.unwrap();
    assert_eq!(store.cookie_grant(browser).await.unwrap().unwrap().digest, Some(another));
    assert!(is_missing(&store.reauthenticate(ada.id, id, "pwd otp mfa", renewal, at(270)).await), "it has none");
    assert_eq!(store.authentication(id).await.unwrap(), Some((Some(at(260)), "pwd".to_owned())));
}
