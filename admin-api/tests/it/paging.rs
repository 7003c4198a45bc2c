//! Every list is followed by its cursor to its end, and shows each thing once and in the order of the whole. A list that is added fails here
//! until it is tried.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use identity::{AccountId, TenantId};
use serde_json::{Value, json};

use crate::{
    house::{Answer, House, Person, Shown},
    idor::joined,
};

/// Items of each list, at least: more than two pages.
const THINGS: usize = 5;

/// Those that [`crate::lists`] follows.
const FOLLOWED_THERE: [&str; 6] =
    ["/auth/api-keys", "/auth/identities", "/auth/invitations", "/auth/mfa", "/tenants", "/tenants/{id}/invitations"];

/// What is asked for, of the operation that it is of.
struct List {
    operation: &'static str,
    path: String,
}

fn items(page: &Answer) -> Vec<Value> {
    assert_eq!(page.status, 200, "{}", page.body);
    let items = if page.body.is_array() { &page.body } else { &page.body["items"] };
    items.as_array().unwrap_or_else(|| panic!("no list: {}", page.body)).clone()
}

/// Where a page goes on: by `next_cursor`, or, of a plain array, by `Link`.
fn next(page: &Answer, path: &str) -> Option<String> {
    if page.body.is_array() {
        let link = page.headers.get("link")?.to_str().unwrap();
        return link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"").map(str::to_owned);
    }
    let cursor = page.body["next_cursor"].as_str()?;
    Some(format!("{path}&cursor={cursor}"))
}

/// All of a list, two at a time.
async fn followed(house: &House, shown: Shown<'_>, path: &str) -> Vec<Value> {
    let (mut all, mut at) = (Vec::new(), Some(path.to_owned()));
    while let Some(here) = at {
        let page = house.get(&here, shown).await;
        let some = items(&page);
        assert!(!some.is_empty() && some.len() <= 2, "{here}: {}", page.body);
        all.extend(some);
        assert!(all.len() <= 200, "{path} does not end");
        at = next(&page, path);
    }
    all
}

fn id(of: &Value) -> &str {
    of["id"].as_str().unwrap_or_else(|| panic!("no id in {of}"))
}

/// Gives Ada some of everything; where they are listed.
async fn lists(house: &House, ada: &Person, tenant: &str) -> Vec<List> {
    let (mut teams, mut domains, mut agents) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..THINGS {
        teams.push(house.made("/teams", ada.shown(), json!({ "name": format!("Team {n}") })).await);
        domains.push(house.made("/domains", ada.shown(), json!({ "key": format!("domain-{n}") })).await);
        agents.push(house.made("/agents", ada.shown(), json!({ "name": format!("Agent {n}") })).await);
        house
            .made("/agent-instances", ada.shown(), json!({ "agent_id": id(&agents[0]), "name": format!("Mine {n}") }))
            .await;
        house
            .made(
                "/integrations",
                ada.shown(),
                json!({ "service": format!("other-{n}"), "api_key": "sk-0123456789abcdef" }),
            )
            .await;
        house.make_key(ada, json!({ "name": format!("key {n}") })).await;
        house.login("ada@example.com").await;
        let member = joined(house, ada, tenant, &format!("member{n}@example.com")).await;
        let joins = json!({ "account_id": member.id.to_string(), "role": "member" });
        house.made(&format!("/teams/{}/members", id(&teams[0])), ada.shown(), joins).await;
        house
            .made(
                &format!("/domains/{}/members", id(&domains[0])),
                ada.shown(),
                json!({ "account_id": member.id.to_string() }),
            )
            .await;
        charge(house, (tenant.parse().unwrap(), member.id), n).await;
    }
    for (team, domain) in teams.iter().zip(&domains) {
        let own = json!({ "account_id": ada.id.to_string(), "role": "lead" });
        house.made(&format!("/teams/{}/members", id(team)), ada.shown(), own).await;
        house
            .made(&format!("/domains/{}/members", id(domain)), ada.shown(), json!({ "account_id": ada.id.to_string() }))
            .await;
    }
    let list = |operation: &'static str, path: String| List { operation, path };
    let plain = |operation: &'static str| list(operation, operation.to_owned());
    vec![
        plain("/admin/audit"),
        plain("/admin/keys"),
        plain("/admin/sessions"),
        list("/admin/sessions", format!("/admin/sessions?account_id={}", ada.id)),
        plain("/admin/tenants"),
        plain("/admin/users"),
        plain("/agent-instances"),
        plain("/agents"),
        list("/agents", "/agents?mine=true".to_owned()),
        plain("/auth/sessions"),
        plain("/billing/statements"),
        list("/billing/statements", "/billing/statements?tenant_id=all".to_owned()),
        plain("/domains"),
        plain("/domains/all"),
        list("/domains/{id}/members", format!("/domains/{}/members", id(&domains[0]))),
        plain("/integrations"),
        plain("/teams"),
        plain("/teams/all"),
        list("/teams/{id}/members", format!("/teams/{}/members", id(&teams[0]))),
        list("/tenants/{id}/members", format!("/tenants/{tenant}/members")),
        plain("/usage"),
        list("/usage", "/usage?group_by=route,account,day".to_owned()),
    ]
}

/// A statement of a month, and something used on a day.
async fn charge(house: &House, (tenant, account): (TenantId, AccountId), n: usize) {
    let charge = store::Charge {
        tenant,
        name: None,
        month: format!("2026-0{}", n + 1),
        tier: "free".to_owned(),
        currency: "USD".to_owned(),
        price: 1,
        due_at: house.now(),
        now: house.now(),
    };
    house.store.bill(&charge, |_| None).await.unwrap().unwrap();
    let used = store::Used {
        tenant: Some(tenant),
        account,
        key: None,
        at: house.now() - TimeDelta::days(i64::try_from(n).unwrap()),
        route: format!("route-{}", n % 2),
        service: String::new(),
        model: String::new(),
        request_type: String::new(),
        requests: 1,
        tokens: 0,
        cost: 0,
    };
    assert!(house.store.count_batch(uuid::Uuid::now_v7(), &[used], house.now()).await.unwrap());
}

/// The path of each operation of the document that takes a cursor.
async fn documented(house: &House) -> BTreeSet<String> {
    let document = house.get("/openapi.json", Shown::Nothing).await.body;
    let takes = |item: &Value| {
        let parameters = item["get"]["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(|one| one["name"] == "cursor" && one["in"] == "query"))
    };
    let paths = document["paths"].as_object().unwrap().iter().filter(|(_, item)| takes(item));
    paths.map(|(path, _)| path.clone()).collect()
}

#[tokio::test]
async fn every_list_is_followed_to_its_end_and_shows_each_thing_once() {
    let house = House::open().await;
    let ada = house.administrator("ada@example.com").await;
    let tenant = house.tenant_of(&ada).await;
    let lists = lists(&house, &ada, &tenant).await;
    let tried = lists.iter().map(|list| list.operation).chain(FOLLOWED_THERE);
    let tried = tried.map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(documented(&house).await, tried, "a list that is not tried here, or is no more");
    for List { path, .. } in lists {
        let joint = if path.contains('?') { '&' } else { '?' };
        let whole = items(&house.get(&format!("{path}{joint}limit=200"), ada.shown()).await);
        assert!(whole.len() >= THINGS, "{path} shows {} things", whole.len());
        let followed = followed(&house, ada.shown(), &format!("{path}{joint}limit=2")).await;
        assert_eq!(followed, whole, "{path}");
    }
}
