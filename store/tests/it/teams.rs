//! Teams and domains: whose they are, what cannot lie in what, and who leaves them.

use identity::{AccountId, Email, TenantId};
use store::{
    Account, Belonging, DomainChange, DomainSeed, NewAccount, NewDomain, NewTeam, Store, StoreError, Subject,
    TeamChange, TeamSeed, TenantSeed,
};
use uuid::Uuid;

use crate::engines::{Database, at, hash, heard, on_both_engines};

on_both_engines!(
    a_new_tenant_begins_with_the_seed_and_its_founder_is_in_the_first_team,
    names_and_keys_are_a_tenants_once_however_they_are_written,
    nothing_of_another_tenant_is_there,
    only_members_are_assigned_and_whoever_leaves_is_assigned_no_longer,
    a_domain_never_lies_within_itself,
    domains_that_move_at_once_make_no_circle,
    what_is_in_use_is_deleted_only_if_that_is_meant,
    pages_hold_every_team_once,
    a_page_of_accounts_is_told_with_the_groups_of_each,
);

async fn of(store: &Store, email: &str, tenant: Belonging<'_>) -> Account {
    let email = Email::parse(email).unwrap();
    let new = NewAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: &email,
        password_hash: hash("a hash"),
        name: None,
        role: "user",
        tier: "free",
        has_own_tier: false,
        is_verified: false,
        kind: store::AccountKind::Person,
        tenant,
        now: at(0),
    };
    store.create_account(new).await.unwrap()
}

/// Somebody who founds a tenant, and the tenant.
async fn founder(store: &Store, email: &str) -> (AccountId, TenantId) {
    let account = of(store, email, Belonging::FoundsOwn).await;
    (account.id, account.tenant.unwrap().tenant)
}

fn team(name: &str) -> NewTeam {
    NewTeam { name: name.to_owned(), external_ref: None, is_active: true }
}

fn domain(key: &str, parent: Option<Uuid>) -> NewDomain {
    NewDomain { key: key.to_owned(), name: key.to_owned(), parent, is_active: true }
}

fn into(parent: Option<Uuid>) -> DomainChange {
    DomainChange { parent: Some(parent), ..DomainChange::default() }
}

async fn a_new_tenant_begins_with_the_seed_and_its_founder_is_in_the_first_team(database: &Database) {
    let store = database.open().await;
    let team = |name: &str| TeamSeed { name: name.to_owned(), external_ref: None };
    let domain = |key: &str, parent| DomainSeed { key: key.to_owned(), name: key.to_owned(), parent };
    let (teams, domains) = (vec![team("General"), team("Design")], vec![domain("it", None), domain("web", Some(0))]);
    store.seed_new_tenants(TenantSeed { teams, domains });
    let (ada, tenant) = founder(&store, "ada@example.com").await;
    let groups = store.groups_of(tenant, ada).await.unwrap();
    let own: Vec<_> = groups.teams.iter().map(|team| (team.name.as_str(), team.role.as_deref())).collect();
    assert_eq!(own, [("General", Some("owner"))]);
    assert_eq!(groups.domains, []);
    let all = store.list_teams(tenant, ada, None, 10).await.unwrap().items;
    let all: Vec<_> = all.iter().map(|team| (team.name.as_str(), team.role.as_deref())).collect();
    assert_eq!(all, [("General", Some("owner")), ("Design", None)]);
    let domains = store.list_domains(tenant, None, 10).await.unwrap().items;
    assert_eq!((domains[0].key.as_str(), domains[1].parent_domain_id), ("it", Some(domains[0].id)));
    // Whoever joins is in none, and another tenant has its own.
    let bob = of(&store, "bob@example.com", Belonging::Joins(tenant)).await;
    assert_eq!(store.groups_of(tenant, bob.id).await.unwrap(), store::Groups::default());
    let second = store.create_tenant("Second", ada, 10, at(1)).await.unwrap().id;
    let seconds = store.teams_of(second, ada, None, 10).await.unwrap().items;
    assert_eq!((seconds.len(), seconds[0].name.as_str(), seconds[0].role.as_deref()), (1, "General", Some("owner")));
    assert_ne!(seconds[0].id, groups.teams[0].id);
}

async fn names_and_keys_are_a_tenants_once_however_they_are_written(database: &Database) {
    let store = database.open().await;
    let (_, first) = founder(&store, "ada@example.com").await;
    let (_, second) = founder(&store, "bob@example.com").await;
    let made = store.create_team(first, team("Straße"), at(1)).await.unwrap();
    for same in ["Straße", "STRASSE", "ｓtraße"] {
        let again = store.create_team(first, team(same), at(1)).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{same}: {again:?}");
    }
    store.create_team(second, team("Strasse"), at(1)).await.unwrap();
    let other = store.create_team(first, team("Other"), at(1)).await.unwrap();
    let rename = |name: &str| TeamChange { name: Some(name.to_owned()), ..TeamChange::default() };
    let taken = store.change_team(first, other.id, rename("strasse"), at(1)).await;
    assert!(matches!(taken, Err(StoreError::Conflict(_))), "{taken:?}");
    store.change_team(first, made.id, rename("STRASSE"), at(1)).await.unwrap();

    store.create_domain(first, domain("sales", None), at(1)).await.unwrap();
    let again = store.create_domain(first, domain("SALES", None), at(1)).await;
    assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    store.create_domain(second, domain("SALES", None), at(1)).await.unwrap();
}

async fn nothing_of_another_tenant_is_there(database: &Database) {
    let store = database.open().await;
    let (ada, first) = founder(&store, "ada@example.com").await;
    let (eve, second) = founder(&store, "eve@example.com").await;
    let made = store.create_team(first, team("A"), at(1)).await.unwrap();
    let within = store.create_domain(first, domain("a", None), at(1)).await.unwrap();
    let missing = |done: Result<(), StoreError>| assert!(matches!(done, Err(StoreError::NotFound)), "{done:?}");
    assert_eq!(store.team(second, eve, made.id).await.unwrap(), None);
    assert_eq!(store.domain(second, within.id).await.unwrap(), None);
    assert_eq!(store.list_teams(second, eve, None, 10).await.unwrap().items, []);
    missing(
        store.change_team(second, made.id, TeamChange { is_active: Some(false), ..TeamChange::default() }, at(1)).await,
    );
    missing(store.delete_team(second, made.id, true, at(1)).await);
    missing(store.list_team_members(second, made.id, None, 10).await.map(drop));
    missing(store.add_team_member(second, made.id, eve, "member", at(1)).await);
    missing(store.remove_team_member(second, made.id, ada, at(1)).await);
    missing(store.change_domain(second, within.id, into(None), at(1)).await);
    missing(store.delete_domain(second, within.id, true, at(1)).await);
    missing(store.add_domain_member(second, within.id, eve, at(1)).await);
    missing(store.list_domain_members(second, within.id, None, 10).await.map(drop));
    // Neither does a domain lie within one of another tenant.
    let below = store.create_domain(second, domain("b", Some(within.id)), at(1)).await;
    assert!(matches!(below, Err(StoreError::Conflict(_))), "{below:?}");
    let own = store.create_domain(second, domain("b", None), at(1)).await.unwrap();
    let below = store.change_domain(second, own.id, into(Some(within.id)), at(1)).await;
    assert!(matches!(below, Err(StoreError::Conflict(_))), "{below:?}");
}

async fn only_members_are_assigned_and_whoever_leaves_is_assigned_no_longer(database: &Database) {
    let store = database.open().await;
    let (_, first) = founder(&store, "ada@example.com").await;
    let (eve, _) = founder(&store, "eve@example.com").await;
    let bob = of(&store, "bob@example.com", Belonging::Joins(first)).await.id;
    let made = store.create_team(first, team("A"), at(1)).await.unwrap();
    let within = store.create_domain(first, domain("a", None), at(1)).await.unwrap();
    for foreign in [
        store.add_team_member(first, made.id, eve, "member", at(1)).await,
        store.add_domain_member(first, within.id, eve, at(1)).await,
    ] {
        assert!(matches!(foreign, Err(StoreError::NotFound)), "{foreign:?}");
    }
    let before = heard(&store).await.len();
    store.add_team_member(first, made.id, bob, "lead", at(1)).await.unwrap();
    store.add_domain_member(first, within.id, bob, at(1)).await.unwrap();
    assert_eq!(heard(&store).await[before..], [Subject::Account(bob); 2]);
    let before = heard(&store).await.len();
    store.change_team(first, made.id, TeamChange::default(), at(1)).await.unwrap();
    store.change_domain(first, within.id, DomainChange::default(), at(1)).await.unwrap();
    assert_eq!(heard(&store).await[before..], [Subject::Groups(first); 2], "nobody is another one for that");
    let twice = store.add_team_member(first, made.id, bob, "member", at(1)).await;
    assert!(matches!(twice, Err(StoreError::Conflict(_))), "{twice:?}");
    store.change_team_member(first, made.id, bob, "owner", at(1)).await.unwrap();
    let members = store.list_team_members(first, made.id, None, 10).await.unwrap().items;
    assert_eq!((members.len(), members[0].account_id, members[0].role.as_str()), (1, bob.uuid(), "owner"));

    store.remove_member(first, bob, None, at(2)).await.unwrap();
    assert_eq!(store.groups_of(first, bob).await.unwrap(), store::Groups::default());
    assert_eq!(store.list_team_members(first, made.id, None, 10).await.unwrap().items, []);
    assert_eq!(store.list_domain_members(first, within.id, None, 10).await.unwrap().items, []);
}

async fn a_domain_never_lies_within_itself(database: &Database) {
    let store = database.open().await;
    let (_, tenant) = founder(&store, "ada@example.com").await;
    let a = store.create_domain(tenant, domain("a", None), at(1)).await.unwrap().id;
    let b = store.create_domain(tenant, domain("b", Some(a)), at(1)).await.unwrap().id;
    let c = store.create_domain(tenant, domain("c", Some(b)), at(1)).await.unwrap().id;
    for within in [a, b, c] {
        let looped = store.change_domain(tenant, a, into(Some(within)), at(1)).await;
        assert!(matches!(looped, Err(StoreError::Conflict(_))), "{looped:?}");
    }
    store.change_domain(tenant, c, into(Some(a)), at(1)).await.unwrap();
    store.change_domain(tenant, b, into(Some(c)), at(1)).await.unwrap();
    store.change_domain(tenant, b, into(None), at(1)).await.unwrap();
    store.change_domain(tenant, a, into(Some(b)), at(1)).await.unwrap();
}

async fn domains_that_move_at_once_make_no_circle(database: &Database) {
    let store = database.open().await;
    let (_, tenant) = founder(&store, "ada@example.com").await;
    for round in 0..8 {
        let make = async |key: String| store.create_domain(tenant, domain(&key, None), at(1)).await.unwrap().id;
        let (a, b) = (make(format!("a{round}")).await, make(format!("b{round}")).await);
        let moves = [(a, b), (b, a)].map(|(moved, to)| {
            let store = store.clone();
            tokio::spawn(async move { store.change_domain(tenant, moved, into(Some(to)), at(1)).await })
        });
        let mut done = 0;
        for moved in moves {
            done += usize::from(moved.await.unwrap().is_ok());
        }
        assert_eq!(done, 1, "one of them finds the other one done");
    }
}

async fn what_is_in_use_is_deleted_only_if_that_is_meant(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = founder(&store, "ada@example.com").await;
    let made = store.create_team(tenant, team("A"), at(1)).await.unwrap().id;
    store.add_team_member(tenant, made, ada, "member", at(1)).await.unwrap();
    let kept = store.delete_team(tenant, made, false, at(1)).await;
    assert!(matches!(kept, Err(StoreError::Conflict(_))), "{kept:?}");
    store.delete_team(tenant, made, true, at(1)).await.unwrap();
    let empty = store.create_team(tenant, team("A"), at(1)).await.unwrap().id;
    store.delete_team(tenant, empty, false, at(1)).await.unwrap();

    let a = store.create_domain(tenant, domain("a", None), at(1)).await.unwrap().id;
    let b = store.create_domain(tenant, domain("b", Some(a)), at(1)).await.unwrap().id;
    let c = store.create_domain(tenant, domain("c", Some(b)), at(1)).await.unwrap().id;
    let apart = store.create_domain(tenant, domain("d", None), at(1)).await.unwrap().id;
    store.add_domain_member(tenant, c, ada, at(1)).await.unwrap();
    for id in [a, c] {
        let kept = store.delete_domain(tenant, id, false, at(1)).await;
        assert!(matches!(kept, Err(StoreError::Conflict(_))), "{kept:?}");
    }
    store.delete_domain(tenant, a, true, at(1)).await.unwrap();
    let left: Vec<_> =
        store.list_domains(tenant, None, 10).await.unwrap().items.iter().map(|domain| domain.id).collect();
    assert_eq!(left, [apart]);
    store.delete_tenant(tenant, None, at(2)).await.unwrap();
    assert_eq!(store.list_domains(tenant, None, 10).await.unwrap().items, []);
}

async fn pages_hold_every_team_once(database: &Database) {
    let store = database.open().await;
    let (ada, tenant) = founder(&store, "ada@example.com").await;
    for number in 0..7 {
        let made = store.create_team(tenant, team(&format!("T{number}")), at(1)).await.unwrap().id;
        if number % 2 == 0 {
            store.add_team_member(tenant, made, ada, "member", at(1)).await.unwrap();
        }
    }
    let (mut all, mut own, mut after) = (Vec::new(), Vec::new(), None);
    for is_own in [false, true] {
        loop {
            let page = if is_own {
                store.teams_of(tenant, ada, after, 3).await.unwrap()
            } else {
                store.list_teams(tenant, ada, after, 3).await.unwrap()
            };
            let names = page.items.into_iter().map(|team| team.name);
            if is_own {
                own.extend(names);
            } else {
                all.extend(names);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    assert_eq!(all, ["T0", "T1", "T2", "T3", "T4", "T5", "T6"]);
    assert_eq!(own, ["T0", "T2", "T4", "T6"]);
}

/// Whatever is a tenant's is behind row-level security, also what somebody adds later.
#[tokio::test]
async fn every_table_of_what_tenants_own_is_behind_row_level_security() {
    const OPEN: &str = "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
        WHERE c.relnamespace = 'portcullis'::regnamespace AND c.relkind = 'r' AND a.attname = 'tenant_id' AND (a.attnotnull OR c.relname = 'integrations') \
        AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid \
        AND p.polname = 'of_tenant'))";
    // In other words than those of `teams`, whose rows are counted below; of what may be the platform's as well, in these and more.
    const OTHERS: &str = "SELECT c.relname::text FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid, \
        (SELECT pg_get_expr(polqual, polrelid) AS words FROM pg_policy WHERE polname = 'of_tenant' \
        AND polrelid = 'portcullis.teams'::regclass) same WHERE c.relnamespace = 'portcullis'::regnamespace AND p.polname = 'of_tenant' \
        AND pg_get_expr(p.polqual, p.polrelid) NOT IN (words, '((tenant_id IS NULL) OR' || words || ')', \
        '((COALESCE(current_setting(''portcullis.tenant''::text, true), ''''::text) = ''''::text) OR \
        (COALESCE(current_setting(''portcullis.tenant''::text, true), ''''::text) = (tenant_id)::text))')";
    const SEEN: &str = "SELECT (SELECT COUNT(*) FROM teams), (SELECT COUNT(*) FROM domains)";
    let database = Database::postgres().await;
    let store = database.open().await;
    for wrong in [OPEN, OTHERS] {
        assert_eq!(database.rows::<(String,)>(wrong, "").await, []);
    }
    let (_, first) = founder(&store, "ada@example.com").await;
    let (_, second) = founder(&store, "bob@example.com").await;
    for tenant in [first, second] {
        store.create_team(tenant, team("A"), at(1)).await.unwrap();
        store.create_domain(tenant, domain("a", None), at(1)).await.unwrap();
    }
    // Roles are the server's, which tests share.
    let role = format!("reader_{}", Uuid::new_v4().simple());
    database.run_beside(&format!("CREATE ROLE {role}; GRANT USAGE ON SCHEMA portcullis TO {role}")).await;
    database.run_beside(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA portcullis TO {role}")).await;
    let mut beside = database.beside().await;
    let seen = async |beside: &mut sqlx::PgConnection, scope: &str| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET ROLE {role}; SET portcullis.tenant = '{scope}'")))
            .execute(&mut *beside)
            .await
            .unwrap();
        sqlx::query_as::<_, (i64, i64)>(SEEN).fetch_one(beside).await.unwrap()
    };
    assert_eq!(seen(&mut beside, &first.to_string()).await, (1, 1));
    assert_eq!(seen(&mut beside, &Uuid::nil().to_string()).await, (0, 0));
    assert_eq!(seen(&mut beside, "").await, (2, 2));
}

async fn a_page_of_accounts_is_told_with_the_groups_of_each(database: &Database) {
    let store = database.open().await;
    let (ada, first) = founder(&store, "ada@example.com").await;
    let (_, second) = founder(&store, "bob@example.com").await;
    of(&store, "nobody@example.com", Belonging::Nowhere).await;
    let joins = of(&store, "eve@example.com", Belonging::Joins(second)).await.id;
    let (a, b) = (
        store.create_team(first, team("A"), at(1)).await.unwrap(),
        store.create_team(second, team("B"), at(1)).await.unwrap(),
    );
    let within = store.create_domain(second, domain("d", None), at(1)).await.unwrap();
    store.add_team_member(first, a.id, ada, "owner", at(1)).await.unwrap();
    store.add_team_member(second, b.id, joins, "lead", at(1)).await.unwrap();
    store.add_domain_member(second, within.id, joins, at(1)).await.unwrap();
    // Where she belongs too, and does not act.
    store.create_tenant("Third", ada, 10, at(2)).await.unwrap();
    let accounts = store.list_accounts(None, 10).await.unwrap().items;
    let mut each = Vec::new();
    for account in &accounts {
        each.push(match account.tenant {
            Some(membership) => store.groups_of(membership.tenant, account.id).await.unwrap(),
            None => store::Groups::default(),
        });
    }
    assert_eq!(
        each.iter().map(|groups| (groups.teams.len(), groups.domains.len())).collect::<Vec<_>>(),
        [(1, 0), (0, 0), (0, 0), (1, 1)]
    );
    assert_eq!(store.groups_of_page(&accounts).await.unwrap(), each);
    assert_eq!(store.groups_of_page(&accounts[1..]).await.unwrap(), each[1..]);
    assert_eq!(store.groups_of_page(&[]).await.unwrap(), []);
    // Whoever acts elsewhere meanwhile is told nothing of what they have there.
    let mut before = accounts.clone();
    before[0].tenant.as_mut().unwrap().tenant = second;
    assert_eq!(store.groups_of_page(&before).await.unwrap()[0], store::Groups::default());
}
