//! Sessions and their refresh tokens: each serves once, but for those who race.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use identity::{AccountId, Grant, RefreshToken, SecretDigest, SessionId};
use sqlx::{Connection, Executor};
use store::{
    Account, AccountChange, NewSession, Origin, ProfileChange, Proof, RefreshOutcome, RefreshRefusal, RefreshTerms,
    Renewal, Standing, Status, Store, StoreError, Subject,
};
use uuid::Uuid;

use crate::{
    engines::{Database, at, hash, heard, notice, on_both_engines, person, session, token},
    factors::try_challenge,
};

on_both_engines!(
    a_token_buys_the_next_and_that_the_next_after_it,
    twenty_who_race_with_one_token_all_succeed,
    a_token_used_after_the_grace_ends_its_session,
    the_grace_begins_with_the_first_use_and_ends_for_all,
    of_twenty_thieves_one_ends_the_session_and_none_gets_in,
    a_wrong_secret_serves_nobody_and_ends_the_session_of_its_token,
    an_expired_token_is_refused,
    a_session_is_over_at_the_end_of_its_life_however_often_it_is_refreshed,
    a_session_that_has_ended_is_not_refreshed,
    a_disabled_account_is_not_refreshed,
    a_session_ends_once,
    a_session_needs_the_account_that_was_checked,
    a_session_makes_its_accounts_principal,
    sessions_are_listed_and_ended_by_their_owner_alone,
    who_acts_as_somebody_does_so_no_longer_than_their_own_sessions_go_on,
    nobody_begins_to_act_as_somebody_by_a_right_that_is_taken_away_meanwhile,
    a_token_that_names_no_generation_is_good_if_it_was_made_after_its_owner_has_shown_anew_who_they_are,
);

const GRACE: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_hours(1);
pub(crate) const TERMS: RefreshTerms = RefreshTerms { grace: GRACE, ttl: TTL, session_life: Duration::from_hours(24) };

/// Shows a token; gives what came of it and the token that it bought.
async fn refresh(store: &Store, shown: &RefreshToken, now: DateTime<Utc>) -> (RefreshOutcome, RefreshToken) {
    let next = token();
    let outcome =
        store.rotate_refresh(shown.id(), &shown.digest(), (next.id(), next.digest()), now, TERMS).await.unwrap();
    (outcome, next)
}

/// Why a token that is known bought nothing.
fn refusal((outcome, _): &(RefreshOutcome, RefreshToken)) -> Option<RefreshRefusal> {
    match outcome {
        RefreshOutcome::Refused { why, .. } => Some(*why),
        _ => None,
    }
}

fn rotated(outcome: &RefreshOutcome) -> bool {
    matches!(outcome, RefreshOutcome::Rotated { .. })
}

async fn a_token_buys_the_next_and_that_the_next_after_it(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, mut shown) = session(&store, &ada).await;
    for n in 0..5 {
        let (outcome, next) = refresh(&store, &shown, at(60 * n)).await;
        assert_eq!(outcome, RefreshOutcome::Rotated { account: ada.clone(), session: id, generation: 0 });
        shown = next;
    }
    assert_eq!(heard(&store).await, [], "a refresh changes nothing that the door has cached");
}

async fn twenty_who_race_with_one_token_all_succeed(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, shown) = session(&store, &ada).await;
    let shown = std::sync::Arc::new(shown);
    let racers: Vec<_> = (0..20)
        .map(|n| {
            let (store, shown) = (store.clone(), shown.clone());
            // Their clocks differ.
            tokio::spawn(async move { refresh(&store, &shown, at(100) + TimeDelta::milliseconds(n * 400)).await })
        })
        .collect();
    for racer in racers {
        let (outcome, next) = racer.await.unwrap();
        assert!(rotated(&outcome), "{outcome:?}");
        assert!(rotated(&refresh(&store, &next, at(200)).await.0), "each got a token that serves");
    }
    assert_eq!(store.session_grant(id).await.unwrap().unwrap().standing(at(200)), Standing::Live);
}

async fn a_token_used_after_the_grace_ends_its_session(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, first) = session(&store, &ada).await;
    let (other, _) = session(&store, &ada).await;
    let (outcome, second) = refresh(&store, &first, at(100)).await;
    assert!(rotated(&outcome));
    assert_eq!(refusal(&refresh(&store, &first, at(111)).await), Some(RefreshRefusal::Reused));
    assert_eq!(heard(&store).await, [Subject::Session(id)]);
    assert_eq!(store.session_grant(id).await.unwrap().unwrap().ended_at, Some(at(111)));
    assert_eq!(
        refusal(&refresh(&store, &second, at(112)).await),
        Some(RefreshRefusal::Ended),
        "neither the thief nor the owner goes on"
    );
    assert_eq!(store.session_grant(other).await.unwrap().unwrap().ended_at, None, "other sessions are not touched");
}

async fn the_grace_begins_with_the_first_use_and_ends_for_all(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (_, shown) = session(&store, &ada).await;
    assert!(rotated(&refresh(&store, &shown, at(100)).await.0));
    assert!(rotated(&refresh(&store, &shown, at(109)).await.0));
    assert!(rotated(&refresh(&store, &shown, at(110)).await.0), "the last moment of the grace");
    let after = at(110) + TimeDelta::microseconds(1);
    assert_eq!(refusal(&refresh(&store, &shown, after).await), Some(RefreshRefusal::Reused));
}

async fn of_twenty_thieves_one_ends_the_session_and_none_gets_in(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, shown) = session(&store, &ada).await;
    assert!(rotated(&refresh(&store, &shown, at(100)).await.0));
    let shown = std::sync::Arc::new(shown);
    let thieves: Vec<_> = (0..20)
        .map(|_| {
            let (store, shown) = (store.clone(), shown.clone());
            tokio::spawn(async move { refresh(&store, &shown, at(1000)).await.0 })
        })
        .collect();
    let mut reused = 0;
    for thief in thieves {
        match thief.await.unwrap() {
            RefreshOutcome::Refused { why: RefreshRefusal::Reused, account, session } if session == id => {
                assert_eq!(account, ada.id);
                reused += 1;
            }
            RefreshOutcome::Refused { why, .. } => assert_eq!(why, RefreshRefusal::Ended),
            outcome => panic!("{outcome:?}"),
        }
    }
    assert_eq!((reused, heard(&store).await), (1, vec![Subject::Session(id)]));
}

async fn a_session_is_over_at_the_end_of_its_life_however_often_it_is_refreshed(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (_, mut shown) = session(&store, &ada).await;
    for time in (3000..86_400).step_by(3000) {
        let (outcome, next) = refresh(&store, &shown, at(time)).await;
        assert!(rotated(&outcome), "{time}: {outcome:?}");
        shown = next;
    }
    // The last was bought at second 84,000 and would live until 87,600 by itself.
    assert!(store.list_sessions(ada.id, at(86_400), None, 200).await.unwrap().items.is_empty());
    assert_eq!(refusal(&refresh(&store, &shown, at(86_400)).await), Some(RefreshRefusal::Expired));
}

async fn a_wrong_secret_serves_nobody_and_ends_the_session_of_its_token(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (session, shown) = session(&store, &ada).await;
    let (next, guess) = (token(), SecretDigest::of(b"a guess"));
    let forged =
        async |id, time| store.rotate_refresh(id, &guess, (next.id(), next.digest()), at(time), TERMS).await.unwrap();
    assert_eq!(forged(Uuid::now_v7(), 1).await, RefreshOutcome::Unknown);
    assert!(rotated(&refresh(&store, &shown, at(2)).await.0), "whoever guesses ids ends nothing");
    let refused = RefreshOutcome::Refused { account: ada.id, session, why: RefreshRefusal::Forged };
    assert_eq!(forged(shown.id(), 3).await, refused);
    assert_eq!(heard(&store).await, [Subject::Session(session)]);
    assert_eq!(refresh(&store, &next, at(4)).await.0, RefreshOutcome::Unknown, "nothing was put in force");
    assert_eq!(refusal(&refresh(&store, &shown, at(4)).await), Some(RefreshRefusal::Ended));
}

async fn an_expired_token_is_refused(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (_, shown) = session(&store, &ada).await;
    assert_eq!(refusal(&refresh(&store, &shown, at(86_400)).await), Some(RefreshRefusal::Expired));
    let (outcome, next) = refresh(&store, &shown, at(86_399)).await;
    assert!(rotated(&outcome), "its last second");
    assert_eq!(
        refusal(&refresh(&store, &next, at(86_399 + 3600)).await),
        Some(RefreshRefusal::Expired),
        "the next lives for the time to live"
    );
}

async fn a_session_that_has_ended_is_not_refreshed(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, shown) = session(&store, &ada).await;
    store.end_session(id, at(1)).await.unwrap();
    assert_eq!(refusal(&refresh(&store, &shown, at(2)).await), Some(RefreshRefusal::Ended));
}

async fn a_disabled_account_is_not_refreshed(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (_, shown) = session(&store, &ada).await;
    // Past the store, so that the session is not ended with it.
    let disable = "UPDATE accounts SET status = 'disabled'";
    database.execute(disable, disable).await;
    assert_eq!(refusal(&refresh(&store, &shown, at(2)).await), Some(RefreshRefusal::Ended));
    let enable = AccountChange { status: Some(Status::Active), ..AccountChange::default() };
    store.change_account(ada.id, enable, at(3)).await.unwrap();
    assert!(rotated(&refresh(&store, &shown, at(4)).await.0));
}

async fn a_session_ends_once(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, _) = session(&store, &ada).await;
    for second in 1..4 {
        store.end_session(id, at(second)).await.unwrap();
    }
    store.end_session(SessionId::new(Uuid::now_v7()), at(5)).await.unwrap();
    assert_eq!(heard(&store).await, [Subject::Session(id)]);
    assert_eq!(store.session_grant(id).await.unwrap().unwrap().ended_at, Some(at(1)));
}

/// A session of an account as it was when its owner was checked.
async fn try_session(store: &Store, checked: &Account) -> Result<(), StoreError> {
    let refresh = token();
    let new = NewSession {
        id: SessionId::new(Uuid::now_v7()),
        account: checked,
        proof: store::Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(1) },
        now: at(0),
        origin: store::Origin::default(),
    };
    store.open_session(new).await.map(drop)
}

async fn a_session_needs_the_account_that_was_checked(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let nobody = Account { id: AccountId::new(Uuid::now_v7()), ..ada.clone() };
    assert!(matches!(try_session(&store, &nobody).await, Err(StoreError::NotFound)));
    try_session(&store, &ada).await.unwrap();
    // Else whoever has a key of hers could keep her out with it.
    let renamed = ProfileChange { name: Some(Some("Ada".to_owned())), avatar_url: Some(None) };
    store.update_profile(ada.id, renamed, at(1)).await.unwrap();
    try_session(&store, &ada).await.unwrap();
    try_challenge(&store, &ada).await.unwrap();
    store.set_password(ada.id, &hash("a hash"), hash("new"), None, &notice(), at(1)).await.unwrap();
    assert!(matches!(try_session(&store, &ada).await, Err(StoreError::Conflict(_))), "the old password was checked");
    let disable = AccountChange { status: Some(Status::Disabled), ..AccountChange::default() };
    let disabled = store.change_account(ada.id, disable, at(2)).await.unwrap();
    assert!(matches!(try_session(&store, &disabled).await, Err(StoreError::Conflict(_))));
}

/// Neither sees the other's rows before it commits; so one has to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_no_session_slips_through_while_the_password_changes() {
    const WAITING: &str =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let mut other = database.beside().await;
    let mut tx = other.begin().await.unwrap();
    tx.execute("UPDATE accounts SET password_hash = 'new', updated_at = updated_at + INTERVAL '1 second'")
        .await
        .unwrap();
    let opening = tokio::spawn({
        let (store, ada) = (store.clone(), ada.clone());
        async move { try_session(&store, &ada).await }
    });
    let mut watcher = database.beside().await;
    while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut watcher).await.unwrap() == 0 {
        assert!(!opening.is_finished(), "it did not wait");
    }
    tx.commit().await.unwrap();
    let opened = opening.await.unwrap();
    assert!(matches!(opened, Err(StoreError::Conflict(_))), "{opened:?}");
}

async fn a_session_makes_its_accounts_principal(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, _) = session(&store, &ada).await;
    let facts = store.session_grant(id).await.unwrap().unwrap();
    assert_eq!((facts.standing(at(1)), &facts.account), (Standing::Live, &ada));
    let principal = facts.principal(Grant::Session(id));
    assert_eq!(principal.account, ada.id);
    assert_eq!((&*principal.role, &*principal.tier, principal.scopes), ("user", "free", None));
    assert!(store.session_grant(SessionId::new(Uuid::now_v7())).await.unwrap().is_none());
}

async fn sessions_are_listed_and_ended_by_their_owner_alone(database: &Database) {
    let store = database.open().await;
    let (ada, bob) = (person(&store, "ada@example.com").await, person(&store, "bob@example.com").await);
    let (first, refresh) = session(&store, &ada).await;
    let (second, _) = session(&store, &ada).await;
    let (third, _) = session(&store, &ada).await;
    let (theirs, _) = session(&store, &bob).await;
    let listed = async |second| {
        let records = store.list_sessions(ada.id, at(second), None, 200).await.unwrap().items;
        records.into_iter().map(|record| (record.id, record.last_seen_at)).collect::<Vec<_>>()
    };
    assert_eq!(listed(1).await, [(third, Some(at(0))), (second, Some(at(0))), (first, Some(at(0)))]);
    let next = token();
    let terms = RefreshTerms { ttl: Duration::from_hours(24), session_life: Duration::from_hours(48), ..TERMS };
    store.rotate_refresh(refresh.id(), &refresh.digest(), (next.id(), next.digest()), at(50), terms).await.unwrap();
    assert_eq!(listed(86_401).await, [(first, Some(at(50)))], "what cannot be gone on with is no session");
    let page = store.list_sessions(ada.id, at(1), None, 2).await.unwrap();
    assert_eq!(page.items.iter().map(|record| record.id).collect::<Vec<_>>(), [third, second]);
    let page = store.list_sessions(ada.id, at(1), page.next, 2).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].id, page.next), (1, first, None));

    assert!(matches!(store.end_session_of(ada.id, theirs, at(60)).await, Err(StoreError::NotFound)));
    store.end_session_of(ada.id, second, at(60)).await.unwrap();
    assert!(matches!(store.end_session_of(ada.id, second, at(61)).await, Err(StoreError::NotFound)));
    assert_eq!(store.end_sessions_but(ada.id, Some(first), at(70)).await.unwrap(), 1);
    assert_eq!(heard(&store).await, [Subject::Session(second), Subject::Session(third)]);
    assert_eq!(listed(80).await.len(), 1);
    assert_eq!(store.list_sessions(bob.id, at(80), None, 200).await.unwrap().items.len(), 1);
}

/// Begins to act as somebody, by what an administrator's account was when its right was weighed.
async fn act(store: &Store, actor: &Account, account: &Account) -> Result<SessionId, StoreError> {
    let (id, refresh) = (SessionId::new(Uuid::now_v7()), token());
    let new = NewSession {
        id,
        account,
        proof: Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(86_400) },
        now: at(0),
        origin: Origin { actor: Some(actor), ..Origin::default() },
    };
    store.open_session(new).await.map(|_| id)
}

async fn who_acts_as_somebody_does_so_no_longer_than_their_own_sessions_go_on(database: &Database) {
    let store = database.open().await;
    let (desk, ada) = (person(&store, "desk@example.com").await, person(&store, "ada@example.com").await);
    let (own, _) = session(&store, &desk).await;
    let (hers, _) = session(&store, &ada).await;
    let acting = act(&store, &desk, &ada).await.unwrap();
    let has_ended = async |id: SessionId| store.session_grant(id).await.unwrap().unwrap().ended_at.is_some();
    assert_eq!(store.end_sessions_but(desk.id, Some(own), at(5)).await.unwrap(), 1);
    assert!(has_ended(acting).await);
    assert!(heard(&store).await.contains(&Subject::Session(acting)));
    assert!(!has_ended(own).await && !has_ended(hers).await);
}

async fn nobody_begins_to_act_as_somebody_by_a_right_that_is_taken_away_meanwhile(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let demoted = AccountChange { role: Some("nobody".to_owned()), ..AccountChange::default() };
    for round in 0..12 {
        let desk = person(&store, &format!("desk{round}@example.com")).await;
        let change = store.change_account(desk.id, demoted.clone(), at(1));
        // Now the one is first, now the other.
        let (begun, changed) = if round % 2 == 0 {
            tokio::join!(act(&store, &desk, &ada), change)
        } else {
            let (changed, begun) = tokio::join!(change, act(&store, &desk, &ada));
            (begun, changed)
        };
        changed.unwrap();
        if let Ok(acting) = begun {
            assert!(store.session_grant(acting).await.unwrap().unwrap().ended_at.is_some(), "round {round}");
        }
        assert!(matches!(act(&store, &desk, &ada).await, Err(StoreError::Conflict(_))), "it was weighed before");
    }
}

/// As a gateway of a version that knows no generations makes it while a platform is updated.
async fn a_token_that_names_no_generation_is_good_if_it_was_made_after_its_owner_has_shown_anew_who_they_are(
    database: &Database,
) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (id, _) = session(&store, &ada).await;
    let standing = async |generation: u32, made: i64| {
        let facts = store.session_grant(id).await.unwrap().unwrap();
        facts.standing_of_token(generation, at(made).timestamp(), at(300))
    };
    let again = Renewal { refresh: None, cookie: None, terms: TERMS };
    assert_eq!(standing(0, 5).await, Standing::Live);
    assert_eq!(store.reauthenticate(ada.id, id, "pwd", again, at(100)).await.unwrap().generation, 1);
    for (generation, made, expected) in [
        (1, 100, Standing::Live),
        (0, 5, Standing::Ended),
        (0, 100, Standing::Ended),
        // The clock of whoever made it may be ahead of that of whoever heard it.
        (0, 104, Standing::Ended),
        (0, 105, Standing::Live),
        (2, 105, Standing::Ended),
    ] {
        assert_eq!(standing(generation, made).await, expected, "{generation} {made}");
    }
    assert_eq!(store.reauthenticate(ada.id, id, "pwd", again, at(200)).await.unwrap().generation, 2);
    assert_eq!(standing(0, 105).await, Standing::Ended);
    assert_eq!(standing(1, 250).await, Standing::Ended, "who names one means it");
    store.end_session(id, at(260)).await.unwrap();
    assert_eq!(standing(0, 270).await, Standing::Ended);
}
