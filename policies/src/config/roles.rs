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
    let mut is_whole = file.is_readable();
    for role in file.entries::<RawRole>("role") {
        known::check_name(file, &role.name);
        names.insert(role.name.to_string());
        match role.value {
            Some(raw) => roles.push((role.name.as_str().into(), known::permissions(file, &raw.permissions))),
            None => is_whole = false,
        }
    }
    let roles = Roles::new(roles);
    let held = roles.names().filter_map(|name| roles.get(name)).flat_map(|held| held.iter().map(str::to_owned));
    known.permissions = is_whole.then(|| held.filter(|held| held != "*").collect());
    known.roles = file.is_readable().then_some(names);
    roles
}
