//! What comes from older systems: everything once, what it refers to before it, and a rehearsal foretells what becomes of each.

use chrono::{DateTime, TimeDelta, Utc};
use identity::{
    AccountId, Email, ExternalId, IntegrationId, MasterKey, ProviderKey, SealKeys, SecretText, TenantId, TenantRole,
};
use store::{
    Audience, BillingMonth,
    ImportOutcome::{Made, Missing, Present, Refused},
    Imported, ImportedAccount, ImportedAgent, ImportedInstance, ImportedIntegration, ImportedStatement, ImportedThing,
    ImportedUsage, NewDomain, NewTeam, Rehearsal, Thing, UsageAsked, UsageBy, WayIn, end_of_month, imported_id,
    statement_id,
};
use uuid::Uuid;

use crate::engines::{Database, at, hash, on_both_engines, rng};

on_both_engines!(
    everything_comes_once_and_a_rehearsal_foretells_it,
    what_refers_to_nothing_is_told_and_foretold,
    an_instance_comes_of_an_agent_of_another_tenants_only_if_everybody_sees_it,
    what_was_used_and_billed_there_is_not_billed_again,
    whoever_comes_by_mail_stays_among_those_with_whom_they_came,
);

fn seal() -> SealKeys {
    SealKeys::new(MasterKey::generate(&mut rng()), Vec::new())
}

fn account(email: &str, id: &str) -> ImportedAccount {
    ImportedAccount {
        id: AccountId::new(Uuid::now_v7()),
        email: Email::parse(email).unwrap(),
        password_hash: hash("a hash"),
        name: None,
        avatar_url: None,
        role: "user".to_owned(),
        tier: "free".to_owned(),
        is_verified: true,
        created_at: at(0),
        there: Some(("old".to_owned(), id.to_owned())),
        system: Some("old".to_owned()),
        address: email.to_owned(),
    }
}

fn id(kind: &str, id: &str) -> Uuid {
    imported_id("old", kind, id)
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(id("tenants", name))
}

fn user(name: &str) -> ExternalId {
    ExternalId::of("old", name)
}

fn usage(name: &str, who: &str, day: DateTime<Utc>) -> ImportedThing {
    let usage = ImportedUsage {
        tenant: tenant("acme"),
        id: id("usage", name),
        user: user(who),
        service: "claude".to_owned(),
        model: "claude-3-opus".to_owned(),
        request_type: "completion".to_owned(),
        tokens: 1500,
        cost: 15_000,
    };
    ImportedThing { thing: Thing::Usage(usage), created_at: day }
}

fn statement(name: &str, of: &str, month: &str) -> ImportedThing {
    let closed_at = end_of_month(month).unwrap();
    let statement = ImportedStatement {
        tenant: tenant(of),
        id: statement_id("old", name, closed_at),
        month: month.to_owned(),
        tier: "pro".to_owned(),
        currency: "USD".to_owned(),
        price: 99_000_000,
        usage: 15_000,
        requests: 1,
        tokens: 1500,
        status: "paid".to_owned(),
        due_at: closed_at,
        paid_at: Some(closed_at),
    };
    ImportedThing { thing: Thing::Statement(statement), created_at: closed_at }
}

fn thing(thing: Thing) -> ImportedThing {
    ImportedThing { thing, created_at: at(0) }
}

/// Ada's, in the order of their files.
fn everything() -> Vec<ImportedThing> {
    let (acme, ada) = (tenant("acme"), user("ada"));
    let team = NewTeam { name: "Core".to_owned(), external_ref: None, is_active: true };
    let domain = |key: &str, parent| NewDomain { key: key.to_owned(), name: key.to_owned(), parent, is_active: true };
    let instance = ImportedInstance {
        tenant: acme,
        id: id("agent_instances", "1"),
        agent: id("agents", "1"),
        user: ada,
        name: "Mine".to_owned(),
        config: SecretText::from("{}".to_owned()),
    };
    let agent = ImportedAgent {
        tenant: acme,
        id: id("agents", "1"),
        developer: Some(ada),
        name: "Helper".to_owned(),
        description: String::new(),
        audience: Audience::Tenant,
    };
    let integration = ImportedIntegration {
        id: IntegrationId::new(id("integrations", "1")),
        user: ada,
        service: "claude".to_owned(),
        name: None,
        key: ProviderKey::parse("sk-ant-0123456789").unwrap(),
        is_active: true,
    };
    let mut things: Vec<ImportedThing> = [
        Thing::Tenant { id: acme, name: "Acme".to_owned(), tier: Some("pro".to_owned()), is_active: true },
        Thing::Member { tenant: acme, user: ada, role: TenantRole::Owner },
        Thing::Team { tenant: acme, id: id("teams", "1"), team },
        Thing::TeamMember { tenant: acme, team: id("teams", "1"), user: ada, role: "lead".to_owned() },
        Thing::Domain { tenant: acme, id: id("domains", "1"), domain: domain("a", None) },
        Thing::Domain { tenant: acme, id: id("domains", "2"), domain: domain("b", Some(id("domains", "1"))) },
        Thing::DomainMember { tenant: acme, domain: id("domains", "2"), user: ada },
        Thing::Agent(agent),
        Thing::Instance(instance),
        Thing::Integration(integration),
    ]
    .map(thing)
    .into();
    things.extend([usage("1", "ada", at(0)), statement("1", "acme", "2026-08")]);
    things
}

async fn everything_comes_once_and_a_rehearsal_foretells_it(database: &Database) {
    let (store, seal, things) = (database.open().await, seal(), everything());
    let accounts = [account("ada@example.com", "ada"), account("ADA@example.com", "again")];
    let mut rehearsal = Rehearsal::default();
    let foretold = store.rehearse_accounts(&accounts, &mut rehearsal).await.unwrap();
    assert_eq!(foretold, [Imported::Made, Imported::Present]);
    assert_eq!(store.rehearse_things(&things, &mut rehearsal).await.unwrap(), vec![Made; things.len()]);
    assert_eq!(store.rehearse_things(&things, &mut rehearsal).await.unwrap(), vec![Present; things.len()]);
    assert_eq!(store.tenant(tenant("acme")).await.unwrap(), None, "nothing was made");

    assert_eq!(store.import_accounts(&accounts, at(1)).await.unwrap(), foretold);
    assert_eq!(store.import_things(&seal, &things, at(1)).await.unwrap(), vec![Made; things.len()]);
    assert_eq!(store.import_things(&seal, &things, at(2)).await.unwrap(), vec![Present; things.len()]);
    let mut rehearsal = Rehearsal::default();
    assert_eq!(store.rehearse_accounts(&accounts, &mut rehearsal).await.unwrap(), [Imported::Present; 2]);
    assert_eq!(store.rehearse_things(&things, &mut rehearsal).await.unwrap(), vec![Present; things.len()]);
    // Another one of that id, and an address that is somebody else's.
    let taken = [account("bob@example.com", "ada")];
    assert_eq!(store.rehearse_accounts(&taken, &mut rehearsal).await.unwrap(), [Imported::OtherAccount]);
    assert_eq!(store.import_accounts(&taken, at(3)).await.unwrap(), [Imported::OtherAccount]);
}

async fn what_refers_to_nothing_is_told_and_foretold(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    store.import_accounts(&[account("ada@example.com", "ada")], at(1)).await.unwrap();
    let all = everything();
    let no_tenant = Missing("its tenant is not here");
    let expected = [
        no_tenant,
        no_tenant,
        Missing("its team is not here"),
        no_tenant,
        Missing("its domain is not here"),
        no_tenant,
        Missing("its agent is not here"),
        no_tenant,
        no_tenant,
    ];
    let lost: Vec<ImportedThing> = [1, 2, 3, 4, 6, 7, 8, 10, 11].map(|place| all[place].clone()).into();
    assert_eq!(store.rehearse_things(&lost, &mut Rehearsal::default()).await.unwrap(), expected);
    assert_eq!(store.import_things(&seal, &lost, at(2)).await.unwrap(), expected);
    store.import_things(&seal, &all[..1], at(2)).await.unwrap();
    let (no_user, no_member) =
        ("no account here was imported with the id that `user_id` says", "the user is no member of the tenant");
    let wrong = [usage("9", "nobody", at(0)), all[7].clone()];
    let expected = [Missing(no_user), Missing(no_member)];
    assert_eq!(store.rehearse_things(&wrong, &mut Rehearsal::default()).await.unwrap(), expected);
    assert_eq!(store.import_things(&seal, &wrong, at(2)).await.unwrap(), expected);
}

async fn an_instance_comes_of_an_agent_of_another_tenants_only_if_everybody_sees_it(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    store
        .import_accounts(&[account("ada@example.com", "ada"), account("bob@example.com", "bob")], at(1))
        .await
        .unwrap();
    let agent = |name: &str, audience| {
        let (name, description) = (name.to_owned(), String::new());
        let id = id("agents", &name);
        Thing::Agent(ImportedAgent { tenant: tenant("acme"), id, developer: None, name, description, audience })
    };
    let instance = |name: &str| {
        let (name, config) = (name.to_owned(), SecretText::from("{}".to_owned()));
        let (agent, id) = (id("agents", &name), id("agent_instances", &name));
        Thing::Instance(ImportedInstance { tenant: tenant("bolt"), id, agent, user: user("bob"), name, config })
    };
    let founded = |name: &str| Thing::Tenant { id: tenant(name), name: name.to_owned(), tier: None, is_active: true };
    let things = [
        founded("acme"),
        founded("bolt"),
        Thing::Member { tenant: tenant("bolt"), user: user("bob"), role: TenantRole::Owner },
        agent("all", Audience::Platform),
        agent("few", Audience::Tenant),
        instance("all"),
        instance("few"),
    ]
    .map(thing);
    let expected = [Made, Made, Made, Made, Made, Made, Missing("its agent is not here")];
    assert_eq!(store.rehearse_things(&things, &mut Rehearsal::default()).await.unwrap(), expected);
    assert_eq!(store.import_things(&seal, &things, at(2)).await.unwrap(), expected);
    let expected = [Present, Present, Present, Present, Present, Present, Missing("its agent is not here")];
    assert_eq!(store.import_things(&seal, &things, at(3)).await.unwrap(), expected);
    assert!(store.instance(tenant("bolt"), id("agent_instances", "all")).await.unwrap().is_some());
    assert!(store.agent(tenant("bolt"), id("agents", "all")).await.unwrap().is_some_and(|agent| agent.on_platform));
}

/// An import without passwords sends everybody for a new one.
async fn whoever_comes_by_mail_stays_among_those_with_whom_they_came(database: &Database) {
    let (store, seal) = (database.open().await, seal());
    let unconfirmed = |email: &str, id: &str| ImportedAccount { is_verified: false, ..account(email, id) };
    let both = [unconfirmed("ada@example.com", "ada"), unconfirmed("bob@example.com", "bob")];
    store.import_accounts(&both, at(1)).await.unwrap();
    let member = |name: &str, role| Thing::Member { tenant: tenant("acme"), user: user(name), role };
    let acme = Thing::Tenant { id: tenant("acme"), name: "Acme".to_owned(), tier: None, is_active: true };
    let things = [acme, member("ada", TenantRole::Member), member("bob", TenantRole::Owner)].map(thing);
    assert_eq!(store.import_things(&seal, &things, at(1)).await.unwrap(), [Made, Made, Made]);
    let ada = store.account_by_address("ada@example.com").await.unwrap().unwrap();
    assert!(store.take_over_unconfirmed(ada.id, WayIn::Password(hash("own")), "user", at(2)).await.unwrap());
    let home = store.account(ada.id).await.unwrap().unwrap().tenant.unwrap();
    assert_eq!((home.tenant, home.role), (tenant("acme"), TenantRole::Member));
}

async fn what_was_used_and_billed_there_is_not_billed_again(database: &Database) {
    let (store, seal, things) = (database.open().await, seal(), everything());
    store.import_accounts(&[account("ada@example.com", "ada")], at(1)).await.unwrap();
    store.import_things(&seal, &things, at(1)).await.unwrap();
    let august = end_of_month("2026-08").unwrap() - TimeDelta::days(3);
    let more = [usage("2", "ada", august), usage("3", "ada", august), usage("3", "ada", august)];
    assert_eq!(store.import_things(&seal, &more, at(1)).await.unwrap(), [Made, Made, Present]);
    let asked = UsageAsked {
        tenant: Some(tenant("acme")),
        account: None,
        days: ("0000".to_owned(), "9999".to_owned()),
        by: vec![UsageBy::Service, UsageBy::Model, UsageBy::RequestType],
        after: None,
        limit: 9,
        most_rows: 100,
    };
    let totals = store.usage(&asked).await.unwrap().totals;
    assert_eq!(totals.len(), 1);
    assert_eq!(totals[0].of, ["claude", "claude-3-opus", "completion"]);
    assert_eq!((totals[0].requests, totals[0].tokens, totals[0].cost), (3, 4500, 45_000));
    let months: Vec<(String, i64, i64)> = database
        .rows(
            "SELECT month, cost, billed FROM portcullis.usage_months ORDER BY month",
            "SELECT month, cost, billed FROM usage_months ORDER BY month",
        )
        .await;
    assert_eq!(months, [("2026-08".to_owned(), 30_000, 30_000), ("2026-09".to_owned(), 15_000, 0)]);
    // The month has its statement, which stays what it is; the one before has none.
    let ends = end_of_month("2026-08").unwrap();
    let august = BillingMonth { name: "2026-08".to_owned(), begins: end_of_month("2026-07").unwrap(), ends };
    assert_eq!(store.unbilled(&august, Uuid::nil(), 9).await.unwrap(), []);
    let other = [statement("2", "acme", "2026-08"), statement("0", "acme", "2026-07")];
    let outcomes = store.import_things(&seal, &other, at(1)).await.unwrap();
    assert_eq!(outcomes, [Refused("the tenant has another statement of this month"), Made]);
    let page = store.list_statements(Some(tenant("acme")), None, 9).await.unwrap();
    let listed: Vec<_> = page.items.iter().map(|statement| (&*statement.month, &*statement.status)).collect();
    assert_eq!(listed, [("2026-07", "paid"), ("2026-08", "paid")], "in the order in which they were closed");
}
