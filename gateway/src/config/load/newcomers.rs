//! The role and the tier of whoever registers: those that this binary gives have to be configured.

use policies::{Policy, config::Diagnostic};

use super::{FILES, place_of};
use crate::office::{DEFAULT_ROLE, DEFAULT_TIER};

/// Whoever registers gets a role and a tier of these names. Without them every newcomer would be let in nowhere, and no request tells why.
pub(super) fn nothing_for_newcomers(policy: &Policy, roles: &str) -> Vec<Diagnostic> {
    let role = (!policy.roles.contains(DEFAULT_ROLE)).then(|| {
        let message = format!("there is no role `{DEFAULT_ROLE}`, which whoever registers gets");
        Diagnostic::at(FILES[2], "", 0, message, None)
    });
    let tier = (!policy.tiers.contains(DEFAULT_TIER)).then(|| {
        let message = format!("there is no tier `{DEFAULT_TIER}`, which whoever registers gets");
        Diagnostic::at(FILES[3], "", 0, message, None)
    });
    // Nobody may be made who reports what others have used, stands for them, or manages them.
    let is = match &policy.roles {
        held if held.is_of_services(DEFAULT_ROLE) => Some("is a role of service accounts"),
        held if held.administers(DEFAULT_ROLE) => Some("may manage accounts"),
        _ => None,
    };
    let unfit = is.map(|is| {
        let place = place_of(roles, &format!("[role.{DEFAULT_ROLE}]"), "permissions");
        Diagnostic::at(FILES[2], roles, place, format!("`{DEFAULT_ROLE}` {is}, and whoever registers gets it"), None)
    });
    role.into_iter().chain(tier).chain(unfit).collect()
}
