//! Whoever does something to somebody else has the right to it, which was weighed before, and what they have shown, until it is done.

use identity::{AccountId, Email, Grant, KeyId, OneTimePurpose, SecretDigest, SessionId, TenantId};
use store::{Account, AccountChange, DoneBy, NewAccount, NewTier, Over, Status, Store, StoreError, TenantChange};
use uuid::Uuid;

use crate::{
    changed_hands::{one_time, token},
    engines::{Database, at, heard, newcomer, notice, on_both_engines, person, session},
    factors::armed,
    keys::key,
    lock_order::{Deed, again, both_are_done, joins},
};

on_both_engines!(
    nothing_is_done_by_whoever_has_lost_the_right_to_it,
    it_is_done_by_whoever_has_the_right_to_it,
    nobody_goes_on_by_another_ones_session,
);

/// What is said to whoever comes too late.
const LATE: &str = "the account was changed at the same moment; try again";
/// How many things are done.
const DEEDS: usize = 10;

/// Somebody of whom there is everything that is changed or taken away.
struct Target {
    ada: Account,
    /// Somebody who has been invited and has not come.
    invited: AccountId,
    key: KeyId,
    session: SessionId,
    tenant: TenantId,
}

fn becomes(role: &str) -> AccountChange {
    AccountChange { role: Some(role.to_owned()), ..AccountChange::default() }
}

/// Somebody who administers the platform, and their session.
async fn administrator(store: &Store, email: &str) -> (AccountId, SessionId) {
    let account = person(store, email).await;
    let account = store.change_account(account.id, becomes("admin"), at(0)).await.unwrap();
    (account.id, session(store, &account).await.0)
}

fn by(account: AccountId, grant: Grant) -> DoneBy {
    DoneBy { account, role: "admin".to_owned(), grant, now: at(5) }
}

async fn invite(store: &Store, by: Option<&DoneBy>) -> Result<Account, StoreError> {
    let address = format!("{}@example.com", Uuid::now_v7().simple());
    let email = Email::parse(&address).unwrap();
    let new = newcomer(&email);
    let invitation = one_time(&token(), OneTimePurpose::Invite, new.id, &address);
    store.invite(new, &invitation, Some(&notice()), by).await
}

// === impl Target ===

impl Target {
    async fn of(store: &Store) -> Self {
        let (ada, _) = armed(store, "ada@example.com").await;
        let invited = invite(store, None).await.unwrap().id;
        let key = store.create_key(key(&ada, "key").0).await.unwrap().id;
        let (session, _) = session(store, &ada).await;
        let tenant = store.create_tenant("Acme", ada.id, 9, at(0)).await.unwrap().id;
        Self { ada, invited, key, session, tenant }
    }

    /// Each of the things; the last one takes away what the others are done to.
    async fn done(&self, store: &Store, number: usize, by: &DoneBy) -> Result<(), StoreError> {
        let (ada, over) = (self.ada.id, Over { of_role: "user", by: Some(by) });
        match number {
            0 => invite(store, Some(by)).await.map(drop),
            1 => {
                let email = Email::parse(&format!("{}@example.com", Uuid::now_v7().simple())).unwrap();
                store.create_account_by(NewAccount { role: "admin", ..newcomer(&email) }, Some(by)).await.map(drop)
            }
            2 => {
                let token = token();
                let token = one_time(&token, OneTimePurpose::Invite, self.invited, "invited@example.com");
                store.invite_again(self.invited, over, &token, Some(&notice()), at(6)).await
            }
            3 => store.remove_factors(ada, over, &notice(), at(6)).await.map(drop),
            4 => store.unlock_account(ada, over, &[SecretDigest::of(b"ada")]).await.map(drop),
            5 => store.end_any_key(self.key, (ada, over), at(6)).await,
            // The last second factor has ended all of them.
            6 => match store.end_any_session(self.session, (ada, over), at(6)).await {
                Err(StoreError::NotFound) => Ok(()),
                done => done,
            },
            7 => {
                let change =
                    TenantChange { status: Some(Status::Disabled), by: Some(by.clone()), ..Default::default() };
                store.change_tenant(self.tenant, change, at(6)).await.map(drop)
            }
            8 => {
                let tier = Some(NewTier::Own("pro".to_owned()));
                let change = AccountChange { tier, by: Some(by.clone()), ..AccountChange::default() };
                store.change_account(ada, change, at(6)).await.map(drop)
            }
            _ => store.delete_account(ada, Some(over), at(6)).await,
        }
    }
}

async fn nothing_is_done_by_whoever_has_lost_the_right_to_it(database: &Database) {
    const ACCOUNTS: &str = "SELECT COUNT(*) FROM accounts";
    let store = database.open().await;
    administrator(&store, "root@example.com").await;
    let target = Target::of(&store).await;
    let (less, less_in) = administrator(&store, "less@example.com").await;
    let (out, out_in) = administrator(&store, "out@example.com").await;
    let (gone, gone_in) = administrator(&store, "gone@example.com").await;
    let (robot, _) = administrator(&store, "robot@example.com").await;
    let account = store.account(robot).await.unwrap().unwrap();
    let leaked = store.create_key(key(&account, "leaked").0).await.unwrap().id;
    let short = store::NewKey { expires_at: Some(at(5)), ..key(&account, "short").0 };
    let short = store.create_key(short).await.unwrap().id;
    store.change_account(less, becomes("user"), at(1)).await.unwrap();
    let disabled = AccountChange { status: Some(Status::Disabled), ..AccountChange::default() };
    store.change_account(out, disabled, at(1)).await.unwrap();
    store.end_session(gone_in, at(1)).await.unwrap();
    store.revoke_key(robot, leaked, None, at(1)).await.unwrap();
    let nobody = AccountId::new(Uuid::now_v7());
    let before =
        (heard(&store).await, database.mails_waiting().await, database.rows::<(i64,)>(ACCOUNTS, ACCOUNTS).await);
    for by in [
        by(less, Grant::Session(less_in)),
        by(out, Grant::Session(out_in)),
        by(gone, Grant::Session(gone_in)),
        by(gone, Grant::Cookie(gone_in)),
        by(robot, Grant::Key(leaked)),
        by(robot, Grant::Key(short)),
        by(nobody, Grant::Session(gone_in)),
    ] {
        for number in 0..DEEDS {
            let done = target.done(&store, number, &by).await;
            assert!(matches!(done, Err(StoreError::Conflict(why)) if why == LATE), "{number} by {by:?}: {done:?}");
        }
    }
    let after =
        (heard(&store).await, database.mails_waiting().await, database.rows::<(i64,)>(ACCOUNTS, ACCOUNTS).await);
    assert_eq!(after, before);
    assert!(store.session_grant(target.session).await.unwrap().unwrap().ended_at.is_none());
}

async fn it_is_done_by_whoever_has_the_right_to_it(database: &Database) {
    let store = database.open().await;
    let target = Target::of(&store).await;
    let (desk, login) = administrator(&store, "desk@example.com").await;
    for number in 0..DEEDS {
        target.done(&store, number, &by(desk, Grant::Session(login))).await.unwrap();
    }
    assert_eq!(store.account(target.ada.id).await.unwrap(), None);
    // By a key as well, and to themselves.
    let account = store.account(desk).await.unwrap().unwrap();
    let own = store.create_key(key(&account, "own").0).await.unwrap().id;
    let by = by(desk, Grant::Key(own));
    invite(&store, Some(&by)).await.unwrap();
    store.end_any_key(own, (desk, Over { of_role: "admin", by: Some(&by) }), at(6)).await.unwrap();
    assert_eq!(store.list_keys(desk).await.unwrap(), []);
}

async fn nobody_goes_on_by_another_ones_session(database: &Database) {
    let store = database.open().await;
    let (_, login) = administrator(&store, "root@example.com").await;
    let (desk, _) = administrator(&store, "desk@example.com").await;
    let invited = invite(&store, Some(&by(desk, Grant::Session(login)))).await;
    assert!(matches!(invited, Err(StoreError::Conflict(_))), "{invited:?}");
}

/// Who disables them has their account, and waits for their session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_being_disabled_makes_and_changes_nobody() {
    let database = Database::postgres().await;
    let store = database.open().await;
    administrator(&store, "root@example.com").await;
    let target = std::sync::Arc::new(Target::of(&store).await);
    for number in 0..DEEDS {
        let (desk, login) = administrator(&store, &format!("desk{number}@example.com")).await;
        let (disabling, doing, target) = (store.clone(), store.clone(), std::sync::Arc::clone(&target));
        let deeds: [Deed; 2] = [
            Box::pin(async move {
                let change = AccountChange { status: Some(Status::Disabled), ..AccountChange::default() };
                disabling.change_account(desk, change, at(1)).await.map(drop)
            }),
            Box::pin(async move {
                let done = target.done(&doing, number, &by(desk, Grant::Session(login))).await;
                assert!(matches!(done, Err(StoreError::Conflict(_))), "{number}: {done:?}");
                Ok(())
            }),
        ];
        both_are_done(&database, "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", login.uuid(), deeds).await;
    }
}

/// Who do not administer the platform are held up by no lock of all administrators.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_change_each_other_come_one_after_the_other() {
    let database = Database::postgres().await;
    let store = database.open().await;
    for round in 0..40 {
        let mut two = Vec::new();
        for name in ["ada", "bob"] {
            let account = person(&store, &format!("{name}{round}@example.com")).await;
            let account = store.change_account(account.id, becomes("desk"), at(0)).await.unwrap();
            two.push((account.id, session(&store, &account).await.0));
        }
        let changing = [(two[0], two[1].0), (two[1], two[0].0)].map(|((from, login), to)| {
            let store = store.clone();
            again(6, move |time| {
                let store = store.clone();
                let by = DoneBy { role: "desk".to_owned(), ..by(from, Grant::Session(login)) };
                async move {
                    let tier = Some(NewTier::Own(["free", "pro"][time % 2].to_owned()));
                    let change = AccountChange { tier, by: Some(by.clone()), ..AccountChange::default() };
                    store.change_account(to, change, at(1)).await?;
                    let over = Over { of_role: "desk", by: Some(&by) };
                    store.unlock_account(to, over, &[SecretDigest::of(b"them")]).await?;
                    if time == 5 { store.delete_account(to, Some(over), at(2)).await } else { Ok(()) }
                }
            })
        });
        joins(changing).await;
        let left = [store.account(two[0].0).await.unwrap(), store.account(two[1].0).await.unwrap()];
        assert_eq!(left.iter().flatten().count(), 1, "round {round}");
    }
}
