//! `[[issuers]]` and `[[legacy_issuers]]`: who else is believed.

use std::{collections::HashSet, time::Duration};

use chrono::{Days, NaiveDate, NaiveTime};
use identity::{Algorithm, LEEWAY};
use policies::{
    Policy, Quota,
    config::{Document, Placed, Surroundings as _, Value},
    roles::Permissions,
};

use super::Reader;
use crate::{
    config::{
        issuers::{
            Acting, ClaimNames, ExternalIssuer, Issuers, LegacyIssuer, LegacySubject, Mapping, NewAccounts, is_safe_url,
        },
        raw,
    },
    office::{DEFAULT_ROLE, DEFAULT_TIER},
};

/// Accounts made for one address.
const CREATED: Quota = Quota { units: 20, window: Duration::from_hours(1) };
/// What others may sign with; a shared secret is for nobody who also has keys.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];

/// Claims that change hands, or are the same for many (`OpenID` Connect Core §5.7, Entra ID's `upn` and `unique_name`): whoever gets them would
/// get the account.
const NOT_WHO: &str = "acr amr aud auth_time azp client_id email family_name given_name groups iat iss jti middle_name name nickname \
                       phone_number preferred_username scope scp typ unique_name upn";

/// Roles and tiers that issuers name, to be looked for once it is known which there are.
#[derive(Default)]
pub(super) struct Named {
    pub(super) roles: Vec<Placed<String>>,
    /// Those of people.
    pub(super) people: Vec<Placed<String>>,
    pub(super) tiers: Vec<Placed<String>>,
    /// Those that whoever comes for the first time gets.
    newcomers: Vec<Placed<String>>,
}

// === impl Named ===

impl Named {
    /// Notes those that there are not.
    pub(super) fn check(&self, policy: &Policy, document: &mut Document<'_>) {
        for role in self.roles.iter().chain(&self.people).filter(|role| !policy.roles.contains(role)) {
            document.note_unknown(role, format!("there is no role `{}` in roles.toml", **role), policy.roles.names());
        }
        for role in self.people.iter().filter(|role| policy.roles.is_of_services(role)) {
            document.note(role.span(), format!("`{}` is a role of service accounts, and no person has one", **role));
        }
        for role in self.newcomers.iter().filter(|role| policy.roles.administers(role)) {
            let message =
                format!("`{}` may manage accounts, and whoever comes for the first time would get it", **role);
            document.note(role.span(), message);
        }
        for tier in self.tiers.iter().filter(|tier| !policy.tiers.contains(tier)) {
            document.note_unknown(tier, format!("there is no tier `{}` in tiers.toml", **tier), policy.tiers.names());
        }
    }
}

// === impl Reader ===

impl Reader<'_, '_> {
    /// A role that people get who come for the first time, to be looked for once it is known which there are.
    pub(super) fn of_newcomers(&mut self, role: Placed<String>) -> String {
        let name = String::clone(&role);
        self.named.newcomers.push(role.clone());
        self.named.people.push(role);
        name
    }

    pub(super) fn issuers(&mut self, own: &str) -> Issuers {
        let mut external: Vec<ExternalIssuer> = Vec::new();
        for element in self.document.elements::<raw::Issuer>("issuers") {
            let Some(raw) = element.value else { continue };
            let issuer = self.document.resolve(&raw.issuer, self.folder).unwrap_or_default();
            if issuer.is_empty() {
                self.refuse_without_issuer(&raw);
                continue;
            }
            if issuer == own || external.iter().any(|other| other.issuer == issuer) {
                self.document
                    .note(raw.issuer.span(), "there is such an issuer already, and no telling whose rules hold");
            }
            external.push(self.external(raw, issuer));
        }
        let legacy = self.document.elements::<raw::LegacyIssuer>("legacy_issuers");
        let legacy: Vec<_> = legacy.into_iter().filter_map(|element| self.legacy(element.value?)).collect();
        let (mut names, mut tokens) = (HashSet::new(), HashSet::new());
        for (place, issuer) in &legacy {
            if !names.insert(&issuer.name) || !tokens.insert((&issuer.issuer, &issuer.kid)) {
                let message =
                    "its tokens cannot be told from another's: give a `name`, and an `issuer` or a `kid` of its own";
                self.document.note(place.clone(), message);
            }
        }
        Issuers { external, legacy: legacy.into_iter().map(|(_, issuer)| issuer).collect() }
    }

    /// Notes what variables say of an issuer that none names: whoever has set them means somebody to be believed. What stands in the file
    /// waits for its issuer.
    fn refuse_without_issuer(&mut self, raw: &raw::Issuer) {
        let said = [&raw.audience, &raw.jwks_url, &raw.audience_claim, &raw.accounts].into_iter().flatten();
        for given in said {
            if self.is_of_variable(Some(given)) {
                // Asked for, so that the variable is named.
                self.text(Some(given), "");
                self.document.note(given.span(), "`issuer` is empty, which this is about");
            }
        }
    }

    fn external(&mut self, raw: raw::Issuer, issuer: String) -> ExternalIssuer {
        let audience = self.text(raw.audience.as_ref(), "");
        if audience.is_empty() {
            let place = raw.audience.as_ref().map_or(raw.issuer.span(), Placed::span);
            self.document.note(place, "`audience` is missing: tokens for others would open this door too");
        }
        let jwks_url = Some(self.text(raw.jwks_url.as_ref(), "")).filter(|url| !url.is_empty());
        let place = raw.jwks_url.as_ref().filter(|_| jwks_url.is_some()).map_or(raw.issuer.span(), Placed::span);
        if !is_safe_url(jwks_url.as_deref().unwrap_or(&issuer)) {
            self.document.note(place, "keys are fetched over https, or over http from this machine");
        }
        let (shortest, longest) =
            (self.duration(raw.refresh_min.as_ref(), 60), self.duration(raw.refresh_max.as_ref(), 600));
        if let Some(given) = raw.refresh_max.as_ref().or(raw.refresh_min.as_ref()).filter(|_| longest < shortest) {
            self.document.note(given.span(), "must not be shorter than `refresh_min`");
        }
        // 003 knows one issuer, by variables, and its people have no other accounts than the issuer's.
        let unsaid = if self.is_of_variable(Some(&raw.issuer)) { "create" } else { "existing" };
        let accounts = self.new_accounts(raw.accounts.as_ref(), unsaid, raw.accounts_per_address.as_ref());
        if raw.second_factor.iter().any(|(claim, value)| claim.is_empty() || value.trim().is_empty()) {
            self.document.note(
                raw.issuer.span(),
                "`second_factor` names a claim and what it says: nothing would be said by all",
            );
        }
        let subject = self.subject_claim(&raw);
        let or = |given: Option<String>, default: &str| given.unwrap_or_else(|| default.to_owned());
        let role = raw.role.map_or_else(|| DEFAULT_ROLE.to_owned(), |role| self.of_newcomers(role));
        let tier = raw.tier.as_ref().map_or(DEFAULT_TIER, |tier| tier.as_str()).to_owned();
        self.named.tiers.extend(raw.tier);
        let roles = raw.roles.into_iter().map(|of| (of.value, of.role)).collect();
        let tiers = raw.tiers.into_iter().map(|of| (of.value, of.tier)).collect();
        ExternalIssuer {
            audience,
            audience_claim: self.text(raw.audience_claim.as_ref(), "aud"),
            require: raw.require.into_iter().collect(),
            second_factor: raw.second_factor.into_iter().collect(),
            id_tokens: raw.id_tokens.unwrap_or(false),
            ca: raw.ca.and_then(|path| self.authority(&path)),
            algorithms: self.algorithms(raw.algorithms),
            leeway: self.duration(raw.leeway.as_ref(), LEEWAY.as_secs()),
            refresh: (shortest, longest.max(shortest)),
            max_stale: self.duration(raw.max_stale.as_ref(), 86_400),
            accounts,
            link_verified_email: raw.link_verified_email.unwrap_or(false),
            claims: ClaimNames {
                subject,
                email: or(raw.email_claim, "email"),
                email_verified: or(raw.email_verified_claim, "email_verified"),
                name: or(raw.name_claim, "name"),
            },
            roles: self.mapping(raw.role_claim, roles, |named| &mut named.people),
            tiers: self.mapping(raw.tier_claim, tiers, |named| &mut named.tiers),
            scopes: self.scopes(raw.scope_claim, raw.scopes),
            tenants: self.tenants(raw.tenant_claim, raw.tenants),
            issuer,
            jwks_url,
            role,
            tier,
        }
    }

    fn mapping(
        &mut self,
        claim: Option<String>,
        values: Vec<(String, Placed<String>)>,
        named: impl Fn(&mut Named) -> &mut Vec<Placed<String>>,
    ) -> Option<Mapping> {
        if let (None, Some((_, first))) = (&claim, values.first()) {
            self.document.note(first.span(), "which claim has these values? Give `role_claim`, or `tier_claim`");
        }
        let means = values.iter().map(|(value, here)| (value.clone(), String::clone(here))).collect();
        named(&mut self.named).extend(values.into_iter().map(|(_, here)| here));
        claim.map(|claim| Mapping { claim, values: means })
    }

    fn scopes(&mut self, claim: Option<String>, values: Vec<raw::ScopeOf>) -> Option<Mapping> {
        if let (None, Some(first)) = (&claim, values.first()) {
            self.document.note(first.permission.span(), "which claim has these values? Give `scope_claim`");
        }
        for of in &values {
            if let Err(error) = Permissions::parse([of.permission.as_str()]) {
                self.document.note(of.permission.span(), error.to_string());
            }
        }
        let values = values.into_iter().map(|of| (of.value, of.permission.into_inner())).collect();
        claim.map(|claim| Mapping { claim, values })
    }

    fn tenants(&mut self, claim: Option<String>, values: Vec<raw::TenantOf>) -> Option<Mapping<Acting>> {
        if let (None, Some(first)) = (&claim, values.first()) {
            self.document.note(first.tenant.span(), "which claim has these values? Give `tenant_claim`");
        }
        let values = values.into_iter().filter_map(|of| {
            let Ok(tenant) = of.tenant.parse() else {
                let message =
                    format!("\"{}\" is not the id of an organisation, as GET /admin/tenants shows it", *of.tenant);
                self.document.note(of.tenant.span(), message);
                return None;
            };
            Some((of.value, Acting { tenant, joins: of.join.unwrap_or(false) }))
        });
        let values = values.collect();
        claim.map(|claim| Mapping { claim, values })
    }

    /// Who somebody is, for ever. What other keys of the section name says something else of them.
    fn subject_claim(&mut self, raw: &raw::Issuer) -> String {
        let Some(given) = &raw.subject_claim else { return "sub".to_owned() };
        let name = given.strip_prefix('/').unwrap_or(given);
        let others =
            [&raw.email_claim, &raw.name_claim, &raw.role_claim, &raw.tier_claim, &raw.tenant_claim, &raw.scope_claim];
        let is_known = NOT_WHO.split(' ').any(|known| known == name);
        if name.is_empty() || is_known || others.into_iter().flatten().any(|other| *other == **given) {
            let message = format!(
                "`{}` does not say who somebody is: another can have it too, or get it one day. Name a claim that the issuer gives nobody else, ever",
                **given
            );
            self.document.note(given.span(), message);
        }
        String::clone(given)
    }

    fn new_accounts(
        &mut self,
        accounts: Option<&Placed<Value<String>>>,
        unsaid: &str,
        per_address: Option<&Placed<Value<String>>>,
    ) -> NewAccounts {
        let created = per_address.map_or(CREATED, |given| {
            if let Ok(Some(quota)) = Quota::parse(&self.text(Some(given), "")) {
                return quota;
            }
            let message = "write how many, such as \"20/hour\"; without a limit it would be a way to fill the database";
            self.document.note(given.span(), message);
            CREATED
        });
        let said = self.text(accounts, unsaid);
        match if said.is_empty() { unsaid } else { &said } {
            "create" => return NewAccounts::Create(created),
            "existing" => {}
            other => {
                let message = format!("unknown value `{other}`; known are existing, create");
                self.document.note(accounts.map_or(0..0, Placed::span), message);
            }
        }
        NewAccounts::Existing
    }

    fn algorithms(&mut self, given: Option<Vec<Placed<String>>>) -> Vec<Algorithm> {
        let Some(given) = given else { return ALGORITHMS.to_vec() };
        let known = |name: &Placed<String>| Algorithm::from_name(name).filter(|one| ALGORITHMS.contains(one));
        for name in given.iter().filter(|name| known(name).is_none()) {
            let message = format!("\"{}\" is not an algorithm of published keys: RS256, ES256 or EdDSA", **name);
            self.document.note(name.span(), message);
        }
        given.iter().filter_map(known).collect()
    }

    pub(super) fn authority(&mut self, path: &Placed<String>) -> Option<String> {
        let text = self.folder.file(path);
        let text = text.map_err(|error| {
            self.document.note(path.span(), format!("the file \"{}\" cannot be read: {error}", **path));
        });
        text.ok()
    }

    fn legacy(&mut self, raw: raw::LegacyIssuer) -> Option<(std::ops::Range<usize>, LegacyIssuer)> {
        let place = raw.name.span();
        let secret = self.shared_secret(Some(&raw.secret));
        let until =
            NaiveDate::parse_from_str(&raw.until, "%Y-%m-%d").ok().and_then(|day| day.checked_add_days(Days::new(1)));
        if until.is_none() {
            self.document.note(raw.until.span(), format!("\"{}\" is not a day such as \"2027-06-30\"", *raw.until));
        }
        Some((
            place,
            LegacyIssuer {
                name: raw.name.into_inner(),
                secret: secret?,
                issuer: raw.issuer,
                audience: raw.audience,
                kid: raw.kid.map(Placed::into_inner),
                subject: match raw.subject {
                    None | Some(raw::Subject::Email) => LegacySubject::Email,
                    Some(raw::Subject::Id) => LegacySubject::Id,
                },
                until: until?.and_time(NaiveTime::MIN).and_utc(),
            },
        ))
    }
}
