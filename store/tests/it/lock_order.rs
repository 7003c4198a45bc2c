//! Who changes the same account at once comes one after the other: nobody is rolled back since two have waited for each other. On Postgres,
//! where rows are locked one by one.

use std::{pin::Pin, sync::LazyLock, time::Duration};

use identity::{
    AccountId, Email, ExternalId, FactorId, KeyId, OneTimePurpose, PasswordHash, SecretDigest, SessionId, TenantId,
    TenantRole,
};
use sqlx::Connection as _;
use store::{
    Account, Believed, Belonging, ChallengeSeed, Confirmed, CookieTerms, ExternalSubject, FactorProof, NewAccount,
    NewKey, NewSession, Origin, Proof, SessionSeed, ShownOneTime, Store, StoreError, WayIn,
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{
    changed_hands::{self, one_time, shown},
    engines::{Database, at, hash, newcomer, notice, person, session, token},
    keys::key,
};

/// So often each two meet, each time as others; of those who take their locks in another order some wait for each other then.
const ROUNDS: usize = 60;

static NO_PASSWORD: LazyLock<PasswordHash> = LazyLock::new(|| hash("none"));

async fn joined(store: &Store, email: &str, tenant: TenantId) -> Account {
    let email = Email::parse(email).unwrap();
    store.create_account(NewAccount { tenant: Belonging::Joins(tenant), ..newcomer(&email) }).await.unwrap()
}

/// Does something again and again beside others. Whoever finds nothing to do it to, or to somebody who is another one now, is answered so.
pub(crate) fn again<D, F>(times: usize, deed: D) -> JoinHandle<()>
where
    D: Fn(usize) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), StoreError>> + Send,
{
    tokio::spawn(async move {
        for time in 0..times {
            let done = deed(time).await;
            assert!(matches!(done, Ok(()) | Err(StoreError::NotFound | StoreError::Conflict(_))), "{done:?}");
        }
    })
}

fn switching(store: &Store, session: SessionId, account: AccountId, tenants: [TenantId; 2]) -> JoinHandle<()> {
    let store = store.clone();
    again(6, move |time| {
        let store = store.clone();
        async move { store.switch_tenant(session, account, tenants[time % 2], at(1)).await }
    })
}

fn revoking(store: &Store, account: AccountId, key: KeyId) -> JoinHandle<()> {
    let store = store.clone();
    again(1, move |_| {
        let store = store.clone();
        async move { store.revoke_key(account, key, None, at(1)).await }
    })
}

fn replacing(store: &Store, account: &Account) -> JoinHandle<()> {
    let (store, account) = (store.clone(), account.clone());
    again(3, move |_| {
        let (store, new) = (store.clone(), key(&account, "another").0);
        async move { store.replace_keys(new).await.map(drop) }
    })
}

/// Begins a session for whoever has shown a key, if any, or for whoever acts as somebody.
pub(crate) async fn begin(
    store: &Store,
    account: &Account,
    key: Option<KeyId>,
    actor: Option<&Account>,
) -> Result<SessionId, StoreError> {
    let (id, refresh) = (SessionId::new(Uuid::now_v7()), token());
    let proof = Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(1000) };
    let origin = Origin { method: key.map(|_| store::MACHINE), actor, ..Origin::default() };
    let new = NewSession { id, account, proof, now: at(0), origin };
    match key {
        Some(key) => store.open_bought_session(new, key).await,
        None => store.open_session(new).await.map(drop),
    }
    .map(|()| id)
}

pub(crate) async fn joins(others: impl IntoIterator<Item = JoinHandle<()>>) {
    for other in others {
        other.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_revoked_however_often_sessions_are_bought_with_it_meanwhile() {
    const LEFT: &str = "SELECT COUNT(*) FROM sessions WHERE ended_at IS NULL";
    let database = Database::postgres().await;
    let store = database.open().await;
    let robot = person(&store, "robot@example.com").await;
    for round in 0..ROUNDS {
        let key = store.create_key(key(&robot, "secret").0).await.unwrap().id;
        begin(&store, &robot, Some(key), None).await.unwrap();
        let buying = [0; 3].map(|_| {
            let (store, robot) = (store.clone(), robot.clone());
            again(4, move |_| {
                let (store, robot) = (store.clone(), robot.clone());
                async move { begin(&store, &robot, Some(key), None).await.map(drop) }
            })
        });
        store.end_any_key(key, (robot.id, "user"), at(1)).await.unwrap();
        joins(buying).await;
        let left: Vec<(i64,)> = database.rows(LEFT, LEFT).await;
        assert_eq!(left, [(0,)], "round {round}: what it has bought ends with it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_sent_away_whatever_they_do_meanwhile() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let boss = person(&store, "boss@example.com").await;
    let work = store.create_tenant("Work", boss.id, 9, at(0)).await.unwrap().id;
    for round in 0..ROUNDS {
        let ada = joined(&store, &format!("ada{round}@example.com"), work).await;
        let home = store.create_tenant("Home", ada.id, 9, at(0)).await.unwrap().id;
        let (login, _) = session(&store, &ada).await;
        let new = |name| NewKey { tenant: Some(work), ..key(&ada, name).0 };
        let (first, second) = (store.create_key(new("1")).await.unwrap(), store.create_key(new("2")).await.unwrap());
        begin(&store, &ada, Some(first.id), None).await.unwrap();
        let meanwhile = [
            switching(&store, login, ada.id, [home, work]),
            revoking(&store, ada.id, first.id),
            revoking(&store, ada.id, second.id),
        ];
        store.remove_member(work, ada.id, Some(boss.id), at(1)).await.unwrap();
        joins(meanwhile).await;
        assert_eq!(store.role_in(work, ada.id).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_sent_away_while_the_owner_of_their_address_comes_by_mail() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let boss = person(&store, "boss@example.com").await;
    let work = store.create_tenant("Work", boss.id, 9, at(0)).await.unwrap().id;
    for round in 0..ROUNDS {
        let ada = joined(&store, &format!("ada{round}@example.com"), work).await;
        // Only who answers for a tenant has more to hold when they leave it.
        store.change_member(work, ada.id, TenantRole::Owner, None, at(0)).await.unwrap();
        let (id, login) = (ada.id, session(&store, &ada).await.0);
        let (token, purpose) = (changed_hands::token(), OneTimePurpose::ResetPassword);
        store.keep_one_time(&one_time(&token, purpose, id, &ada.email)).await.unwrap();
        let (there, shown) = (store.clone(), shown(&token, purpose));
        let coming = again(1, move |_| show(there.clone(), ada.clone(), login, shown));
        let sent = store.remove_member(work, id, Some(boss.id), at(1)).await;
        assert!(matches!(sent, Ok(()) | Err(StoreError::NotFound)), "{sent:?}");
        joins([coming]).await;
        assert_eq!(store.role_in(work, id).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_is_deleted_whatever_its_members_do_meanwhile() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let boss = person(&store, "boss@example.com").await;
    for round in 0..ROUNDS {
        let work = store.create_tenant("Work", boss.id, 999, at(0)).await.unwrap().id;
        let mut meanwhile = Vec::new();
        for name in ["ada", "bob"] {
            let member = joined(&store, &format!("{name}{round}@example.com"), work).await;
            let home = store.create_tenant("Home", member.id, 9, at(0)).await.unwrap().id;
            let (login, _) = session(&store, &member).await;
            let new = NewKey { tenant: Some(work), ..key(&member, "work").0 };
            let bought = store.create_key(new).await.unwrap().id;
            begin(&store, &member, Some(bought), None).await.unwrap();
            meanwhile.push(switching(&store, login, member.id, [home, work]));
            meanwhile.push(replacing(&store, &member));
        }
        store.delete_tenant(work, None, at(1)).await.unwrap();
        joins(meanwhile).await;
        assert!(store.tenant(work).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_deleted_whatever_who_acts_as_its_owner_does_meanwhile() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let desk = person(&store, "desk@example.com").await;
    let work = store.create_tenant("Work", desk.id, 9, at(0)).await.unwrap().id;
    for round in 0..ROUNDS {
        let ada = joined(&store, &format!("ada{round}@example.com"), work).await;
        let home = store.create_tenant("Home", ada.id, 9, at(0)).await.unwrap().id;
        let acting = begin(&store, &ada, None, Some(&desk)).await.unwrap();
        let meanwhile = switching(&store, acting, ada.id, [home, work]);
        store.delete_account(ada.id, None, at(1)).await.unwrap();
        joins([meanwhile]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_is_deleted_whoever_begins_to_act_as_its_members_meanwhile() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let boss = person(&store, "boss@example.com").await;
    for round in 0..ROUNDS {
        let work = store.create_tenant("Work", boss.id, 999, at(0)).await.unwrap().id;
        let ada = joined(&store, &format!("ada{round}@example.com"), work).await;
        let bob = joined(&store, &format!("bob{round}@example.com"), work).await;
        // Whichever of them is held first.
        let meanwhile = [(&ada, &bob), (&bob, &ada)].map(|(actor, owner)| {
            let (store, actor, owner) = (store.clone(), actor.clone(), owner.clone());
            again(6, move |_| {
                let (store, actor, owner) = (store.clone(), actor.clone(), owner.clone());
                async move { begin(&store, &owner, None, Some(&actor)).await.map(drop) }
            })
        });
        store.delete_tenant(work, None, at(1)).await.unwrap();
        joins(meanwhile).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_is_taken_away_whatever_its_issuer_says_meanwhile() {
    const BELIEVED: Believed<'_> = Believed { providers: &[], issuers: &["them"] };
    let database = Database::postgres().await;
    let store = database.open().await;
    for round in 0..ROUNDS {
        let ada = person(&store, &format!("ada{round}@example.com")).await;
        let kept = hash("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA");
        store.set_password(ada.id, &hash("a hash"), kept, None, &notice(), at(0)).await.unwrap();
        let (login, _) = session(&store, &ada).await;
        let subject = ada.id.uuid().to_string();
        let linked = ExternalSubject { issuer: "them", subject: &subject, claims_at: None };
        store.link_external(ada.id, None, linked, None, at(0)).await.unwrap();
        let id = ExternalId::of("them", &subject);
        let following = {
            let store = store.clone();
            again(6, move |time| {
                let (store, said_at) = (store.clone(), i64::try_from(time).unwrap() + 1);
                let role = ["developer", "user"][time % 2];
                async move { store.follow_issuer(id, said_at, (Some(role), None), at(1)).await.map(drop) }
            })
        };
        // By their owner, or by whoever has the better word for the address.
        if round % 2 == 0 {
            store.unlink_identity((ada.id, login), id, BELIEVED, &notice(), at(1)).await.unwrap();
        } else {
            assert!(store.take_over_unconfirmed(ada.id, WayIn::Password(hash("own")), "user", at(1)).await.unwrap());
        }
        joins([following]).await;
        assert_eq!(store.identities(ada.id).await.unwrap(), []);
    }
}

/// Shows a token for what it is for.
async fn show(store: Store, account: Account, login: SessionId, shown: ShownOneTime) -> Result<(), StoreError> {
    let confirmed = Confirmed { from_role: "unverified", to_role: "user", no_password: &NO_PASSWORD };
    let refresh = token();
    let proof = Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(1000) };
    let seed = SessionSeed { id: SessionId::new(Uuid::now_v7()), proof, origin: Origin::default() };
    let (now, digest) = (at(0), SecretDigest::of(b"x"));
    match shown.purpose {
        OneTimePurpose::VerifyEmail => store.confirm_email(&shown, confirmed, now).await.map(drop),
        OneTimePurpose::ResetPassword => {
            store.reset_password(&shown, hash("a hash"), confirmed, &notice(), now).await.map(drop)
        }
        OneTimePurpose::MagicLink => {
            let challenge = ChallengeSeed { id: Uuid::now_v7(), digest, sealed: Vec::new(), expires_at: at(100) };
            store.log_in_by(&shown, confirmed, seed, &challenge, now).await.map(drop)
        }
        OneTimePurpose::SecondFactor => {
            let proof = FactorProof::Code { factor: FactorId::new(Uuid::now_v7()), step: 1 };
            store.log_in_with_factor(&shown, &account, &proof, seed, now).await.map(drop)
        }
        _ => {
            let email = Email::parse(&account.email).unwrap();
            store.change_email(&shown, &email, login, confirmed, &notice(), now).await.map(drop)
        }
    }
}

async fn a_password_is_changed_while_these_are_shown(purposes: [OneTimePurpose; 2]) {
    let database = Database::postgres().await;
    let store = database.open().await;
    for round in 0..ROUNDS {
        let ada = person(&store, &format!("ada{round}@example.com")).await;
        let (login, _) = session(&store, &ada).await;
        let mut meanwhile = Vec::new();
        for purpose in purposes {
            let token = changed_hands::token();
            store.keep_one_time(&one_time(&token, purpose, ada.id, &ada.email)).await.unwrap();
            let (store, ada, shown) = (store.clone(), ada.clone(), shown(&token, purpose));
            meanwhile.push(again(1, move |_| show(store.clone(), ada.clone(), login, shown)));
        }
        for _ in 0..3 {
            // The same again, so that it is not another one that was checked.
            let set = store.set_password(ada.id, &hash("a hash"), hash("a hash"), Some(login), &notice(), at(0)).await;
            assert!(matches!(set, Ok(()) | Err(StoreError::Conflict(_))), "{set:?}");
        }
        joins(meanwhile).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_while_another_is_chosen_by_mail() {
    a_password_is_changed_while_these_are_shown([OneTimePurpose::ResetPassword; 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_while_somebody_logs_in_by_a_link() {
    a_password_is_changed_while_these_are_shown([OneTimePurpose::MagicLink; 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_while_somebody_shows_a_second_factor() {
    a_password_is_changed_while_these_are_shown([OneTimePurpose::SecondFactor; 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_while_the_address_is_changed_or_confirmed() {
    a_password_is_changed_while_these_are_shown([OneTimePurpose::ChangeEmail, OneTimePurpose::VerifyEmail]).await;
}

pub(crate) type Deed = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// While somebody holds a row two deeds are begun, each when the one before waits or is done. Then the row is let go, and both succeed.
pub(crate) async fn both_are_done(database: &Database, hold: &'static str, row: Uuid, deeds: [Deed; 2]) {
    const WAITING: &str =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let (mut holder, mut watcher) = (database.beside().await, database.beside().await);
    let mut taken = holder.begin().await.unwrap();
    sqlx::query(hold).bind(row).execute(&mut *taken).await.unwrap();
    let mut begun = Vec::new();
    for deed in deeds {
        begun.push(tokio::spawn(deed));
        let standstill = async {
            loop {
                let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(&mut watcher).await.unwrap();
                let left = begun.iter().filter(|deed| !deed.is_finished()).count();
                if waiting >= i64::try_from(left).unwrap() {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), standstill).await.expect("who neither waits nor is done");
    }
    taken.rollback().await.unwrap();
    for deed in begun {
        deed.await.unwrap().unwrap();
    }
}

/// Three ids in their order.
fn ids() -> [Uuid; 3] {
    let mut ids = [(); 3].map(|()| Uuid::now_v7());
    ids.sort_unstable();
    ids
}

/// Whoever ends sessions finds the last one first, and then the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_while_uses_of_cookies_are_written_down() {
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let [first, second, last] = ids();
    for id in [last, first, second] {
        let digest = SecretDigest::of(id.as_bytes());
        let proof = Proof::Cookie(CookieTerms { digest, idle_until: at(100), ends_at: at(1000) });
        let origin = Origin::default();
        let new = NewSession { id: SessionId::new(id), account: &ada, proof, now: at(0), origin };
        store.open_session(new).await.unwrap();
    }
    let hold = "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE";
    let used = [first, second, last].map(|id| (SessionId::new(id), at(500)));
    let (noting, changing) = (store.clone(), store.clone());
    let deeds: [Deed; 2] = [
        Box::pin(async move { noting.touch_cookies(&used, at(50)).await }),
        Box::pin(async move {
            changing.set_password(ada.id, &hash("a hash"), hash("another"), None, &notice(), at(60)).await
        }),
    ];
    both_are_done(&database, hold, second, deeds).await;
    for id in [first, second, last] {
        let facts = store.cookie_grant(SessionId::new(id)).await.unwrap().unwrap();
        assert_eq!((facts.idle_until, facts.ended_at), (Some(at(500)), Some(at(60))), "each use, and each end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_replaced_while_uses_of_them_are_written_down() {
    const USED: &str = "SELECT COUNT(*) FROM portcullis.api_keys WHERE last_used_at IS NOT NULL";
    let database = Database::postgres().await;
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let [first, second, last] = ids();
    for id in [last, first, second] {
        store.create_key(NewKey { id: KeyId::new(id), ..key(&ada, "old").0 }).await.unwrap();
    }
    let hold = "SELECT 1 FROM api_keys WHERE id = $1 FOR UPDATE";
    let used = [first, second, last].map(|id| (KeyId::new(id), at(50)));
    let (noting, replacing, new) = (store.clone(), store.clone(), key(&ada, "new").0);
    let deeds: [Deed; 2] = [
        Box::pin(async move { noting.touch_keys(&used).await }),
        Box::pin(async move { replacing.replace_keys(new).await.map(drop) }),
    ];
    both_are_done(&database, hold, second, deeds).await;
    assert_eq!(store.list_keys(ada.id).await.unwrap().len(), 1);
    assert_eq!(database.rows::<(i64,)>(USED, "").await, [(3,)]);
}
