//! Who may: each demand, met and missed.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use identity::{AccountId, Assurance, Authentication, Grant, SessionId};
use uuid::Uuid;

use super::*;
use crate::{Demand, Kind, Owner, PathPattern, Per, Permissions, Quota, StepUp, roles::Guarded};

fn limit(owner: Owner<'_>, quota: &str) -> Limit {
    Limit::new(owner, Per::User, Kind::Requests(Quota::parse(quota).unwrap().unwrap()))
}

fn policy() -> Policy {
    let role = |name: &str, held: &[&str]| (name.into(), Permissions::parse(held.iter().copied()).unwrap());
    let roles = Roles::new([
        role("admin", &["*"]),
        role("developer", &["agents:*", "account:manage"]),
        role("user", &["agents:read"]),
    ]);
    let free = Tier { name: "free".into(), limits: vec![limit(Owner::Tier("free"), "100/minute")], ..Tier::default() };
    let pro = Tier { name: "pro".into(), features: ["swarm".into(), "collab".into()].into(), ..Tier::default() };
    Policy { roles, tiers: Tiers::new([free, pro]), ..Policy::default() }
}

fn caller(role: &str, tier: &str, scopes: Option<&[&str]>) -> Arc<Principal> {
    let id = Uuid::from_u128(1);
    Arc::new(Principal {
        account: AccountId::new(id),
        role: role.into(),
        tier: tier.into(),
        tenant: None,
        tenant_role: None,
        actor: None,
        is_service: false,
        grant: Grant::Session(SessionId::new(id)),
        scopes: scopes.map(|scopes| scopes.iter().map(|scope| Box::from(*scope)).collect()),
        networks: None,
        authentication: None,
        generation: 0,
    })
}

fn route(change: impl FnOnce(&mut Route)) -> Arc<Route> {
    let mut route = Route::new("r", "demo", vec![PathPattern::parse("/x").unwrap()]);
    change(&mut route);
    Arc::new(route)
}

fn demanding(change: impl FnOnce(&mut Demand)) -> Arc<Route> {
    route(|route| change(&mut route.demand))
}

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| Box::from(*name)).collect()
}

fn permission(name: &str) -> Vec<Permission> {
    vec![Permission::parse(name).unwrap()]
}

/// `permit`, or what is missing.
fn answer(route: &Arc<Route>, principal: Arc<Principal>) -> String {
    outcome(route, Some(principal))
}

fn stranger(route: &Arc<Route>) -> String {
    outcome(route, None)
}

fn outcome(route: &Arc<Route>, principal: Option<Arc<Principal>>) -> String {
    match decide(&policy(), route, principal, 0) {
        Ok(_) => "permit".to_owned(),
        Err(Refusal::Forbidden { missing }) => missing,
        Err(refusal) => refusal.code().to_owned(),
    }
}

#[test]
fn a_route_demands_a_caller_unless_it_says_otherwise() {
    let required = route(|_| ());
    assert_eq!(stranger(&required), "missing_credential");
    assert_eq!(answer(&required, caller("user", "free", None)), "permit");
    let optional = route(|route| route.auth = Auth::Optional);
    assert_eq!(stranger(&optional), "permit");
    let permit = decide(&policy(), &optional, Some(caller("user", "free", None)), 0).unwrap();
    assert!(permit.principal().is_some() && permit.tier().is_some());
}

#[test]
fn a_route_without_auth_is_told_of_no_caller() {
    let route = route(|route| route.auth = Auth::None);
    let permit = decide(&policy(), &route, Some(caller("ghost", "ghost", None)), 0).unwrap();
    assert!(permit.principal().is_none() && permit.tier().is_none() && permit.limits().next().is_none());
}

#[test]
fn a_route_for_certificates_is_told_of_nobody_without_one() {
    let route = route(|route| route.auth = Auth::Mtls);
    let by = |grant| Arc::new(Principal { grant, ..Arc::unwrap_or_clone(caller("admin", "free", None)) });
    let id = Uuid::nil();
    assert_eq!(answer(&route, by(Grant::Certificate(id.into()))), "permit");
    for other in [Grant::Session(id.into()), Grant::Cookie(id.into()), Grant::Key(id.into()), Grant::Machine(id.into())]
    {
        assert_eq!(answer(&route, by(other)), "missing_credential", "{other:?}");
    }
    assert_eq!(stranger(&route), "missing_credential");
}

#[test]
fn a_stranger_meets_no_demand() {
    for auth in [Auth::Optional, Auth::None] {
        for change in [
            (|demand| demand.roles = names(&["user"])) as fn(&mut Demand),
            |demand| demand.permissions = permission("agents:read"),
            |demand| demand.tiers = names(&["free"]),
            |demand| demand.features = names(&["swarm"]),
        ] {
            let route = route(|route| {
                route.auth = auth;
                change(&mut route.demand);
            });
            assert_eq!(stranger(&route), "missing_credential");
        }
    }
}

#[test]
fn any_one_of_the_roles_is_enough() {
    let route = demanding(|demand| demand.roles = names(&["admin", "developer"]));
    assert_eq!(answer(&route, caller("developer", "free", None)), "permit");
    assert_eq!(answer(&route, caller("user", "free", None)), "role admin or developer");
    assert_eq!(answer(&route, caller("Admin", "free", None)), "role admin or developer");
    assert_eq!(answer(&route, caller("ghost", "free", None)), "role admin or developer");
    let three = demanding(|demand| demand.roles = names(&["a", "b", "c"]));
    assert_eq!(answer(&three, caller("user", "free", None)), "role a, b or c");
}

#[test]
fn every_permission_is_demanded() {
    let both =
        demanding(|demand| demand.permissions = [permission("agents:publish"), permission("account:manage")].concat());
    assert_eq!(answer(&both, caller("admin", "free", None)), "permit");
    assert_eq!(answer(&both, caller("developer", "free", None)), "permit");
    assert_eq!(answer(&both, caller("user", "free", None)), "permission agents:publish");
    assert_eq!(answer(&both, caller("ghost", "free", None)), "permission agents:publish");
}

#[test]
fn scopes_only_narrow() {
    let publish = demanding(|demand| demand.permissions = permission("agents:publish"));
    for scopes in [&["agents:publish"][..], &["agents:*"], &["*"], &["other", "agents:publish"]] {
        assert_eq!(answer(&publish, caller("developer", "free", Some(scopes))), "permit", "{scopes:?}");
        assert_eq!(answer(&publish, caller("user", "free", Some(scopes))), "permission agents:publish", "{scopes:?}");
    }
    for scopes in [&[][..], &["agents:read"], &["agents"], &["agents:pub*"], &["*:publish"], &["agents:publish:x"]] {
        let missing = "permission agents:publish among the credential's scopes";
        assert_eq!(answer(&publish, caller("admin", "free", Some(scopes))), missing, "{scopes:?}");
    }
    assert_eq!(answer(&route(|_| ()), caller("user", "free", Some(&[]))), "permit");
}

#[test]
fn a_scoped_credential_never_stands_for_a_role() {
    let route = demanding(|demand| demand.roles = names(&["admin"]));
    let missing = "role admin and a credential without scopes";
    assert_eq!(answer(&route, caller("admin", "free", Some(&["agents:*", "admin"]))), missing);
    assert_eq!(answer(&route, caller("admin", "free", Some(&[]))), missing);
    assert_eq!(answer(&route, caller("admin", "free", Some(&["*"]))), "permit");
    assert_eq!(answer(&route, caller("user", "free", Some(&["*"]))), "role admin");
}

#[test]
fn tiers_and_features_are_demanded() {
    let tier = demanding(|demand| demand.tiers = names(&["pro", "enterprise"]));
    assert_eq!(answer(&tier, caller("admin", "pro", None)), "permit");
    assert_eq!(answer(&tier, caller("admin", "free", None)), "tier pro or enterprise");
    // Demanded, and held by an account, but not configured.
    assert_eq!(answer(&tier, caller("admin", "enterprise", None)), "tier pro or enterprise");
    let features = demanding(|demand| demand.features = names(&["swarm", "collab"]));
    assert_eq!(answer(&features, caller("user", "pro", None)), "permit");
    assert_eq!(answer(&features, caller("user", "free", None)), "feature swarm, which tier free does not include");
    let unknown = demanding(|demand| demand.features = names(&["swarm", "on-premise"]));
    assert_eq!(answer(&unknown, caller("user", "pro", None)), "feature on-premise, which tier pro does not include");
}

#[test]
fn an_unknown_tier_is_not_an_unlimited_one() {
    let missing = "a known tier; this account's tier \"gold\" is not configured";
    assert_eq!(answer(&route(|_| ()), caller("user", "gold", None)), missing);
    assert_eq!(answer(&route(|route| route.tier_limits = false), caller("user", "gold", None)), "permit");
}

#[test]
fn a_limited_credential_lends_its_owners_key_at_a_provider_only_if_it_says_so() {
    let injecting = route(|route| {
        let injection = crate::Injection::parse("openai", "Authorization", "Bearer {key}").unwrap();
        route.inject_credential = Some(Box::new(injection));
    });
    let missing = "permission integrations:use among the credential's scopes";
    for (scopes, said) in [
        (None, "permit"),
        (Some(&["usage:read"][..]), missing),
        (Some(&["integrations:manage"]), missing),
        (Some(&["integrations:use"]), "permit"),
        (Some(&["usage:read", "integrations:*"]), "permit"),
        (Some(&["*"]), "permit"),
    ] {
        assert_eq!(answer(&injecting, caller("user", "free", scopes)), said, "{scopes:?}");
    }
    assert_eq!(answer(&route(|_| ()), caller("user", "free", Some(&["usage:read"]))), "permit");
}

#[test]
fn a_permit_names_the_limits_to_spend() {
    let limited = |tier_limits| {
        route(|route| {
            route.limits = vec![limit(Owner::Route("r"), "20/second")];
            route.tier_limits = tier_limits;
        })
    };
    let spent = |route: &Arc<Route>, tier: &str| {
        let permit = decide(&policy(), route, Some(caller("user", tier, None)), 0).unwrap();
        permit.limits().map(|limit| limit.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(spent(&limited(true), "free"), ["r-user-second", "free-user-minute"]);
    assert_eq!(spent(&limited(true), "pro"), ["r-user-second"]);
    assert_eq!(spent(&limited(false), "free"), ["r-user-second"]);
}

#[test]
fn in_a_guarded_role_a_person_who_has_shown_one_factor_may_only_add_another() {
    let of = |guarded| Policy { roles: policy().roles.guarded(guarded), ..policy() };
    let (admins, every) = (of(Guarded::These(["admin".into()].into())), of(Guarded::Every));
    let said_by = |policy: &Policy, role, grant, assurance, before| {
        let route = route(|route| route.before_second_factor = before);
        let authentication = Some(Authentication { at: 0, assurance });
        let principal = Principal { authentication, grant, ..Arc::unwrap_or_clone(caller(role, "free", None)) };
        decide(policy, &route, Some(Arc::new(principal)), 1_000_000).map(drop)
    };
    let said = |role, grant, assurance, before| said_by(&admins, role, grant, assurance, before);
    let wanted = StepUp { acr: Some(Assurance::Multi), max_age: None };
    let (id, session) = (uuid::Uuid::nil(), Grant::Session(uuid::Uuid::nil().into()));
    let persons = [session, Grant::Cookie(id.into()), Grant::External(id.into(), identity::Voucher::Legacy)];
    for person in persons {
        let refused = said("admin", person, Assurance::Single, false);
        assert_eq!(refused, Err(Refusal::InsufficientAuthentication(wanted)), "{person:?}");
        assert_eq!(said("admin", person, Assurance::Single, true), Ok(()));
        assert_eq!(said("admin", person, Assurance::Multi, false), Ok(()));
        assert_eq!(said("user", person, Assurance::Single, false), Ok(()));
        // Where everybody needs one, so does who has a role that nobody knows.
        for role in ["admin", "user", "nobody"] {
            let refused = said_by(&every, role, person, Assurance::Single, false);
            assert_eq!(refused, Err(Refusal::InsufficientAuthentication(wanted)), "{role} {person:?}");
            assert_eq!(said_by(&every, role, person, Assurance::Multi, false), Ok(()));
        }
    }
}

#[test]
fn a_key_that_a_person_in_a_guarded_role_made_without_a_second_factor_opens_nothing() {
    let guarded = policy().roles.guarded(Guarded::These(["admin".into()].into()));
    let policy = Policy { roles: guarded, ..policy() };
    let (plain, step_up) = (route(|_| ()), StepUp { acr: Some(Assurance::Multi), max_age: None });
    let said = |route: &Arc<Route>, role, assurance, is_service| {
        let authentication = Some(Authentication { at: 0, assurance });
        let grant = Grant::Key(uuid::Uuid::nil().into());
        let caller = Arc::unwrap_or_clone(caller(role, "free", None));
        let principal = Principal { authentication, grant, is_service, ..caller };
        decide(&policy, route, Some(Arc::new(principal)), 0).map(drop)
    };
    let refused = Err(Refusal::InsufficientAuthentication(step_up));
    assert_eq!(said(&plain, "admin", Assurance::Single, false), refused);
    assert_eq!(said(&plain, "admin", Assurance::Multi, false), Ok(()));
    assert_eq!(said(&plain, "user", Assurance::Single, false), Ok(()));
    assert_eq!(said(&plain, "admin", Assurance::Single, true), Ok(()), "a service has nobody to ask");
    // Who has made it is not there when a route asks for somebody.
    let asking = demanding(|demand| demand.step_up = Some(step_up));
    assert_eq!(said(&asking, "user", Assurance::Multi, false), refused);
}

#[test]
fn a_permit_shares_what_it_was_given() {
    let (route, principal) = (route(|_| ()), caller("user", "free", None));
    let permit = decide(&policy(), &route, Some(Arc::clone(&principal)), 0).unwrap();
    assert!(Arc::ptr_eq(permit.route(), &route));
    assert!(Arc::ptr_eq(permit.principal().unwrap(), &principal));
    assert_eq!(&*permit.tier().unwrap().name, "free");
}

#[test]
fn who_may_must_also_have_been_seen_lately_and_as_the_route_wants() {
    let wanted = StepUp { acr: Some(Assurance::Multi), max_age: Some(Duration::from_mins(5)) };
    let route = demanding(|demand| {
        demand.step_up = Some(wanted);
        demand.roles = names(&["admin"]);
    });
    let said = |role, authentication, now| {
        let principal = Principal { authentication, ..Arc::unwrap_or_clone(caller(role, "free", None)) };
        decide(&policy(), &route, Some(Arc::new(principal)), now).err()
    };
    let seen = |assurance| Some(Authentication { at: 1000, assurance });
    assert_eq!(said("admin", seen(Assurance::Multi), 1300), None);
    for (authentication, now) in [(seen(Assurance::Multi), 1301), (seen(Assurance::Single), 1000), (None, 1000)] {
        assert_eq!(said("admin", authentication, now), Some(Refusal::InsufficientAuthentication(wanted)));
    }
    // Who may not at all is not sent to log in anew.
    assert_eq!(said("user", None, 1000).map(|refusal| refusal.code()), Some("forbidden"));
    assert_eq!(stranger(&route), "missing_credential");
}

#[test]
fn what_is_somebody_elses_is_not_there() {
    use identity::{TenantId, TenantRole};

    use crate::{OwnerDemand, Possession, ResourceKind};

    let id = |number| Uuid::from_u128(number);
    let whose = Possession { account: AccountId::new(id(1)), tenant: TenantId::new(id(10)) };
    let owned = |admins| {
        let owner = OwnerDemand { kind: ResourceKind::Agent, parameter: "id".into(), place: 0, admins };
        demanding(|demand| demand.owner = Some(owner))
    };
    let somebody = |account: u128, tenant: Option<u128>, change: &dyn Fn(&mut Principal)| {
        let mut principal = Arc::unwrap_or_clone(caller("user", "free", None));
        principal.account = AccountId::new(id(account));
        principal.tenant = tenant.map(|tenant| TenantId::new(id(tenant)));
        change(&mut principal);
        Arc::new(principal)
    };
    let answer = |admins, principal: Arc<Principal>, whose| match decide_about(
        &policy(),
        &owned(admins),
        Some(principal),
        whose,
        0,
    ) {
        Ok(_) => "permit",
        Err(refusal) => refusal.code(),
    };
    let plain = |_: &mut Principal| ();
    for admins in [false, true] {
        assert_eq!(answer(admins, somebody(1, Some(10), &plain), Some(whose)), "permit");
        // Of another tenant, acting in none, somebody else, and where there is nothing.
        assert_eq!(answer(admins, somebody(1, Some(11), &plain), Some(whose)), "not_found");
        assert_eq!(answer(admins, somebody(1, None, &plain), Some(whose)), "not_found");
        assert_eq!(answer(admins, somebody(2, Some(10), &plain), Some(whose)), "not_found");
        assert_eq!(answer(admins, somebody(1, Some(10), &plain), None), "not_found");
        let expected = if admins { "permit" } else { "not_found" };
        for role in [TenantRole::Admin, TenantRole::Owner] {
            let oversees = |principal: &mut Principal| principal.tenant_role = Some(role);
            assert_eq!(answer(admins, somebody(2, Some(10), &oversees), Some(whose)), expected);
            assert_eq!(answer(admins, somebody(2, Some(11), &oversees), Some(whose)), "not_found");
        }
        let of_platform = |principal: &mut Principal| principal.role = "admin".into();
        assert_eq!(answer(admins, somebody(2, Some(11), &of_platform), Some(whose)), expected);
        let by_key = |principal: &mut Principal| {
            principal.role = "admin".into();
            principal.scopes = Some(["agents:*".into()].into());
        };
        assert_eq!(answer(admins, somebody(2, Some(10), &by_key), Some(whose)), "not_found");
    }
    let whose_it_is = |route: Arc<Route>| {
        decide_about(&policy(), &route, Some(somebody(1, Some(10), &plain)), Some(whose), 0).unwrap().whose()
    };
    assert_eq!(whose_it_is(owned(false)), Some(whose));
    assert_eq!(whose_it_is(route(|_| ())), None, "nobody asked");
    // Who decides without asking whose it is lets nobody in.
    assert_eq!(outcome(&owned(true), Some(somebody(1, Some(10), &plain))), "not_found");
}
