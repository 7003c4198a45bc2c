//! `roles.toml`: `[role.NAME]` → [`Roles`].

use std::collections::BTreeSet;

use super::document::Document;
use super::known::{self, Known};
use super::raw::RawRole;
use crate::Roles;

/// Every role; what others may name of them goes into `known`.
pub(super) fn build(file: &mut Document<'_>, known: &mut Known) -> Roles {
    let mut roles = Vec::new();
    let mut names = BTreeSet::new();
    for role in file.entries::<RawRole>("role") {
        known::check_name(file, &role.name);
        names.insert(role.name.to_string());
        let held = role.value.map(|raw| known::permissions(file, &raw.permissions));
        roles.extend(held.map(|held| (role.name.as_str().into(), held)));
    }
    let roles = Roles::new(roles);
    let held = roles.names().filter_map(|name| roles.get(name)).flat_map(|held| held.iter().map(str::to_owned));
    known.permissions = file.is_faultless().then(|| held.filter(|held| held != "*").collect());
    known.roles = file.is_readable().then_some(names);
    roles
}
