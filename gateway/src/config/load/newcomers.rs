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
    // Nobody may be made who reports what others have used, or stands for them.
    let machine = policy.roles.is_of_services(DEFAULT_ROLE).then(|| {
        let message = format!("`{DEFAULT_ROLE}` is a role of service accounts, and whoever registers gets it");
        Diagnostic::at(
            FILES[2],
            roles,
            place_of(roles, &format!("[role.{DEFAULT_ROLE}]"), "permissions"),
            message,
            None,
        )
    });
    role.into_iter().chain(tier).chain(machine).collect()
}
