//! The files under `config/`: they load, their cases hold, and their schemas are those of the types.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use policies::config::{self, Loaded, Source, Sources, Upstreams};
use policies::{Amount, Auth, Kind, cases, matrix};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn shipped() -> Loaded {
    let [routes, roles, tiers, cases] = ["routes.toml", "roles.toml", "tiers.toml", "cases.toml"].map(text);
    let sources = Sources {
        routes: Source { name: "routes.toml", text: Ok(&routes) },
        roles: Source { name: "roles.toml", text: Ok(&roles) },
        tiers: Source { name: "tiers.toml", text: Ok(&tiers) },
        cases: Source { name: "cases.toml", text: Ok(&cases) },
    };
    let names = BTreeSet::from([config::ADMIN_API, "demo"].map(str::to_owned));
    let upstreams = Upstreams { names, ..Upstreams::default() };
    config::load(&sources, Some(&upstreams)).unwrap_or_else(|wrong| {
        panic!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    })
}

#[test]
fn the_shipped_files_load_and_every_case_holds() {
    let Loaded { policy, cases } = shipped();
    assert!(cases.len() > 100, "only {} cases were read", cases.len());
    let failures = cases::run(&policy, &cases);
    assert!(failures.is_empty(), "{}", failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_shipped_route_permits_somebody_in_some_case() {
    let Loaded { policy, cases } = shipped();
    for route in policy.routes.routes() {
        let is_tried = cases.iter().filter(|case| case.answer == cases::Answer::Permit).any(|case| {
            let path = policies::normalise(&case.path).unwrap();
            policy.routes.find(&case.host, &case.method, &path).is_ok_and(|found| found.name == route.name)
        });
        assert!(is_tried, "no case of cases.toml is permitted by {}", route.name);
    }
}

/// 000: "Rate limiting on all endpoints". Where nobody is known there is no tier, and only the route can limit.
#[test]
fn every_shipped_route_that_ignores_who_asks_has_a_limit_of_its_own() {
    let policy = shipped().policy;
    // The demo service stands for an operator's own.
    let routes = policy.routes.routes().iter().filter(|route| &*route.name != "demo-public");
    let routes: Vec<_> = routes.filter(|route| route.auth == Auth::None).collect();
    assert!(routes.len() > 20, "{}", routes.len());
    for route in routes {
        assert!(!route.limits.is_empty(), "{} can be asked without end", route.name);
    }
}

/// HEAD is GET without the content (RFC 9110 §9.3.2). At a provider a sign-in begins and ends by GET, which nobody looks at first.
#[test]
fn whatever_of_ours_can_be_read_answers_head_too() {
    let policy = shipped().policy;
    let ours = policy.routes.routes().iter().filter(|route| &*route.upstream == config::ADMIN_API);
    let ours: Vec<_> = ours.filter(|route| route.methods.contains("GET")).collect();
    assert!(ours.len() > 20, "{}", ours.len());
    for route in ours {
        assert_eq!(route.methods.contains("HEAD"), &*route.name != "auth-oauth", "{}", route.name);
    }
}

#[test]
fn the_shipped_tiers_are_those_of_the_price_list() {
    let Loaded { policy, .. } = shipped();
    let told = policy.tiers.iter().map(|tier| {
        let limits = tier.limits.iter().map(|limit| match limit.kind {
            Kind::Requests(quota) => format!("{} = {quota}", limit.name),
            Kind::Concurrent(number) => format!("{} = {number}", limit.name),
        });
        let limits = limits.collect::<Vec<_>>().join(", ");
        let (storage, workbenches) = (tier.quotas["storage_gb"], tier.quotas["workbenches"]);
        let price = tier.price.as_ref().unwrap();
        let features = tier.features.iter().map(|feature| &**feature).collect::<Vec<_>>().join(", ");
        format!("{}: {price}; {storage} GB, {workbenches} workbenches; {features}; {limits}", tier.name)
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @"
    developer: 29.00 USD/month; 50 GB, 10 workbenches; basic-code-generation, code-migration, database-reverse-engineering, figma-integration; developer-user-minute = 500/minute, developer-user-concurrent = 50
    enterprise: 499.00 USD/month; unlimited GB, unlimited workbenches; basic-code-generation, code-migration, custom-integrations, database-reverse-engineering, dedicated-support, figma-integration, kubernetes-deployment, on-premise-deployment, real-time-collaboration, swarm-agents; 
    free: 0.00 USD/month; 10 GB, 3 workbenches; basic-code-generation; free-user-minute = 100/minute, free-user-concurrent = 20
    pro: 99.00 USD/month; 200 GB, unlimited workbenches; basic-code-generation, code-migration, database-reverse-engineering, figma-integration, kubernetes-deployment, real-time-collaboration, swarm-agents; pro-user-minute = 2000/minute, pro-user-concurrent = 200
    ");
    assert_eq!(policy.tiers.get("enterprise").unwrap().quotas["storage_gb"], Amount::Unlimited);
}

#[test]
fn the_table_of_the_shipped_policy_says_who_may_call_what() {
    let table = matrix::table(&shipped().policy);
    assert!(table.lines().all(|line| line.len() <= 160), "too wide:\n{table}");
    insta::assert_snapshot!(table, @r"
    role                                                                                                     stranger  admin      admin       developer  developer
    tiers                                                                                                              developer  enterprise  developer  enterprise
                                                                                                                       free       pro         free       pro
    demo-public                  any                       /demo/public/*                                    yes       yes        yes         yes        yes
    demo                         any                       /demo/*                                           401       yes        yes         yes        yes
    demo-developer               any                       /demo/developer/*                                 401       yes        yes         yes        yes
    demo-admin                   any                       /demo/admin/*                                     401       yes        yes         403        403
    demo-pro                     any                       /demo/pro/*                                       401       403        yes         403        yes
    auth-register                POST                      /auth/register                                    yes       yes        yes         yes        yes
                                                           /api/auth/register
                                                           /api/v2/auth/register
    auth-login                   POST                      /auth/login                                       yes       yes        yes         yes        yes
                                                           /api/auth/login
                                                           /api/v2/auth/login
    auth-token                   POST                      /auth/token                                       yes       yes        yes         yes        yes
                                                           /api/auth/token
                                                           /api/v2/auth/token
    auth-refresh                 POST                      /auth/refresh                                     yes       yes        yes         yes        yes
                                                           /api/auth/refresh
                                                           /api/v2/auth/refresh
    auth-validate                POST                      /auth/validate                                    yes       yes        yes         yes        yes
                                                           /api/auth/validate
                                                           /api/v2/auth/validate
    auth-logout                  POST                      /auth/logout                                      401       yes        yes         yes        yes
                                                           /api/auth/logout
                                                           /api/v2/auth/logout
    auth-me                      GET, HEAD                 /auth/me                                          401       yes        yes         yes        yes
                                                           /api/auth/me
                                                           /api/v2/auth/me
    auth-me-change               PATCH, DELETE             /auth/me                                          401       yes        yes         yes        yes
                                                           /api/auth/me
                                                           /api/v2/auth/me
    auth-me-export               GET, HEAD                 /auth/me/export                                   401       yes        yes         yes        yes
                                                           /api/auth/me/export
                                                           /api/v2/auth/me/export
    auth-change-password         POST                      /auth/change-password                             401       yes        yes         yes        yes
                                                           /api/auth/change-password
                                                           /api/v2/auth/change-password
    auth-verify-email            POST                      /auth/verify-email                                yes       yes        yes         yes        yes
                                                           /api/auth/verify-email
                                                           /api/v2/auth/verify-email
    auth-resend-verification     POST                      /auth/resend-verification                         yes       yes        yes         yes        yes
                                                           /api/auth/resend-verification
                                                           /api/v2/auth/resend-verification
    auth-request-password-reset  POST                      /auth/request-password-reset                      yes       yes        yes         yes        yes
                                                           /api/auth/request-password-reset
                                                           /api/v2/auth/request-password-reset
    auth-magic-link              POST                      /auth/magic-link                                  yes       yes        yes         yes        yes
                                                           /api/auth/magic-link
                                                           /api/v2/auth/magic-link
    auth-magic-link-consume      POST                      /auth/magic-link/consume                          yes       yes        yes         yes        yes
                                                           /api/auth/magic-link/consume
                                                           /api/v2/auth/magic-link/consume
    auth-reset-password          POST                      /auth/reset-password                              yes       yes        yes         yes        yes
                                                           /api/auth/reset-password
                                                           /api/v2/auth/reset-password
    auth-passkey                 POST                      /auth/passkey/options                             yes       yes        yes         yes        yes
                                                           /auth/passkey/login
                                                           /api/auth/passkey/options
                                                           /api/auth/passkey/login
                                                           /api/v2/auth/passkey/options
                                                           /api/v2/auth/passkey/login
    auth-mfa-verify              POST                      /auth/mfa/verify                                  yes       yes        yes         yes        yes
                                                           /auth/mfa/passkeys/options
                                                           /api/auth/mfa/verify
                                                           /api/auth/mfa/passkeys/options
                                                           /api/v2/auth/mfa/verify
                                                           /api/v2/auth/mfa/passkeys/options
    auth-mfa                     any but PUT, OPTIONS      /auth/mfa/*                                       401       yes        yes         yes        yes
                                                           /api/auth/mfa/*
                                                           /api/v2/auth/mfa/*
    auth-reauthenticate          POST                      /auth/reauthenticate                              401       yes        yes         yes        yes
                                                           /auth/reauthenticate/passkey
                                                           /api/auth/reauthenticate
                                                           /api/auth/reauthenticate/passkey
                                                           /api/v2/auth/reauthenticate
                                                           /api/v2/auth/reauthenticate/passkey
    auth-change-email            POST                      /auth/change-email                                401       yes        yes         yes        yes
                                                           /api/auth/change-email
                                                           /api/v2/auth/change-email
    auth-confirm-email           POST                      /auth/confirm-email                               yes       yes        yes         yes        yes
                                                           /api/auth/confirm-email
                                                           /api/v2/auth/confirm-email
    auth-accept-invite           POST                      /auth/accept-invite                               yes       yes        yes         yes        yes
                                                           /api/auth/accept-invite
                                                           /api/v2/auth/accept-invite
    auth-oauth                   GET                       /auth/oauth/{provider}                            yes       yes        yes         yes        yes
                                                           /auth/oauth/{provider}/callback
    auth-identities              GET, HEAD                 /auth/identities                                  401       yes        yes         yes        yes
                                                           /api/auth/identities
                                                           /api/v2/auth/identities
    auth-identity                DELETE                    /auth/identities/{id}                             401       yes        yes         yes        yes
                                                           /api/auth/identities/{id}
                                                           /api/v2/auth/identities/{id}
    auth-identity-allow          POST                      /auth/identities/{id}/allow                       401       yes        yes         yes        yes
                                                           /api/auth/identities/{id}/allow
                                                           /api/v2/auth/identities/{id}/allow
    auth-sessions                GET, HEAD, DELETE         /auth/sessions                                    401       yes        yes         yes        yes
                                                           /api/auth/sessions
                                                           /api/v2/auth/sessions
    auth-session                 DELETE                    /auth/sessions/{id}                               401       yes        yes         yes        yes
                                                           /api/auth/sessions/{id}
                                                           /api/v2/auth/sessions/{id}
    auth-api-keys                GET, HEAD, POST           /auth/api-keys                                    401       yes        yes         yes        yes
                                                           /api/auth/api-keys
                                                           /api/v2/auth/api-keys
    auth-api-key                 DELETE                    /auth/api-keys/{id}                               401       yes        yes         yes        yes
                                                           /api/auth/api-keys/{id}
                                                           /api/v2/auth/api-keys/{id}
    auth-api-key-rotate          POST                      /auth/api-keys/{id}/rotate                        401       yes        yes         yes        yes
                                                           /api/auth/api-keys/{id}/rotate
                                                           /api/v2/auth/api-keys/{id}/rotate
    account-forms                GET, HEAD                 /account/style.css                                yes       yes        yes         yes        yes
                                                           /account/sign-in
                                                           /account/sign-up
                                                           /account/check-mail
                                                           /account/forgot-password
                                                           /account/reset-password
                                                           /account/verify-email
                                                           /account/magic-link
                                                           /account/confirm-email
                                                           /account/accept-invite
                                                           /account/passkeys.js
    account-forms-sent           POST                      /account/sign-in                                  yes       yes        yes         yes        yes
                                                           /account/sign-in/code
                                                           /account/sign-up
                                                           /account/reset-password
                                                           /account/verify-email
                                                           /account/magic-link/consume
                                                           /account/confirm-email
                                                           /account/accept-invite
                                                           /account/sign-in/passkey
                                                           /account/sign-in/second-passkey
    account-mail                 POST                      /account/forgot-password                          yes       yes        yes         yes        yes
                                                           /account/magic-link
    account                      GET, HEAD, POST           /account                                          401       yes        yes         yes        yes
                                                           /account/sessions
                                                           /account/sessions/{id}/end
                                                           /account/sessions/end-others
                                                           /account/security/*
    account-sign-out             POST                      /account/sign-out                                 401       yes        yes         yes        yes
    account-lasting              GET, HEAD, POST           /account/keys                                     401       yes        yes         yes        yes
                                                           /account/keys/{id}/delete
                                                           /account/link
                                                           /account/identities
                                                           /account/identities/{id}/unlink
                                                           /account/identities/{id}/allow
                                                           /account/email
                                                           /account/organisations
                                                           /account/organisations/{id}/switch
                                                           /account/invitations/{id}/accept
                                                           /account/invitations/{id}/decline
    tenants                      any but PUT, OPTIONS      /tenants/*                                        401       yes        yes         yes        yes
                                                           /auth/switch-tenant
                                                           /auth/invitations/*
                                                           /api/auth/switch-tenant
                                                           /api/auth/invitations/*
                                                           /api/v2/auth/switch-tenant
                                                           /api/v2/auth/invitations/*
    admin                        any                       /admin/*                                          401       yes        yes         403        403
    admin-users                  any                       /admin/users/*                                    401       yes        yes         403        403
                                                           /admin/keys/*
                                                           /admin/sessions/*
    admin-audit                  GET, HEAD                 /admin/audit                                      401       yes        yes         403        403
    health                       GET, HEAD                 /health                                           yes       yes        yes         yes        yes
    docs                         GET, HEAD                 /docs/*                                           yes       yes        yes         yes        yes
                                                           /openapi.json
    jwks                         GET, HEAD                 /.well-known/jwks.json                            yes       yes        yes         yes        yes
    teams                        GET, HEAD                 /teams                                            401       yes        yes         yes        yes
                                                           /teams/all
                                                           /teams/{id}
                                                           /domains
                                                           /domains/all
                                                           /domains/{id}
    teams-manage                 POST, PATCH, DELETE       /teams                                            401       yes        yes         yes        yes
                                                           /teams/{id}
                                                           /domains
                                                           /domains/{id}
    teams-members                any but PUT, OPTIONS      /teams/{id}/members                               401       yes        yes         yes        yes
                                                           /teams/{id}/members/{account_id}
                                                           /domains/{id}/members
                                                           /domains/{id}/members/{account_id}
    agents                       GET, HEAD                 /agents                                           401       yes        yes         yes        yes
                                                           /agents/{id}
    agents-make                  POST                      /agents                                           401       yes        yes         yes        yes
    agents-change                PATCH, DELETE             /agents/{id}                                      401       yes        yes         yes        yes
    agents-unpublish             POST                      /agents/{id}/unpublish                            401       yes        yes         yes        yes
    agents-publish               POST                      /agents/{id}/publish                              401       yes        yes         yes        yes
    agent-instances              any but PUT, OPTIONS      /agent-instances                                  401       yes        yes         yes        yes
                                                           /agent-instances/{id}
    demo-instances               any                       /demo/instances/{id}/* (own agent_instance:{id})  401       yes        yes         yes        yes
    integrations                 GET, HEAD, POST           /integrations                                     401       yes        yes         yes        yes
    integration                  GET, HEAD, PATCH, DELETE  /integrations/{id}                                401       yes        yes         yes        yes
    usage                        GET, HEAD                 /usage                                            401       yes        yes         yes        yes
    usage-report                 POST                      /usage                                            401       yes        yes         403        403
    quota                        GET, HEAD                 /quota                                            401       yes        yes         yes        yes
    quota-reserve                POST                      /quota/reserve                                    401       yes        yes         403        403
                                                           /quota/commit
                                                           /quota/release
    billing                      GET, HEAD                 /billing/statements                               401       yes        yes         yes        yes
                                                           /billing/statements/{id}
    billing-settle               PATCH                     /billing/statements/{id}                          401       yes        yes         403        403
    billing-webhook              POST                      /billing/webhook                                  yes       yes        yes         yes        yes

    role                                                                                                     service    service     user       user
    tiers                                                                                                    developer  enterprise  developer  enterprise
                                                                                                             free       pro         free       pro
    demo-public                  any                       /demo/public/*                                    yes        yes         yes        yes
    demo                         any                       /demo/*                                           yes        yes         yes        yes
    demo-developer               any                       /demo/developer/*                                 403        403         403        403
    demo-admin                   any                       /demo/admin/*                                     403        403         403        403
    demo-pro                     any                       /demo/pro/*                                       403        yes         403        yes
    auth-register                POST                      /auth/register                                    yes        yes         yes        yes
                                                           /api/auth/register
                                                           /api/v2/auth/register
    auth-login                   POST                      /auth/login                                       yes        yes         yes        yes
                                                           /api/auth/login
                                                           /api/v2/auth/login
    auth-token                   POST                      /auth/token                                       yes        yes         yes        yes
                                                           /api/auth/token
                                                           /api/v2/auth/token
    auth-refresh                 POST                      /auth/refresh                                     yes        yes         yes        yes
                                                           /api/auth/refresh
                                                           /api/v2/auth/refresh
    auth-validate                POST                      /auth/validate                                    yes        yes         yes        yes
                                                           /api/auth/validate
                                                           /api/v2/auth/validate
    auth-logout                  POST                      /auth/logout                                      yes        yes         yes        yes
                                                           /api/auth/logout
                                                           /api/v2/auth/logout
    auth-me                      GET, HEAD                 /auth/me                                          yes        yes         yes        yes
                                                           /api/auth/me
                                                           /api/v2/auth/me
    auth-me-change               PATCH, DELETE             /auth/me                                          403        403         yes        yes
                                                           /api/auth/me
                                                           /api/v2/auth/me
    auth-me-export               GET, HEAD                 /auth/me/export                                   403        403         yes        yes
                                                           /api/auth/me/export
                                                           /api/v2/auth/me/export
    auth-change-password         POST                      /auth/change-password                             403        403         yes        yes
                                                           /api/auth/change-password
                                                           /api/v2/auth/change-password
    auth-verify-email            POST                      /auth/verify-email                                yes        yes         yes        yes
                                                           /api/auth/verify-email
                                                           /api/v2/auth/verify-email
    auth-resend-verification     POST                      /auth/resend-verification                         yes        yes         yes        yes
                                                           /api/auth/resend-verification
                                                           /api/v2/auth/resend-verification
    auth-request-password-reset  POST                      /auth/request-password-reset                      yes        yes         yes        yes
                                                           /api/auth/request-password-reset
                                                           /api/v2/auth/request-password-reset
    auth-magic-link              POST                      /auth/magic-link                                  yes        yes         yes        yes
                                                           /api/auth/magic-link
                                                           /api/v2/auth/magic-link
    auth-magic-link-consume      POST                      /auth/magic-link/consume                          yes        yes         yes        yes
                                                           /api/auth/magic-link/consume
                                                           /api/v2/auth/magic-link/consume
    auth-reset-password          POST                      /auth/reset-password                              yes        yes         yes        yes
                                                           /api/auth/reset-password
                                                           /api/v2/auth/reset-password
    auth-passkey                 POST                      /auth/passkey/options                             yes        yes         yes        yes
                                                           /auth/passkey/login
                                                           /api/auth/passkey/options
                                                           /api/auth/passkey/login
                                                           /api/v2/auth/passkey/options
                                                           /api/v2/auth/passkey/login
    auth-mfa-verify              POST                      /auth/mfa/verify                                  yes        yes         yes        yes
                                                           /auth/mfa/passkeys/options
                                                           /api/auth/mfa/verify
                                                           /api/auth/mfa/passkeys/options
                                                           /api/v2/auth/mfa/verify
                                                           /api/v2/auth/mfa/passkeys/options
    auth-mfa                     any but PUT, OPTIONS      /auth/mfa/*                                       403        403         yes        yes
                                                           /api/auth/mfa/*
                                                           /api/v2/auth/mfa/*
    auth-reauthenticate          POST                      /auth/reauthenticate                              yes        yes         yes        yes
                                                           /auth/reauthenticate/passkey
                                                           /api/auth/reauthenticate
                                                           /api/auth/reauthenticate/passkey
                                                           /api/v2/auth/reauthenticate
                                                           /api/v2/auth/reauthenticate/passkey
    auth-change-email            POST                      /auth/change-email                                403        403         yes        yes
                                                           /api/auth/change-email
                                                           /api/v2/auth/change-email
    auth-confirm-email           POST                      /auth/confirm-email                               yes        yes         yes        yes
                                                           /api/auth/confirm-email
                                                           /api/v2/auth/confirm-email
    auth-accept-invite           POST                      /auth/accept-invite                               yes        yes         yes        yes
                                                           /api/auth/accept-invite
                                                           /api/v2/auth/accept-invite
    auth-oauth                   GET                       /auth/oauth/{provider}                            yes        yes         yes        yes
                                                           /auth/oauth/{provider}/callback
    auth-identities              GET, HEAD                 /auth/identities                                  403        403         yes        yes
                                                           /api/auth/identities
                                                           /api/v2/auth/identities
    auth-identity                DELETE                    /auth/identities/{id}                             403        403         yes        yes
                                                           /api/auth/identities/{id}
                                                           /api/v2/auth/identities/{id}
    auth-identity-allow          POST                      /auth/identities/{id}/allow                       403        403         yes        yes
                                                           /api/auth/identities/{id}/allow
                                                           /api/v2/auth/identities/{id}/allow
    auth-sessions                GET, HEAD, DELETE         /auth/sessions                                    403        403         yes        yes
                                                           /api/auth/sessions
                                                           /api/v2/auth/sessions
    auth-session                 DELETE                    /auth/sessions/{id}                               403        403         yes        yes
                                                           /api/auth/sessions/{id}
                                                           /api/v2/auth/sessions/{id}
    auth-api-keys                GET, HEAD, POST           /auth/api-keys                                    403        403         yes        yes
                                                           /api/auth/api-keys
                                                           /api/v2/auth/api-keys
    auth-api-key                 DELETE                    /auth/api-keys/{id}                               403        403         yes        yes
                                                           /api/auth/api-keys/{id}
                                                           /api/v2/auth/api-keys/{id}
    auth-api-key-rotate          POST                      /auth/api-keys/{id}/rotate                        403        403         yes        yes
                                                           /api/auth/api-keys/{id}/rotate
                                                           /api/v2/auth/api-keys/{id}/rotate
    account-forms                GET, HEAD                 /account/style.css                                yes        yes         yes        yes
                                                           /account/sign-in
                                                           /account/sign-up
                                                           /account/check-mail
                                                           /account/forgot-password
                                                           /account/reset-password
                                                           /account/verify-email
                                                           /account/magic-link
                                                           /account/confirm-email
                                                           /account/accept-invite
                                                           /account/passkeys.js
    account-forms-sent           POST                      /account/sign-in                                  yes        yes         yes        yes
                                                           /account/sign-in/code
                                                           /account/sign-up
                                                           /account/reset-password
                                                           /account/verify-email
                                                           /account/magic-link/consume
                                                           /account/confirm-email
                                                           /account/accept-invite
                                                           /account/sign-in/passkey
                                                           /account/sign-in/second-passkey
    account-mail                 POST                      /account/forgot-password                          yes        yes         yes        yes
                                                           /account/magic-link
    account                      GET, HEAD, POST           /account                                          403        403         yes        yes
                                                           /account/sessions
                                                           /account/sessions/{id}/end
                                                           /account/sessions/end-others
                                                           /account/security/*
    account-sign-out             POST                      /account/sign-out                                 403        403         yes        yes
    account-lasting              GET, HEAD, POST           /account/keys                                     403        403         yes        yes
                                                           /account/keys/{id}/delete
                                                           /account/link
                                                           /account/identities
                                                           /account/identities/{id}/unlink
                                                           /account/identities/{id}/allow
                                                           /account/email
                                                           /account/organisations
                                                           /account/organisations/{id}/switch
                                                           /account/invitations/{id}/accept
                                                           /account/invitations/{id}/decline
    tenants                      any but PUT, OPTIONS      /tenants/*                                        403        403         yes        yes
                                                           /auth/switch-tenant
                                                           /auth/invitations/*
                                                           /api/auth/switch-tenant
                                                           /api/auth/invitations/*
                                                           /api/v2/auth/switch-tenant
                                                           /api/v2/auth/invitations/*
    admin                        any                       /admin/*                                          403        403         403        403
    admin-users                  any                       /admin/users/*                                    403        403         403        403
                                                           /admin/keys/*
                                                           /admin/sessions/*
    admin-audit                  GET, HEAD                 /admin/audit                                      403        403         403        403
    health                       GET, HEAD                 /health                                           yes        yes         yes        yes
    docs                         GET, HEAD                 /docs/*                                           yes        yes         yes        yes
                                                           /openapi.json
    jwks                         GET, HEAD                 /.well-known/jwks.json                            yes        yes         yes        yes
    teams                        GET, HEAD                 /teams                                            yes        yes         yes        yes
                                                           /teams/all
                                                           /teams/{id}
                                                           /domains
                                                           /domains/all
                                                           /domains/{id}
    teams-manage                 POST, PATCH, DELETE       /teams                                            yes        yes         yes        yes
                                                           /teams/{id}
                                                           /domains
                                                           /domains/{id}
    teams-members                any but PUT, OPTIONS      /teams/{id}/members                               yes        yes         yes        yes
                                                           /teams/{id}/members/{account_id}
                                                           /domains/{id}/members
                                                           /domains/{id}/members/{account_id}
    agents                       GET, HEAD                 /agents                                           403        403         yes        yes
                                                           /agents/{id}
    agents-make                  POST                      /agents                                           403        403         403        403
    agents-change                PATCH, DELETE             /agents/{id}                                      403        403         yes        yes
    agents-unpublish             POST                      /agents/{id}/unpublish                            403        403         yes        yes
    agents-publish               POST                      /agents/{id}/publish                              403        403         403        403
    agent-instances              any but PUT, OPTIONS      /agent-instances                                  403        403         yes        yes
                                                           /agent-instances/{id}
    demo-instances               any                       /demo/instances/{id}/* (own agent_instance:{id})  403        403         yes        yes
    integrations                 GET, HEAD, POST           /integrations                                     403        403         yes        yes
    integration                  GET, HEAD, PATCH, DELETE  /integrations/{id}                                403        403         yes        yes
    usage                        GET, HEAD                 /usage                                            403        403         yes        yes
    usage-report                 POST                      /usage                                            yes        yes         403        403
    quota                        GET, HEAD                 /quota                                            403        403         yes        yes
    quota-reserve                POST                      /quota/reserve                                    yes        yes         403        403
                                                           /quota/commit
                                                           /quota/release
    billing                      GET, HEAD                 /billing/statements                               403        403         yes        yes
                                                           /billing/statements/{id}
    billing-settle               PATCH                     /billing/statements/{id}                          403        403         403        403
    billing-webhook              POST                      /billing/webhook                                  yes        yes         yes        yes
    ");
}

/// `UPDATE_SCHEMAS=1` writes them.
#[test]
fn the_checked_in_schemas_are_those_of_the_types() {
    for (name, schema) in config::schemas() {
        let path = folder().join(format!("schema/{name}.schema.json"));
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let checked_in: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(checked_in, schema, "{name}.schema.json is out of date; run this test with UPDATE_SCHEMAS=1");
    }
}
