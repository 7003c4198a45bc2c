//! Organisations: founded, joined by whoever is asked, left, and invisible to everybody else.

use serde_json::{Value, json};
use store::{AccountChange, Status, TenantChange};

use crate::house::{Answer, House, Person, Shown};

/// Somebody whose address is confirmed.
async fn confirmed(house: &House, email: &str) -> Person {
    let person = house.register(email).await;
    house.confirm(person.id).await;
    person
}

async fn invite(house: &House, by: &Person, tenant: &str, email: &str, role: &str) -> Answer {
    house.post(&format!("/tenants/{tenant}/members"), by.shown(), json!({ "email": email, "role": role })).await
}

/// Asks somebody, who says yes; the tenant.
async fn join(house: &House, owner: &Person, person: &Person, email: &str, role: &str) -> String {
    let tenant = house.tenant_of(owner).await;
    let asked = invite(house, owner, &tenant, email, role).await;
    assert_eq!(asked.status, 202, "{}", asked.body);
    let accepted = format!("/auth/invitations/{}/accept", asked.text("id"));
    let accepted = house.post(&accepted, person.shown(), Value::Null).await;
    assert_eq!(accepted.status, 200, "{}", accepted.body);
    tenant
}

async fn switch(house: &House, person: &Person, tenant: &str) -> Answer {
    house.post("/auth/switch-tenant", person.shown(), json!({ "tenant_id": tenant })).await
}

#[tokio::test]
async fn everybody_who_registers_answers_for_an_organisation_of_their_own() {
    let house = House::open().await;
    let body = json!({ "email": "ada@example.com", "password": crate::house::PASSWORD, "tenant_name": "Engines" });
    let ada = Person::of(&house.post("/auth/register", Shown::Nothing, body.clone()).await);
    let mut again = body;
    again["email"] = json!("eve@example.com");
    let eve = Person::of(&house.post("/auth/register", Shown::Nothing, again).await);
    assert_ne!(house.tenant_of(&ada).await, house.tenant_of(&eve).await, "a name that is taken lets nobody in");
    let listed = house.get("/tenants", ada.shown()).await;
    assert_eq!(
        (listed.body["items"][0]["name"].as_str(), listed.body["items"][0]["role"].as_str()),
        (Some("Engines"), Some("owner"))
    );
    let unnamed = house.register("grace@example.com").await;
    let listed = house.get("/tenants", unnamed.shown()).await;
    assert_eq!(
        (listed.body["items"].as_array().unwrap().len(), listed.body["items"][0]["name"].as_str()),
        (1, Some("Ada"))
    );
}

#[tokio::test]
async fn who_is_asked_joins_and_acts_there_and_with_keys_stays_where_the_keys_were_made() {
    let house = House::open().await;
    let (ada, bob) = (confirmed(&house, "ada@example.com").await, confirmed(&house, "bob@example.com").await);
    let home = house.tenant_of(&bob).await;
    let key = house.make_key(&bob, json!({ "name": "at home" })).await["key"].as_str().unwrap().to_owned();
    let tenant = join(&house, &ada, &bob, "BOB@example.com", "member").await;
    assert!(
        house
            .mails()
            .await
            .iter()
            .any(|mail| mail.subject.contains("invited") && mail.text.contains("bob@example.com"))
    );
    assert_eq!(house.tenant_of(&bob).await, home, "to join is not to move");
    let switched = switch(&house, &bob, &tenant).await;
    assert_eq!(
        (switched.status.as_u16(), switched.text("tenant_id"), switched.text("tenant_role")),
        (200, &*tenant, "member")
    );
    assert_eq!((&switched.body["teams"], &switched.body["domains"]), (&json!([]), &json!([])));
    assert_eq!(house.tenant_of(&bob).await, tenant);
    let by_key = house.get("/auth/me", Shown::Credential(&key)).await;
    assert_eq!(by_key.text("tenant_id"), home);
    assert_eq!(switch_by_key(&house, &key, &tenant).await, "403 session_required");
    let again = house.login("bob@example.com").await;
    assert_eq!(house.tenant_of(&again).await, tenant, "the next login begins there");
}

#[tokio::test]
async fn who_acts_in_none_acts_in_the_one_that_they_found_and_who_acts_in_one_stays_there() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let first = house.tenant_of(&ada).await;
    let second = house.post("/tenants", ada.shown(), json!({ "name": "Second" })).await.text("id").to_owned();
    assert_eq!(house.tenant_of(&ada).await, first, "to found is not to move");
    for tenant in [&second, &first] {
        let gone = house.call("DELETE", &format!("/tenants/{tenant}"), ada.shown(), Value::Null).await;
        assert_eq!(gone.status, 204, "{}", gone.body);
    }
    let ada = house.login("ada@example.com").await;
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["tenant_id"], Value::Null);
    let third = house.post("/tenants", ada.shown(), json!({ "name": "Third" })).await.text("id").to_owned();
    assert_eq!(house.tenant_of(&ada).await, third);
    assert_eq!(house.tenant_of(&house.login("ada@example.com").await).await, third);
}

#[tokio::test]
async fn a_key_that_was_made_in_none_acts_in_none_whatever_its_owner_founds() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let first = format!("/tenants/{}", house.tenant_of(&ada).await);
    assert_eq!(house.call("DELETE", &first, ada.shown(), Value::Null).await.status, 204);
    let ada = house.login("ada@example.com").await;
    let key = house.make_key(&ada, json!({ "name": "mine" })).await;
    let second = house.post("/tenants", ada.shown(), json!({ "name": "Second" })).await.text("id").to_owned();
    assert_eq!(house.tenant_of(&ada).await, second);
    let by_key = Shown::Credential(key["key"].as_str().unwrap());
    for path in ["/auth/me", "/auth/me/export"] {
        let body = house.get(path, by_key).await.body;
        let me = body.get("account").unwrap_or(&body);
        assert_eq!((&me["tenant_id"], &me["tenant_role"]), (&Value::Null, &Value::Null), "{path}: {body}");
    }
    let changed = house.call("PATCH", "/auth/me", by_key, json!({ "name": "Ada" })).await;
    assert_eq!((changed.status.as_u16(), &changed.body["tenant_id"]), (200, &Value::Null));
    assert_eq!(house.get("/tenants", by_key).await.body["items"], json!([]));
    let asked = json!({ "email": "eve@example.com", "role": "owner" });
    let asked = house.post(&format!("/tenants/{second}/members"), by_key, asked).await;
    assert_eq!(asked.refusal(), "404 not_found");
    assert_eq!(house.get("/auth/api-keys", by_key).await.body["items"][0]["id"], key["id"], "it is its owner's still");
}

async fn switch_by_key(house: &House, key: &str, tenant: &str) -> String {
    house.post("/auth/switch-tenant", Shown::Credential(key), json!({ "tenant_id": tenant })).await.refusal()
}

#[tokio::test]
async fn an_invitation_is_for_one_confirmed_address_and_serves_once() {
    let house = House::open().await;
    let ada = confirmed(&house, "ada@example.com").await;
    let (bob, eve) = (house.register("bob@example.com").await, confirmed(&house, "eve@example.com").await);
    let tenant = house.tenant_of(&ada).await;
    let asked = invite(&house, &ada, &tenant, "bob@example.com", "admin").await;
    let accept = format!("/auth/invitations/{}/accept", asked.text("id"));
    for (who, person) in [("another", &eve), ("who asks", &ada)] {
        assert_eq!(house.post(&accept, person.shown(), Value::Null).await.refusal(), "404 not_found", "{who}");
    }
    // Whether or not there is one for the address that is not confirmed.
    for id in [asked.text("id"), "0190a5a0-0000-7000-8000-00000000000f"] {
        let path = format!("/auth/invitations/{id}/accept");
        assert_eq!(house.post(&path, bob.shown(), Value::Null).await.refusal(), "403 email_unverified", "{id}");
    }
    assert_eq!(house.get("/auth/invitations", bob.shown()).await.body["items"], json!([]));
    house.confirm(bob.id).await;
    assert_eq!(house.get("/auth/invitations", bob.shown()).await.body["items"][0]["role"], "admin");
    assert_eq!(house.post(&accept, bob.shown(), Value::Null).await.status, 200);
    assert_eq!(house.post(&accept, bob.shown(), Value::Null).await.refusal(), "404 not_found");
    assert_eq!(invite(&house, &ada, &tenant, "bob@example.com", "member").await.refusal(), "409 conflict");
    // Withdrawn, declined, or too late.
    let asked = invite(&house, &ada, &tenant, "eve@example.com", "member").await;
    let path = format!("/tenants/{tenant}/invitations/{}", asked.text("id"));
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.refusal(), "404 not_found");
    let asked = invite(&house, &ada, &tenant, "eve@example.com", "member").await;
    let path = format!("/auth/invitations/{}", asked.text("id"));
    assert_eq!(house.call("DELETE", &path, bob.shown(), Value::Null).await.refusal(), "404 not_found");
    assert_eq!(house.call("DELETE", &path, eve.shown(), Value::Null).await.status, 204);
    let asked = invite(&house, &ada, &tenant, "eve@example.com", "member").await;
    house.advance(std::time::Duration::from_hours(24 * 31));
    let eve = house.login("eve@example.com").await;
    let accept = format!("/auth/invitations/{}/accept", asked.text("id"));
    assert_eq!(house.post(&accept, eve.shown(), Value::Null).await.refusal(), "404 not_found");
}

#[tokio::test]
async fn an_invitation_to_nobody_s_address_goes_to_it_as_it_was_typed() {
    let house = House::open().await;
    let ada = confirmed(&house, "ada@example.com").await;
    let tenant = house.tenant_of(&ada).await;
    house.mails().await;
    // To us it is also grace@example.com.
    let asked = invite(&house, &ada, &tenant, "Grace@Example.com", "member").await;
    assert_eq!((asked.status.as_u16(), asked.text("email")), (202, "grace@example.com"));
    assert_eq!(house.mail().await.to, "Grace@Example.com");
}

#[tokio::test]
async fn a_member_sees_an_administrator_manages_and_an_owner_answers() {
    let house = House::open().await;
    let (ada, bob, cleo) = (
        confirmed(&house, "ada@example.com").await,
        confirmed(&house, "bob@example.com").await,
        confirmed(&house, "cleo@example.com").await,
    );
    let tenant = join(&house, &ada, &bob, "bob@example.com", "member").await;
    join(&house, &ada, &cleo, "cleo@example.com", "admin").await;
    let members = format!("/tenants/{tenant}/members");
    let listed = house.get(&members, bob.shown()).await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 3);
    let role_of = async |person: &Person, of: &Person, role: &str| {
        house
            .call("PATCH", &format!("{members}/{}", of.id), person.shown(), json!({ "role": role }))
            .await
            .refusal_or_status()
    };
    assert_eq!(invite(&house, &bob, &tenant, "x@example.com", "member").await.refusal(), "403 forbidden");
    assert_eq!(role_of(&bob, &bob, "owner").await, "403 forbidden");
    assert_eq!(role_of(&cleo, &bob, "owner").await, "403 forbidden", "only owners make owners");
    assert_eq!(role_of(&cleo, &ada, "member").await, "403 forbidden", "or unmake them");
    assert_eq!(invite(&house, &cleo, &tenant, "x@example.com", "owner").await.refusal(), "403 forbidden");
    assert_eq!(role_of(&cleo, &bob, "admin").await, "204 No Content");
    assert_eq!(role_of(&ada, &ada, "member").await, "409 last_owner");
    let remove = async |person: &Person, of: &Person| {
        house.call("DELETE", &format!("{members}/{}", of.id), person.shown(), Value::Null).await.refusal_or_status()
    };
    assert_eq!(remove(&ada, &ada).await, "409 last_owner");
    assert_eq!(remove(&cleo, &ada).await, "403 forbidden");
    assert_eq!(
        house.call("DELETE", &format!("/tenants/{tenant}"), cleo.shown(), Value::Null).await.refusal(),
        "403 forbidden"
    );
    // Whoever may ask less from now on has asked nobody.
    let asked = invite(&house, &bob, &tenant, "eve@example.com", "admin").await;
    assert_eq!(role_of(&cleo, &bob, "member").await, "204 No Content");
    let eve = confirmed(&house, "eve@example.com").await;
    let accept = format!("/auth/invitations/{}/accept", asked.text("id"));
    assert_eq!(house.post(&accept, eve.shown(), Value::Null).await.refusal(), "404 not_found");
    // Whoever is sent away acts there no more, at once.
    switch(&house, &bob, &tenant).await;
    let key = house.make_key(&bob, json!({ "name": "there" })).await["key"].as_str().unwrap().to_owned();
    assert_eq!(remove(&cleo, &bob).await, "204 No Content");
    assert_eq!(house.get("/auth/me", bob.shown()).await.refusal(), "401 door:revoked");
    assert_eq!(house.get("/auth/me", Shown::Credential(&key)).await.refusal(), "401 door:revoked");
    let bob = house.login("bob@example.com").await;
    assert_ne!(house.tenant_of(&bob).await, tenant, "what is theirs elsewhere stays");
    assert_eq!(house.get(&members, bob.shown()).await.refusal(), "404 not_found");
    assert_eq!(remove(&cleo, &cleo).await, "204 No Content", "whoever wants to may leave");
}

#[tokio::test]
async fn a_tenant_s_tier_is_its_members_who_have_none_of_their_own() {
    let house = House::open().await;
    let (root, ada) = (house.administrator("root@example.com").await, confirmed(&house, "ada@example.com").await);
    let path = format!("/admin/tenants/{}", house.tenant_of(&ada).await);
    let tier = async || house.get("/auth/me", ada.shown()).await.text("tier").to_owned();
    assert_eq!(tier().await, "free");
    let govern = async |body: Value| house.call("PATCH", &path, root.shown(), body).await.refusal_or_status();
    assert_eq!(govern(json!({ "tier": "pro" })).await, "200 OK");
    assert_eq!(tier().await, "pro");
    let own = format!("/admin/users/{}", ada.id);
    house.call("PATCH", &own, root.shown(), json!({ "tier": "free" })).await;
    assert_eq!(tier().await, "free", "an own tier counts whatever the tenant's is");
    house.call("PATCH", &own, root.shown(), json!({ "tier": null })).await;
    assert_eq!(tier().await, "pro");
    assert_eq!(govern(json!({ "tier": null })).await, "200 OK");
    assert_eq!(tier().await, "free");
    for wrong in [json!({ "tier": "gold" }), json!({}), json!({ "status": null }), json!({ "name": "x" })] {
        assert!(govern(wrong).await.starts_with("422 invalid_fields"));
    }
}

#[tokio::test]
async fn nobody_acts_in_a_disabled_tenant() {
    let house = House::open().await;
    let (ada, bob) = (confirmed(&house, "ada@example.com").await, confirmed(&house, "bob@example.com").await);
    let tenant = join(&house, &ada, &bob, "bob@example.com", "admin").await;
    switch(&house, &bob, &tenant).await;
    let id = tenant.parse().unwrap();
    let disable = |status| TenantChange { status: Some(status), ..TenantChange::default() };
    house.store.change_tenant(id, disable(Status::Disabled), house.now()).await.unwrap();
    for person in [&ada, &bob] {
        assert_eq!(house.get("/auth/me", person.shown()).await.refusal(), "401 door:tenant_disabled");
    }
    // Whoever has another one gets in there, and manages nothing in this one.
    let bob = house.login("bob@example.com").await;
    assert_ne!(house.tenant_of(&bob).await, tenant);
    assert_eq!(switch(&house, &bob, &tenant).await.refusal(), "403 tenant_disabled");
    assert_eq!(invite(&house, &bob, &tenant, "x@example.com", "member").await.refusal(), "403 tenant_disabled");
    house.store.change_tenant(id, disable(Status::Active), house.now()).await.unwrap();
    assert_eq!(house.get("/auth/me", ada.shown()).await.status, 200);
}

#[tokio::test]
async fn a_deleted_tenant_takes_what_acted_in_it_along() {
    let house = House::open().await;
    let (ada, bob) = (confirmed(&house, "ada@example.com").await, confirmed(&house, "bob@example.com").await);
    let tenant = join(&house, &ada, &bob, "bob@example.com", "admin").await;
    switch(&house, &bob, &tenant).await;
    let key = house.make_key(&bob, json!({ "name": "there" })).await["key"].as_str().unwrap().to_owned();
    let path = format!("/tenants/{tenant}");
    let owner = house.make_key(&ada, json!({ "name": "all" })).await["key"].as_str().unwrap().to_owned();
    assert_eq!(
        house.call("DELETE", &path, Shown::Credential(&owner), Value::Null).await.refusal(),
        "403 session_required"
    );
    assert_eq!(house.call("DELETE", &path, ada.shown(), Value::Null).await.status, 204);
    for shown in [bob.shown(), ada.shown(), Shown::Credential(&key), Shown::Credential(&owner)] {
        assert_eq!(house.get("/auth/me", shown).await.refusal(), "401 door:revoked");
    }
    let ada = house.login("ada@example.com").await;
    assert_eq!(house.get("/auth/me", ada.shown()).await.body["tenant_id"], Value::Null, "it was her only one");
    let made = house.post("/tenants", ada.shown(), json!({ "name": "Another" })).await;
    assert_eq!(switch(&house, &ada, made.text("id")).await.text("tenant_role"), "owner");
}

#[tokio::test]
async fn a_login_from_before_there_was_an_organisation_ends_with_the_one_it_has_come_to_act_in() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let only = format!("/tenants/{}", house.tenant_of(&ada).await);
    assert_eq!(house.call("DELETE", &only, ada.shown(), Value::Null).await.status, 204);
    let ada = house.login("ada@example.com").await;
    let first = house.post("/tenants", ada.shown(), json!({ "name": "First" })).await;
    assert_eq!(house.post("/tenants", ada.shown(), json!({ "name": "Second" })).await.status, 201);
    assert_eq!(house.tenant_of(&ada).await, first.text("id"));
    let first = format!("/tenants/{}", first.text("id"));
    assert_eq!(house.call("DELETE", &first, ada.shown(), Value::Null).await.status, 204);
    assert_eq!(house.get("/auth/me", ada.shown()).await.refusal(), "401 door:revoked");
}

#[tokio::test]
async fn an_account_answers_for_so_many_tenants_and_no_more() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    for n in 1..20 {
        let made = house.post("/tenants", ada.shown(), json!({ "name": format!("No. {n}") })).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    assert_eq!(
        house.post("/tenants", ada.shown(), json!({ "name": "One more" })).await.refusal(),
        "409 too_many_tenants"
    );
}

#[tokio::test]
async fn an_administrator_who_acts_as_somebody_is_named_and_takes_nothing_over() {
    let house = House::open().await;
    let (root, ada) = (house.administrator("root@example.com").await, confirmed(&house, "ada@example.com").await);
    let path = format!("/admin/users/{}/impersonate", ada.id);
    assert_eq!(house.post(&path, root.shown(), json!({})).await.status, 422);
    let acting = house.post(&path, root.shown(), json!({ "reason": "ticket 7" })).await;
    assert_eq!(acting.status, 201, "{}", acting.body);
    assert_eq!((acting.body.get("refresh_token"), &acting.body["user"]["teams"]), (None, &json!([])));
    let as_ada = Person { id: ada.id, access: acting.text("access_token").to_owned(), refresh: String::new() };
    assert_eq!(house.get("/auth/me", as_ada.shown()).await.text("email"), "ada@example.com");
    let claims = house.assertion_of(&as_ada).await;
    let claims = claims.split('.').nth(1).unwrap();
    let claims: Value =
        serde_json::from_slice(&base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).unwrap())
            .unwrap();
    assert_eq!(claims["act"]["sub"], root.id.to_string());
    let worth = async |token: &str| house.post("/auth/validate", Shown::Nothing, json!({ "token": token })).await.body;
    let verdict = worth(&as_ada.access).await;
    assert_eq!((&verdict["user"]["email"], &verdict["act"]), (&json!("ada@example.com"), &claims["act"]));
    assert_eq!(worth(&ada.access).await.get("act"), None);
    for (method, path, body) in [
        ("PATCH", "/auth/me", json!({ "name": "Eve" })),
        ("POST", "/auth/api-keys", json!({ "name": "Eve" })),
        ("POST", "/auth/change-password", json!({ "old_password": "x", "new_password": "y" })),
        ("POST", "/tenants", json!({ "name": "Eve" })),
        ("DELETE", "/auth/me", Value::Null),
        ("DELETE", "/auth/sessions", Value::Null),
    ] {
        assert_eq!(
            house.call(method, path, as_ada.shown(), body).await.refusal(),
            "403 impersonated",
            "{method} {path}"
        );
    }
    for method in ["GET", "HEAD"] {
        assert_eq!(house.call(method, "/auth/sessions", as_ada.shown(), Value::Null).await.status, 200, "{method}");
    }
    // What was tried is the administrator's doing.
    let trail = house.get("/admin/audit?event=create_tenant", root.shown()).await.body;
    let tried = &trail["items"][0];
    assert_eq!((&tried["outcome"], &tried["actor"]), (&json!("impersonated"), &json!(root.id.to_string())));
    assert_eq!(tried["details"]["as"], json!(ada.id.to_string()));
    let begun = house.get("/admin/audit?event=impersonate", root.shown()).await.body["items"][0].clone();
    let sessions = house.get(&format!("/admin/sessions?account_id={}", ada.id), root.shown()).await;
    let acting = sessions.body["items"].as_array().unwrap().iter().find(|one| one["impersonated_by"].is_string());
    assert_eq!(begun["details"], json!({ "reason": "ticket 7", "session": acting.unwrap()["id"] }));
    let by: Vec<_> =
        sessions.body["items"].as_array().unwrap().iter().map(|one| one["impersonated_by"].clone()).collect();
    assert!(by.contains(&json!(root.id.to_string())), "{by:?}");
    // Nobody reaches beyond themselves, nor from a session that is somebody else's already.
    let other = house.administrator("other@example.com").await;
    let desk = house.register("desk@example.com").await;
    house.change(&desk, store::AccountChange { role: Some("helpdesk".to_owned()), ..Default::default() }).await;
    let reach = async |by: &Person, of: &Person| {
        house
            .post(&format!("/admin/users/{}/impersonate", of.id), by.shown(), json!({ "reason": "why" }))
            .await
            .refusal_or_status()
    };
    assert_eq!(reach(&desk, &other).await, "403 forbidden");
    assert_eq!(reach(&root, &root).await, "403 own_account");
    let acting =
        house.post(&format!("/admin/users/{}/impersonate", other.id), root.shown(), json!({ "reason": "why" })).await;
    let as_other = Person { id: other.id, access: acting.text("access_token").to_owned(), refresh: String::new() };
    assert_eq!(reach(&as_other, &ada).await, "403 impersonated");
    house.advance(std::time::Duration::from_mins(31));
    assert_eq!(house.get("/auth/me", as_ada.shown()).await.status, 401, "there is nothing to go on with");
}

#[tokio::test]
async fn administrators_see_and_end_everybody_s_keys_and_sessions() {
    let house = House::open().await;
    let (root, ada) = (house.administrator("root@example.com").await, house.register("ada@example.com").await);
    let bound = json!(["192.0.2.0/24", "2001:db8::/32"]);
    let key = house.make_key(&ada, json!({ "name": "hers", "allowed_networks": bound })).await;
    house.make_key(&root, json!({ "name": "his" })).await;
    let listed = house.get(&format!("/admin/keys?account_id={}", ada.id), root.shown()).await;
    assert_eq!((listed.body["items"].as_array().unwrap().len(), &listed.body["items"][0]["id"]), (1, &key["id"]));
    assert_eq!(listed.body["items"][0]["allowed_networks"], bound);
    let own = house.get(&format!("/admin/keys?account_id={}", root.id), root.shown()).await;
    assert_eq!(own.body["items"][0]["allowed_networks"], Value::Null);
    assert_eq!(house.get("/admin/keys?limit=1", root.shown()).await.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(house.get("/admin/keys?account_id=x", root.shown()).await.status, 400);
    let path = format!("/admin/keys/{}", key["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &path, root.shown(), Value::Null).await.status, 204);
    assert_eq!(house.call("DELETE", &path, root.shown(), Value::Null).await.refusal(), "404 not_found");
    let listed = house.get(&format!("/admin/sessions?account_id={}", ada.id), root.shown()).await;
    let session = format!("/admin/sessions/{}", listed.body["items"][0]["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &session, root.shown(), Value::Null).await.status, 204);
    assert_eq!(house.get("/auth/me", ada.shown()).await.refusal(), "401 door:revoked");
    // Who manages users and nothing else ends nothing of an administrator's, and governs no organisation.
    let desk = house.register("desk@example.com").await;
    house.change(&desk, store::AccountChange { role: Some("helpdesk".to_owned()), ..Default::default() }).await;
    let his = house.get(&format!("/admin/sessions?account_id={}", root.id), desk.shown()).await;
    let path = format!("/admin/sessions/{}", his.body["items"][0]["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &path, desk.shown(), Value::Null).await.refusal(), "403 forbidden");
    let his = house.get(&format!("/admin/keys?account_id={}", root.id), desk.shown()).await;
    let path = format!("/admin/keys/{}", his.body["items"][0]["id"].as_str().unwrap());
    assert_eq!(house.call("DELETE", &path, desk.shown(), Value::Null).await.refusal(), "403 forbidden");
    let home = format!("/admin/tenants/{}", house.tenant_of(&root).await);
    let off = json!({ "status": "disabled" });
    assert_eq!(house.call("PATCH", &home, desk.shown(), off.clone()).await.refusal(), "403 forbidden");
    assert_eq!(house.call("PATCH", &home, root.shown(), off).await.refusal(), "409 conflict");
    assert_eq!(house.get("/admin/status", root.shown()).await.text("status"), "ok");
    let limits = house.get("/admin/limits", root.shown()).await;
    assert!(limits.body["tiers"].is_object() && limits.body["routes"].is_object(), "{}", limits.body);
}

#[tokio::test]
async fn who_leaves_for_good_takes_along_what_is_theirs_alone_and_nobody_is_left_behind() {
    let house = House::open().await;
    let (ada, bob) = (confirmed(&house, "ada@example.com").await, confirmed(&house, "bob@example.com").await);
    let tenant = join(&house, &ada, &bob, "bob@example.com", "member").await;
    let delete =
        async |person: &Person| house.call("DELETE", "/auth/me", person.shown(), json!({})).await.refusal_or_status();
    assert_eq!(delete(&ada).await, "409 last_owner");
    house
        .call("PATCH", &format!("/tenants/{tenant}/members/{}", bob.id), ada.shown(), json!({ "role": "owner" }))
        .await;
    assert_eq!(delete(&ada).await, "204 No Content");
    assert_eq!(
        house.get(&format!("/tenants/{tenant}/members"), bob.shown()).await.body["items"].as_array().unwrap().len(),
        1
    );
    let home = house.tenant_of(&bob).await;
    assert_eq!(delete(&bob).await, "204 No Content");
    for gone in [&tenant, &home] {
        assert_eq!(house.store.tenant(gone.parse().unwrap()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn whom_an_owner_asks_to_be_one_no_administrator_asks_for_less_or_no_more() {
    let house = House::open().await;
    let (ada, cleo) = (confirmed(&house, "ada@example.com").await, confirmed(&house, "cleo@example.com").await);
    let root = house.administrator("root@example.com").await;
    let tenant = join(&house, &ada, &cleo, "cleo@example.com", "admin").await;
    let ask = async |by: &Person, role: &str| invite(&house, by, &tenant, "eve@example.com", role).await;
    let withdraw = async |by: &Person, asked: &Answer| {
        let path = format!("/tenants/{tenant}/invitations/{}", asked.text("id"));
        house.call("DELETE", &path, by.shown(), Value::Null).await.refusal_or_status()
    };
    for role in ["member", "admin"] {
        let asked = ask(&ada, "owner").await;
        assert_eq!(ask(&cleo, role).await.refusal(), "403 forbidden", "{role}");
        assert_eq!(withdraw(&cleo, &asked).await, "403 forbidden");
        let listed = house.get(&format!("/tenants/{tenant}/invitations"), cleo.shown()).await.body;
        assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["role"]), (&asked.body["id"], &json!("owner")));
    }
    // The platform and the owners may, and of all others administrators too.
    let asked = ask(&root, "owner").await;
    assert_eq!((asked.status.as_u16(), withdraw(&root, &asked).await.as_str()), (202, "204 No Content"));
    ask(&ada, "owner").await;
    let asked = ask(&ada, "admin").await;
    assert_eq!(withdraw(&cleo, &asked).await, "204 No Content");
    let asked = ask(&ada, "owner").await;
    assert_eq!(withdraw(&ada, &asked).await, "204 No Content");
    assert_eq!(ask(&cleo, "member").await.status, 202);
}

#[tokio::test]
async fn an_invitation_is_worth_what_whoever_asked_may_still_ask() {
    let house = House::open().await;
    let (ada, cleo, eve) = (
        confirmed(&house, "ada@example.com").await,
        confirmed(&house, "cleo@example.com").await,
        confirmed(&house, "eve@example.com").await,
    );
    let tenant = join(&house, &ada, &cleo, "cleo@example.com", "admin").await;
    let asked = invite(&house, &cleo, &tenant, "eve@example.com", "member").await;
    // As if it had been written at the moment when she was sent away.
    let restored = asked.text("id").to_owned();
    house
        .store
        .change_member(tenant.parse().unwrap(), cleo.id, identity::TenantRole::Member, None, house.now())
        .await
        .unwrap();
    let accept = format!("/auth/invitations/{restored}/accept");
    assert_eq!(house.post(&accept, eve.shown(), Value::Null).await.refusal(), "404 not_found");
    let asked = invite(&house, &ada, &tenant, "eve@example.com", "member").await;
    let accept = format!("/auth/invitations/{}/accept", asked.text("id"));
    let accept = async || house.post(&accept, eve.shown(), Value::Null).await;
    let account = |status| AccountChange { status: Some(status), ..AccountChange::default() };
    house.change(&ada, account(Status::Disabled)).await;
    assert_eq!(accept().await.refusal(), "404 not_found", "nobody answers for it who is disabled");
    house.change(&ada, account(Status::Active)).await;
    let organisation = async |status| {
        let change = TenantChange { status: Some(status), ..TenantChange::default() };
        house.store.change_tenant(tenant.parse().unwrap(), change, house.now()).await.unwrap();
    };
    organisation(Status::Disabled).await;
    assert_eq!(accept().await.refusal(), "404 not_found", "nobody joins what is disabled");
    organisation(Status::Active).await;
    assert_eq!(accept().await.status, 200);
}

#[tokio::test]
async fn acting_as_somebody_ends_with_the_rights_of_either() {
    let house = House::open().await;
    let (root, ada) = (house.administrator("root@example.com").await, confirmed(&house, "ada@example.com").await);
    let desk = house.administrator("desk@example.com").await;
    let act = async || {
        let path = format!("/admin/users/{}/impersonate", ada.id);
        let acting = house.post(&path, desk.shown(), json!({ "reason": "why" })).await;
        Person { id: ada.id, access: acting.text("access_token").to_owned(), refresh: String::new() }
    };
    let as_ada = act().await;
    let developer = json!({ "role": "developer" });
    assert_eq!(
        house.call("PATCH", &format!("/admin/users/{}", ada.id), root.shown(), developer.clone()).await.status,
        200
    );
    assert_eq!(house.get("/auth/me", as_ada.shown()).await.refusal(), "401 door:revoked");
    assert_eq!(house.get("/auth/me", ada.shown()).await.status, 200, "her own sessions go on");
    let as_ada = act().await;
    let again = house.post("/auth/reauthenticate", as_ada.shown(), json!({ "password": crate::house::PASSWORD })).await;
    assert_eq!(again.refusal(), "403 impersonated");
    assert_eq!(house.call("PATCH", &format!("/admin/users/{}", desk.id), root.shown(), developer).await.status, 200);
    assert_eq!(house.get("/auth/me", as_ada.shown()).await.refusal(), "401 door:revoked");
}

#[tokio::test]
async fn a_program_sees_and_replaces_the_keys_of_its_own_tenant_alone() {
    let house = House::open().await;
    let ada = house.register("ada@example.com").await;
    let home = house.tenant_of(&ada).await;
    let here = house.make_key(&ada, json!({ "name": "here" })).await;
    let other = house.post("/tenants", ada.shown(), json!({ "name": "Other" })).await;
    switch(&house, &ada, other.text("id")).await;
    let there = house.make_key(&ada, json!({ "name": "there" })).await;
    let shown = Shown::Credential(there["key"].as_str().unwrap());
    let listed = house.get("/auth/api-keys", shown).await;
    assert_eq!((listed.body["items"].as_array().unwrap().len(), &listed.body["items"][0]["id"]), (1, &there["id"]));
    assert_eq!(house.get("/auth/me/export", shown).await.body["api_keys"], listed.body["items"]);
    let rotate = format!("/auth/api-keys/{}/rotate", here["id"].as_str().unwrap());
    assert_eq!(house.post(&rotate, shown, Value::Null).await.refusal(), "404 not_found");
    let next = house.post(&rotate, ada.shown(), Value::Null).await;
    let me = house.get("/auth/me", Shown::Credential(next.text("key"))).await;
    assert_eq!(me.text("tenant_id"), home, "a successor acts where its key did");
}
