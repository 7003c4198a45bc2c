//! What an external issuer's claims say: who somebody is, and in which organisation a token acts.

use identity::{Algorithm, SigningKey, TokenType};
use serde_json::{Value, json};

use crate::{
    issuers::{Issuer, key, now},
    mail::next_mail,
    platform::{Answer, Platform, Setup},
    wire::{self, backend, echo},
};

const STREAMS: &str =
    "\n[[route]]\nname = \"streams\"\npaths = [\"/streams/*\"]\nupstream = \"demo\"\nwebsocket = true\n";

/// An issuer that signs with one key.
struct There {
    issuer: Issuer,
    key: SigningKey,
}

/// A platform that believes it, and an organisation that was there before the configuration could name it.
struct Here {
    platform: Platform,
    /// The access token of its owner.
    owner: String,
    tenant: String,
    /// Whose data it serves.
    _before: Platform,
}

// === impl There ===

impl There {
    fn start() -> Self {
        let there = Self { issuer: Issuer::start(), key: key(Algorithm::EdDsa, "k") };
        there.issuer.publish(&[&there.key]);
        there
    }

    /// A token of somebody, of whom it says this too.
    fn token(&self, subject: &str, more: &Value) -> String {
        let mut claims = self.issuer.claims(subject);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.key.sign(TokenType::Access, &claims)
    }

    /// The same, and that it is for an organisation.
    fn for_tenant(&self, subject: &str, tenant: &Value) -> String {
        self.token(subject, &json!({ "org": tenant }))
    }

    /// What it calls `acme` is an organisation here. `more` is said of it in the list.
    fn platform(&self, more: &str, change: impl Fn(Setup) -> Setup) -> Here {
        let mut before = Platform::start();
        let owner = before.register("owner@example.com");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (owner, tenant) = (text(&owner["access_token"]), text(&owner["user"]["tenant_id"]));
        before.gateway().signal("TERM");
        assert_eq!(before.gateway().wait(), Some(0));
        let tenants =
            format!("tenant_claim = \"org\"\ntenants = [{{ value = \"acme\", tenant = \"{tenant}\"{more} }}]");
        let platform = change(self.issuer.setup(&tenants)).start_on(&before.folder.path().join("data"));
        Here { platform, owner, tenant, _before: before }
    }
}

// === impl Here ===

impl Here {
    /// In which organisation the upstream is told that a caller acts.
    fn acts_in(&self, token: &str) -> String {
        let answer = self.platform.get("/demo/x", token);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.received("x-tenant-id").concat()
    }

    fn refuses(&self, token: &str) -> bool {
        let answer = self.platform.get("/demo/x", token);
        (answer.status, &*answer.code()) == (403, "unknown_account")
    }

    /// The owner asks an address, and whoever has the token says yes.
    fn invite(&self, email: &str, token: &str) -> Answer {
        let path = format!("/tenants/{}/members", self.tenant);
        let asked = self.platform.post(&path, Some(&self.owner), &json!({ "email": email, "role": "member" }));
        assert_eq!(asked.status / 100, 2, "{asked:?}");
        let path = format!("/auth/invitations/{}/accept", asked.json()["id"].as_str().unwrap());
        self.platform.post(&path, Some(token), &json!({}))
    }

    /// The owner sends somebody away.
    fn send_away(&self, token: &str) {
        let id = self.platform.get("/auth/me", token).json()["id"].as_str().unwrap().to_owned();
        let path = format!("/tenants/{}/members/{id}", self.tenant);
        let gone = self.platform.json("DELETE", &path, Some(&self.owner), &json!({}));
        assert_eq!(gone.status, 204, "{gone:?}");
    }

    fn accounts(&self, admin: &str) -> usize {
        self.platform.get("/admin/users", admin).json()["items"].as_array().unwrap().len()
    }
}

fn verified(email: &str) -> Value {
    json!({ "email": email, "email_verified": true })
}

fn believing_addresses(setup: Setup) -> Setup {
    setup.edit("gateway.toml", "link_verified_email = false", "link_verified_email = true")
}

#[test]
fn a_token_acts_in_the_organisation_that_it_names_if_its_owner_belongs_there() {
    let there = There::start();
    let here = there.platform("", believing_addresses);
    let plain = there.token("ada", &verified("ada@example.com"));
    let home = here.acts_in(&plain);
    assert_ne!(home, here.tenant);
    let named = there.for_tenant("ada", &json!("acme"));
    assert!(here.refuses(&named), "the issuer's word lets nobody in");
    let accepted = here.invite("ada@example.com", &plain);
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_eq!((here.acts_in(&named), here.acts_in(&plain)), (here.tenant.clone(), home.clone()));
    assert_eq!(here.acts_in(&there.for_tenant("ada", &json!(["other", "acme"]))), here.tenant);
    assert_eq!(here.acts_in(&there.for_tenant("ada", &Value::Null)), home, "null says nothing");
    // What is not the value is none of its words, nor anything else that an issuer's people could make of it.
    let other = [json!("other"), json!("acme evil"), json!(["acme evil"]), json!(""), json!([]), json!(7), json!({})];
    for other in other.iter().chain([&json!(here.tenant), &json!(home)]) {
        assert!(here.refuses(&there.for_tenant("ada", other)), "{other}");
    }

    let worth = |token: &str| here.platform.post("/auth/validate", None, &json!({ "token": token })).json();
    assert_eq!(worth(&named)["user"]["tenant_id"], json!(here.tenant));
    assert_eq!(worth(&there.for_tenant("ada", &json!("other")))["error"], "unknown_account");

    here.send_away(&plain);
    assert!(here.refuses(&named), "at once");
    assert_eq!(worth(&named)["error"], "unknown_account");
    assert_eq!(here.acts_in(&plain), home);
}

#[test]
fn a_token_for_one_organisation_reaches_no_other_of_its_owners() {
    let there = There::start();
    let here = there.platform("", believing_addresses);
    let (plain, named) = (there.token("ada", &verified("ada@example.com")), there.for_tenant("ada", &json!("acme")));
    let home = here.acts_in(&plain);
    assert_eq!(here.invite("ada@example.com", &plain).status, 200);
    let listed = |token: &str| here.platform.get("/tenants", token).json()["items"].as_array().unwrap().len();
    assert_eq!((listed(&plain), listed(&named)), (2, 1));
    let status = |token: &str, tenant: &str| here.platform.get(&format!("/tenants/{tenant}"), token).status;
    assert_eq!((status(&plain, &home), status(&named, &here.tenant), status(&named, &home)), (200, 200, 404));
    let switched = |token: &str| {
        let answer = here.platform.post("/auth/switch-tenant", Some(token), &json!({ "tenant_id": home }));
        (answer.status, answer.code())
    };
    assert_eq!(switched(&named), (403, "session_required".to_owned()));
    assert_eq!(switched(&plain).0, 200);
    let founded = here.platform.post("/tenants", Some(&named), &json!({ "name": "Another" }));
    assert_eq!((founded.status, &*founded.code()), (403, "session_required"), "{founded:?}");
}

#[test]
fn a_token_for_an_organisation_links_and_makes_no_account_that_does_not_belong_to_it() {
    let there = There::start();
    let here = there.platform("", believing_addresses);
    let root = here.platform.admin();
    let before = here.accounts(&root);
    let mut claims = verified("root@example.com");
    claims["org"] = json!("acme");
    let of_root = there.token("root-there", &claims);
    assert!(here.refuses(&of_root));
    assert!(here.refuses(&there.for_tenant("nobody-yet", &json!("acme"))));
    assert!(here.refuses(&there.for_tenant("nobody-yet", &json!("other"))));
    assert_eq!(here.platform.get("/auth/identities", &root).json()["items"], json!([]));
    assert_eq!(here.accounts(&root), before);
    // Who belongs there is linked by it, as by any other token, and at once.
    assert_eq!(here.invite("root@example.com", &root).status, 200);
    assert_eq!(here.acts_in(&of_root), here.tenant);
    next_mail(&here.platform, "Another way into your account");
}

#[test]
fn where_it_is_said_an_account_that_is_made_belongs_to_the_organisation_and_none_that_there_is() {
    let there = There::start();
    let told = |setup: Setup| setup.edit("gateway.toml", "\"x-tenant-id\", ", "\"x-tenant-id\", \"x-tenant-role\", ");
    let here = there.platform(", join = true", told);
    let root = here.platform.admin();
    let bob = there.for_tenant("bob", &json!("acme"));
    let seen = here.platform.get("/demo/x", &bob);
    assert_eq!(
        (seen.received("x-tenant-id").concat(), seen.received("x-tenant-role").concat()),
        (here.tenant.clone(), "member".to_owned()),
        "{seen:?}"
    );
    let tenants = here.platform.get("/tenants", &there.token("bob", &json!({}))).json();
    assert_eq!(tenants["items"].as_array().unwrap().len(), 1, "none of its own: {tenants}");
    let id = seen.received("x-user-id").concat();
    let events = here.platform.get(&format!("/admin/audit?subject={id}&event=issuer_account_made"), &root).json();
    assert_eq!(events["items"][0]["details"]["tenant"], json!(here.tenant), "{events}");

    // Whoever has an account is asked by nobody but the organisation.
    let carol = there.token("carol", &json!({}));
    assert_ne!(here.acts_in(&carol), here.tenant);
    assert!(here.refuses(&there.for_tenant("carol", &json!("acme"))));
    // Nor does who was sent away come back by it.
    here.send_away(&bob);
    assert!(here.refuses(&bob));
    assert!(here.refuses(&there.token("bob", &json!({ "org": "acme", "iat": now() - 5 }))));

    let path = format!("/admin/tenants/{}", here.tenant);
    let off = here.platform.json("PATCH", &path, Some(&root), &json!({ "status": "disabled" }));
    assert_eq!(off.status, 200, "{off:?}");
    let before = here.accounts(&root);
    assert!(here.refuses(&there.for_tenant("late", &json!("acme"))), "nobody joins what is disabled");
    assert_eq!(here.accounts(&root), before);
}

#[test]
fn a_stream_stays_in_the_organisation_for_which_its_token_is_and_ends_when_its_owner_is_sent_away() {
    let there = There::start();
    let streaming = |setup: Setup| believing_addresses(setup).append("routes.toml", STREAMS).upstream(backend(echo));
    let here = there.platform("", streaming);
    let plain = there.token("ada", &verified("ada@example.com"));
    assert_eq!(here.platform.get("/auth/me", &plain).status, 200);
    assert_eq!(here.invite("ada@example.com", &plain).status, 200);
    let named = there.for_tenant("ada", &json!("acme"));
    let mut at_home = wire::open(here.platform.http, "/streams/x", &plain);
    let mut in_acme = wire::open(here.platform.http, "/streams/x", &named);
    let moved = here.platform.post("/auth/switch-tenant", Some(&plain), &json!({ "tenant_id": here.tenant }));
    assert_eq!(moved.status, 200, "{moved:?}");
    assert_eq!(at_home.close(), (4401, "revoked".to_owned()), "it was told that it is elsewhere");
    // Whoever is ended by a later change was looked at after the earlier one.
    let other = here.platform.register("other@example.com")["access_token"].as_str().unwrap().to_owned();
    let mut witness = wire::open(here.platform.http, "/streams/x", &other);
    assert_eq!(here.platform.post("/auth/logout", Some(&other), &json!({})).status / 100, 2);
    assert_eq!(witness.close().0, 4401);
    in_acme.echoes("still there");
    here.send_away(&plain);
    assert_eq!(in_acme.close(), (4401, "revoked".to_owned()));
}

#[test]
fn who_somebody_is_may_be_said_by_another_claim_and_never_by_an_address() {
    let there = There::start();
    let platform = there.issuer.setup("subject_claim = \"oid\"").start();
    let who = |subject: &str, oid: &Value| {
        let answer = platform.get("/demo/x", &there.token(subject, &json!({ "oid": oid })));
        if answer.status == 200 { answer.received("x-user-id").concat() } else { answer.code() }
    };
    let ada = who("one", &json!("7"));
    assert_eq!(who("two", &json!("7")), ada, "another `sub` is no other person");
    assert_ne!(who("one", &json!("8")), ada);
    let none = json!([null, "", 7, ["7"], "ada@example.com", "a\nb", "x".repeat(256)]);
    for none in none.as_array().unwrap() {
        assert_eq!(who("one", none), "invalid_token", "{none}");
    }
    assert_eq!(platform.get("/demo/x", &there.token("7", &json!({}))).code(), "invalid_token");
}

/// Else whoever can choose what the one says would be whom the other means.
#[test]
fn what_another_claim_says_is_never_taken_for_a_sub() {
    let there = There::start();
    let who = |platform: &Platform, token: &str| {
        let answer = platform.get("/demo/x", token);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.received("x-user-id").concat()
    };
    let mut before = there.issuer.setup("").start();
    let by_sub = who(&before, &there.token("7", &json!({})));
    before.gateway().signal("TERM");
    assert_eq!(before.gateway().wait(), Some(0));
    let data = before.folder.path().join("data");
    let platform = there.issuer.setup("subject_claim = \"oid\"").start_on(&data);
    assert_ne!(who(&platform, &there.token("8", &json!({ "oid": "7" }))), by_sub);
}
