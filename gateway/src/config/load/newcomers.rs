//! The role and the tier of whoever registers: those that this binary gives have to be configured.

use policies::{Policy, config::Diagnostic};

use super::FILES;
use crate::{
    config::Settings,
    office::{DEFAULT_ROLE, DEFAULT_TIER},
};

/// Whoever registers gets a role and a tier of these names. Without them every newcomer would be let in nowhere, and no request tells why.
pub(super) fn nothing_for_newcomers(policy: &Policy) -> Vec<Diagnostic> {
    let role = (!policy.roles.contains(DEFAULT_ROLE)).then(|| {
        let message = format!("there is no role `{DEFAULT_ROLE}`, which whoever registers gets");
        Diagnostic::at(FILES[2], "", 0, message, None)
    });
    let tier = (!policy.tiers.contains(DEFAULT_TIER)).then(|| {
        let message = format!("there is no tier `{DEFAULT_TIER}`, which whoever registers gets");
        Diagnostic::at(FILES[3], "", 0, message, None)
    });
    role.into_iter().chain(tier).collect()
}

/// The role of accounts whose address is not confirmed has to be one.
pub(super) fn no_such_role(settings: &Settings, policy: Option<&Policy>) -> Option<Diagnostic> {
    let (role, roles) = (settings.accounts.settings.unverified_role.as_deref()?, &policy?.roles);
    let fault = if !roles.contains(role) {
        format!("there is no role `{role}` in roles.toml")
    } else if roles.is_of_services(role) {
        format!("`{role}` is a role of service accounts, and no person has one")
    } else {
        return None;
    };
    Some(Diagnostic::at(FILES[0], "", 0, format!("accounts.unverified_role: {fault}"), None))
}
