//! Addresses that change, and accounts that are taken over.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use identity::{
    AccountId, Email, ExternalId, OneTimePurpose, OneTimeToken, PasswordHash, RefreshToken, SessionId, TenantId,
    TenantRole,
};
use store::{
    Account, AccountChange, Believed, Belonging, Confirmed, ExternalSubject, IntegrationOwner, NewAccount, NewIdentity,
    NewInvitation, NewMail, NewOneTime, NewSession, Origin, Proof, Seen, ShownOneTime, Status, Store, StoreError,
    Subject, WayIn,
};
use uuid::Uuid;

use crate::{
    engines::{Database, anyway, at, hash, heard, newcomer, notice, on_both_engines, person, session},
    integrations,
};

static NO_PASSWORD: LazyLock<PasswordHash> = LazyLock::new(|| PasswordHash::from("none".to_owned()));

on_both_engines!(
    an_address_is_changed_once_by_whoever_of_two_is_first,
    an_organisation_that_is_named_after_an_address_keeps_none_that_is_gone,
    another_change_that_is_asked_for_voids_the_one_before_at_once,
    an_address_that_was_taken_meanwhile_changes_nothing_and_uses_no_token_up,
    an_account_is_taken_over_once_and_by_the_last_invitation,
    nobody_links_whose_session_has_ended_or_whose_account_is_disabled,
    who_is_let_go_of_brings_no_second_factor_any_more,
    who_was_linked_without_being_asked_may_agree_later,
    what_an_owner_finds_in_the_account_of_others_is_gone,
    who_was_put_into_an_organisation_by_the_operator_stays_there,
    whoever_takes_an_account_over_leaves_no_organisation_to_itself,
    an_organisation_that_is_nobody_elses_is_taken_over_without_its_keys_at_providers,
    a_session_is_as_old_as_it_is_said_to_be_and_never_younger_than_now,
);

fn mail(address: &str, is_wish: bool) -> NewMail {
    NewMail { template: "x", address: address.to_owned(), is_wish, ..notice() }
}

pub(crate) fn one_time<'a>(
    token: &OneTimeToken,
    purpose: OneTimePurpose,
    account: AccountId,
    address: &'a str,
) -> NewOneTime<'a> {
    NewOneTime {
        id: token.id(),
        purpose,
        account: Some(account),
        address,
        digest: token.digest_for(purpose),
        binding: None,
        sealed: None,
        now: at(0),
        expires_at: at(100),
    }
}

pub(crate) fn shown(token: &OneTimeToken, purpose: OneTimePurpose) -> ShownOneTime {
    ShownOneTime { id: token.id(), purpose, digest: token.digest_for(purpose), binding: None }
}

pub(crate) fn token() -> OneTimeToken {
    OneTimeToken::generate(Uuid::now_v7(), &mut rand::rng())
}

/// A token that is to give an account another address.
async fn asked(store: &Store, account: &Account, address: &str) -> ShownOneTime {
    let (wish, letter, token) = (mail(address, true), mail(address, false), token());
    store.ask_for_email(account.id, &wish, &mail(&account.email, false)).await.unwrap();
    let new = one_time(&token, OneTimePurpose::ChangeEmail, account.id, address);
    store.grant_wish_with(wish.id, &letter, anyway(), &new).await.unwrap();
    shown(&token, OneTimePurpose::ChangeEmail)
}

async fn change(
    store: &Store,
    shown: &ShownOneTime,
    email: &str,
    session: SessionId,
) -> Result<Option<(Account, Vec<TenantId>)>, StoreError> {
    let terms = Confirmed { from_role: "unverified", to_role: "user", no_password: &NO_PASSWORD };
    let email = Email::parse(email).unwrap();
    store.change_email(shown, &email, session, terms, &mail("ada@example.com", false), at(10)).await
}

async fn an_address_is_changed_once_by_whoever_of_two_is_first(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let ((here, _), (there, _)) = (session(&store, &ada).await, session(&store, &ada).await);
    let shown = asked(&store, &ada, "new@example.com").await;
    let nodes = [database.connect().await, database.connect().await];
    let tries =
        nodes.map(|node| tokio::spawn(async move { change(&node, &shown, "New@example.com", here).await.unwrap() }));
    let mut changed = Vec::new();
    for tried in tries {
        changed.extend(tried.await.unwrap());
    }
    assert_eq!(changed.len(), 1, "of two who show it at once one succeeds");
    let (changed, renamed) = &changed[0];
    assert_eq!((&*changed.email, changed.is_verified, &**renamed), ("New@example.com", true, &[][..]));
    let heard = heard(&store).await;
    assert!(heard.contains(&Subject::Account(ada.id)) && heard.contains(&Subject::Session(there)), "{heard:?}");
    assert!(!heard.contains(&Subject::Session(here)), "{heard:?}");
    assert_eq!(store.account_by_address("new@example.com").await.unwrap().unwrap().id, ada.id);
    assert_eq!(store.account_by_address("ada@example.com").await.unwrap(), None);
}

async fn an_organisation_that_is_named_after_an_address_keeps_none_that_is_gone(database: &Database) {
    const NAMES: &str = "SELECT name FROM tenants";
    let store = database.open().await;
    let address = Email::parse("ada@example.com").unwrap();
    let founder = NewAccount { tenant: Belonging::FoundsOwn, ..newcomer(&address) };
    let ada = store.create_account(founder).await.unwrap();
    let tenant = ada.tenant.as_ref().unwrap().tenant;
    let other = Email::parse("bob@example.com").unwrap();
    let bob = NewAccount { tenant: Belonging::Joins(tenant), ..newcomer(&other) };
    let bob = store.create_account(bob).await.unwrap();
    store.change_member(tenant, bob.id, TenantRole::Owner, None, at(1)).await.unwrap();
    let (here, _) = session(&store, &ada).await;
    let shown = asked(&store, &ada, "new@example.com").await;
    let (_, renamed) = change(&store, &shown, "New@example.com", here).await.unwrap().unwrap();
    assert_eq!(renamed, [tenant]);
    assert!(heard(&store).await.contains(&Subject::Tenant(tenant)));
    assert_eq!(store.tenant(tenant).await.unwrap().unwrap().name, "New@example.com");
    // With the account goes its address, and not the organisation of others.
    store.delete_account(ada.id, None, at(20)).await.unwrap();
    let names: Vec<(String,)> = database.rows(NAMES, NAMES).await;
    assert_eq!(names, [(tenant.to_string(),)]);
}

async fn another_change_that_is_asked_for_voids_the_one_before_at_once(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (here, _) = session(&store, &ada).await;
    let first = asked(&store, &ada, "new@example.com").await;
    let wish = mail("newer@example.com", true);
    store.ask_for_email(ada.id, &wish, &mail(&ada.email, false)).await.unwrap();
    assert_eq!(change(&store, &first, "new@example.com", here).await.unwrap(), None);
}

async fn an_address_that_was_taken_meanwhile_changes_nothing_and_uses_no_token_up(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (here, _) = session(&store, &ada).await;
    let shown = asked(&store, &ada, "new@example.com").await;
    let bob = person(&store, "new@example.com").await;
    assert!(matches!(change(&store, &shown, "new@example.com", here).await, Err(StoreError::EmailTaken)));
    store.delete_account(bob.id, None, at(5)).await.unwrap();
    assert!(change(&store, &shown, "other@example.com", here).await.unwrap().is_none(), "not where it was sent");
    assert!(change(&store, &shown, "new@example.com", SessionId::new(Uuid::now_v7())).await.unwrap().is_none());
    assert!(change(&store, &shown, "new@example.com", here).await.unwrap().is_some());
}

async fn an_account_is_taken_over_once_and_by_the_last_invitation(database: &Database) {
    let store = database.open().await;
    let (id, email) = (AccountId::new(Uuid::now_v7()), Email::parse("ada@example.com").unwrap());
    let new = NewAccount {
        id,
        email: &email,
        password_hash: hash("none"),
        name: Some("Ada".to_owned()),
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: store::AccountKind::Person,
        tenant: store::Belonging::Nowhere,
        now: at(0),
    };
    let purpose = OneTimePurpose::Invite;
    let (first, second) = (token(), token());
    let of = |token: &OneTimeToken| one_time(token, purpose, id, "ada@example.com");
    let made = store.invite(new, &of(&first), Some(&mail("ada@example.com", false)), None).await.unwrap();
    assert_eq!((made.status, made.is_verified), (Status::Disabled, false));
    store.invite_again(id, "user", &of(&second), Some(&mail("ada@example.com", false)), at(1)).await.unwrap();
    let accept = async |token: &OneTimeToken, now: DateTime<Utc>| {
        store.accept_invitation(&shown(token, purpose), hash("own"), None, now).await.unwrap()
    };
    assert_eq!(accept(&first, at(2)).await, None);
    assert_eq!(accept(&second, at(101)).await, None, "over");
    let taken = accept(&second, at(3)).await.unwrap();
    assert_eq!((taken.status, taken.is_verified, taken.name.as_deref()), (Status::Active, true, Some("Ada")));
    assert!(heard(&store).await.contains(&Subject::Account(id)));
    assert_eq!(accept(&second, at(4)).await, None, "once");
    let again = store.invite_again(id, "user", &of(&token()), Some(&mail("ada@example.com", false)), at(5)).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    // One who is sent home is not waited for.
    let change = AccountChange { role: Some("admin".to_owned()), ..AccountChange::default() };
    assert_eq!(store.change_account(id, change, at(6)).await.unwrap().role, "admin");
    let ada = person(&store, "eve@example.com").await;
    let again = store.invite_again(ada.id, "user", &of(&token()), Some(&mail("eve@example.com", false)), at(5)).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
}

const THERE: NewIdentity<'static> = NewIdentity { issuer: "acme", subject: "ada", email: "ada@example.com" };

async fn nobody_links_whose_session_has_ended_or_whose_account_is_disabled(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (ended, _) = session(&store, &ada).await;
    store.end_session(ended, at(1)).await.unwrap();
    let (lasts, _) = session(&store, &ada).await;
    let eve = person(&store, "eve@example.com").await;
    let (eves, _) = session(&store, &eve).await;
    let token = token();
    let new = NewOneTime { account: None, ..one_time(&token, OneTimePurpose::LinkIdentity, ada.id, "") };
    store.keep_one_time(&new).await.unwrap();
    let (shown, notice) = (shown(&token, OneTimePurpose::LinkIdentity), mail("ada@example.com", false));
    let link = async |session| store.link_identity(&shown, (ada.id, session), THERE, &notice, at(2)).await.unwrap();
    assert!(!link(ended).await && !link(eves).await);
    let status = |status| AccountChange { status: Some(status), ..AccountChange::default() };
    store.change_account(ada.id, status(Status::Disabled), at(2)).await.unwrap();
    assert!(!link(lasts).await);
    store.change_account(ada.id, status(Status::Active), at(2)).await.unwrap();
    let (lasts, _) = session(&store, &store.account(ada.id).await.unwrap().unwrap()).await;
    assert!(link(lasts).await, "nothing of this has used the token up");
    assert!(!link(lasts).await, "once");
}

/// What an issuer was allowed to link on its own word is no way in by a browser until the owner agrees; what was made for it is.
async fn who_was_linked_without_being_asked_may_agree_later(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (here, _) = session(&store, &ada).await;
    let id = ExternalId::of(THERE.issuer, THERE.subject);
    let subject = ExternalSubject { issuer: THERE.issuer, subject: THERE.subject, claims_at: None };
    store.link_external(ada.id, None, subject, None, at(5)).await.unwrap();
    assert!(!store.is_agreed(id).await.unwrap());
    let (token, notice) = (token(), mail("ada@example.com", false));
    store.keep_one_time(&one_time(&token, OneTimePurpose::LinkIdentity, ada.id, "")).await.unwrap();
    let shown = shown(&token, OneTimePurpose::LinkIdentity);
    assert!(store.link_identity(&shown, (ada.id, here), THERE, &notice, at(6)).await.unwrap());
    assert!(store.is_agreed(id).await.unwrap());
    let made = ExternalSubject { subject: "eve", ..subject };
    let eve = Email::parse("eve@example.com").unwrap();
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &eve,
        password_hash: hash("none"),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: true,
        kind: store::AccountKind::Person,
        tenant: store::Belonging::FoundsOwn,
        now: at(5),
    };
    store.create_external(new, made).await.unwrap();
    assert!(store.is_agreed(ExternalId::of(THERE.issuer, "eve")).await.unwrap());
}

async fn who_is_let_go_of_brings_no_second_factor_any_more(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    let (here, _) = session(&store, &ada).await;
    let subject = ExternalSubject { issuer: THERE.issuer, subject: THERE.subject, claims_at: None };
    store.link_external(ada.id, None, subject, None, at(0)).await.unwrap();
    let token = token();
    store.keep_one_time(&one_time(&token, OneTimePurpose::SecondFactor, ada.id, "ada@example.com")).await.unwrap();
    let shown = shown(&token, OneTimePurpose::SecondFactor);
    assert!(store.look_at(&shown, at(1)).await.unwrap().is_some());
    let (id, notice) = (ExternalId::of(THERE.issuer, THERE.subject), mail("ada@example.com", false));
    let believed = Believed { providers: &[THERE.issuer], issuers: &[] };
    store.unlink_identity((ada.id, here), id, believed, &notice, at(1)).await.unwrap();
    assert!(store.look_at(&shown, at(1)).await.unwrap().is_none());
}

fn to_join<'a>(tenant: TenantId, email: &'a Email, role: TenantRole, by: &Account) -> NewInvitation<'a> {
    NewInvitation { tenant, email, role, by: by.id, most: 9, now: at(0), expires_at: at(100) }
}

/// Who has founded an organisation, with nobody's address confirmed, and let somebody else into it.
async fn founder(database: &Database, store: &Store, other: Option<(&str, TenantRole)>) -> (Account, TenantId) {
    let address = Email::parse("ada@example.com").unwrap();
    let ada = store.create_account(NewAccount { tenant: Belonging::FoundsOwn, ..newcomer(&address) }).await.unwrap();
    assert!(!ada.is_verified);
    let tenant = ada.tenant.unwrap().tenant;
    if let Some((email, role)) = other {
        let (other, address) = (person(store, email).await, Email::parse(email).unwrap());
        database.confirm(email).await;
        let invitation = store.invite_member(to_join(tenant, &address, role, &ada)).await.unwrap();
        store.answer_invitation(other.id, invitation.id, true, at(0)).await.unwrap();
    }
    (ada, tenant)
}

async fn what_an_owner_finds_in_the_account_of_others_is_gone(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = founder(database, &store, Some(("mallory@example.com", TenantRole::Owner))).await;
    let later = Email::parse("later@example.com").unwrap();
    let open = store.invite_member(to_join(tenant, &later, TenantRole::Admin, &ada)).await.unwrap();
    let seal = integrations::seal();
    integrations::make(&store, &seal, IntegrationOwner::Account(ada.id), "openai", "sk-of-mallory").await;
    let subject = ExternalSubject { issuer: "them", subject: "mallory", claims_at: None };
    store.link_external(ada.id, None, subject, None, at(0)).await.unwrap();
    let (token, wish) = (token(), mail("ada@example.com", true));
    store.ask_for_email(ada.id, &wish, &mail("ada@example.com", false)).await.unwrap();
    let new = one_time(&token, OneTimePurpose::ResetPassword, ada.id, "ada@example.com");
    store.grant_wish_with(wish.id, &mail("ada@example.com", false), anyway(), &new).await.unwrap();
    let shown = shown(&token, OneTimePurpose::ResetPassword);
    let confirmed = Confirmed { from_role: "unverified", to_role: "user", no_password: &NO_PASSWORD };
    let (notice, before) = (mail("ada@example.com", false), heard(&store).await.len());
    let owner = store.reset_password(&shown, hash("new"), confirmed, &notice, at(1)).await.unwrap().unwrap();
    assert!(store.identities(ada.id).await.unwrap().is_empty());

    let told = heard(&store).await.split_off(before);
    for subject in [Subject::Account(ada.id), Subject::Integrations(ada.id.uuid()), Subject::Tenant(tenant)] {
        assert!(told.contains(&subject), "{subject:?}");
    }
    let home = owner.tenant.unwrap().tenant;
    assert_eq!(store.role_in(tenant, ada.id).await.unwrap(), None);
    let members = store.list_members(home, None, 9).await.unwrap().items;
    assert_eq!(members.iter().map(|member| member.account).collect::<Vec<_>>(), [ada.id]);
    assert_eq!(store.list_integrations(&seal, (ada.id, Some(home)), None, 9).await.unwrap().items, []);
    let late = person(&store, "later@example.com").await;
    database.confirm("later@example.com").await;
    let answered = store.answer_invitation(late.id, open.id, true, at(2)).await;
    assert!(matches!(answered, Err(StoreError::NotFound)), "{answered:?}");
}

/// As an issuer does whose word for addresses is not believed, where `tenants` says that its people join.
async fn who_was_put_into_an_organisation_by_the_operator_stays_there(database: &Database) {
    let store = database.open().await;
    let boss = person(&store, "boss@example.com").await;
    let work = store.create_tenant("Work", boss.id, 9, at(0)).await.unwrap().id;
    let address = Email::parse("ada@example.com").unwrap();
    let new = NewAccount { tenant: Belonging::Joins(work), now: at(1), ..newcomer(&address) };
    let subject = ExternalSubject { issuer: "them", subject: "ada", claims_at: None };
    let ada = store.create_external(new, subject).await.unwrap();
    assert_eq!((ada.is_verified, ada.tenant.as_ref().map(|home| home.tenant)), (false, Some(work)));
    let token = token();
    store.keep_one_time(&one_time(&token, OneTimePurpose::ResetPassword, ada.id, "ada@example.com")).await.unwrap();
    let shown = shown(&token, OneTimePurpose::ResetPassword);
    let confirmed = Confirmed { from_role: "unverified", to_role: "user", no_password: &NO_PASSWORD };
    let owner = store.reset_password(&shown, hash("new"), confirmed, &notice(), at(2)).await.unwrap().unwrap();
    assert_eq!(owner.tenant.map(|home| home.tenant), Some(work));
    assert_eq!(store.role_in(work, ada.id).await.unwrap(), Some(TenantRole::Member));
    assert!(store.identities(ada.id).await.unwrap().is_empty(), "the issuer's no longer");
}

async fn whoever_takes_an_account_over_leaves_no_organisation_to_itself(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = founder(database, &store, Some(("bob@example.com", TenantRole::Admin))).await;
    assert!(store.take_over_unconfirmed(ada.id, WayIn::Password(hash("own")), "admin", at(1)).await.unwrap());
    assert_eq!(store.role_in(tenant, ada.id).await.unwrap(), Some(TenantRole::Owner));
    let home = store.account(ada.id).await.unwrap().unwrap().tenant.unwrap();
    assert_ne!(home.tenant, tenant, "nobody begins among those whom somebody else has let in");
    assert_eq!(home.role, TenantRole::Owner);
}

async fn an_organisation_that_is_nobody_elses_is_taken_over_without_its_keys_at_providers(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = founder(database, &store, None).await;
    let seal = integrations::seal();
    integrations::make(&store, &seal, IntegrationOwner::Tenant(tenant), "openai", "sk-of-mallory").await;
    let before = heard(&store).await.len();
    assert!(store.take_over_unconfirmed(ada.id, WayIn::Password(hash("own")), "admin", at(1)).await.unwrap());
    assert!(heard(&store).await.split_off(before).contains(&Subject::Integrations(tenant.uuid())));
    assert_eq!(store.account(ada.id).await.unwrap().unwrap().tenant.unwrap().tenant, tenant);
    assert_eq!(store.list_integrations(&seal, (ada.id, Some(tenant)), None, 9).await.unwrap().items, []);
}

async fn a_session_is_as_old_as_it_is_said_to_be_and_never_younger_than_now(database: &Database) {
    let store = database.open().await;
    let ada = person(&store, "ada@example.com").await;
    for (seen, kept) in [
        (Seen::Now, Some(at(50))),
        (Seen::At(at(20)), Some(at(20))),
        (Seen::At(at(90)), Some(at(50))),
        (Seen::Unknown, None),
    ] {
        let (id, refresh) = (SessionId::new(Uuid::now_v7()), RefreshToken::generate(Uuid::now_v7(), &mut rand::rng()));
        let proof = Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: at(100) };
        let origin = Origin { amr: Some("fed"), seen, ..Origin::default() };
        store.open_session(NewSession { id, account: &ada, proof, now: at(50), origin }).await.unwrap();
        assert_eq!(store.authentication(id).await.unwrap(), Some((kept, "fed".to_owned())), "{seen:?}");
    }
}
