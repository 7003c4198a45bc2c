//! Configuration is read or refused with places; no text makes the reader panic.

use std::collections::BTreeSet;

use crate::cases;
use crate::config::{Source, Sources, Upstreams, load};
use crate::matrix;

/// `routes.toml`, `roles.toml`, `tiers.toml` and `cases.toml`, parted by lines of `=====`.
///
/// # Panics
/// When a diagnostic has no place or no text, when reading twice says two things, or when what was read cannot be used.
pub fn policy_files(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut files = text.split("\n=====\n");
    let mut next = |name| Source { name, text: Ok(files.next().unwrap_or_default()) };
    let (routes, roles, tiers, cases) = (next("routes"), next("roles"), next("tiers"), next("cases"));
    let sources = Sources { routes, roles, tiers, cases };
    let upstreams = Upstreams { names: BTreeSet::from(["demo".to_owned()]), ..Upstreams::default() };
    for known in [Some(&upstreams), None] {
        match load(&sources, known) {
            Ok(loaded) => {
                let told: Vec<_> = cases::run(&loaded.policy, &loaded.cases).iter().map(ToString::to_string).collect();
                assert!(told.iter().all(|failure| !failure.is_empty()));
                assert!(!matrix::table(&loaded.policy).is_empty());
            }
            Err(wrong) => {
                assert!(!wrong.is_empty(), "refused without a reason");
                for told in &wrong {
                    let file = [routes, roles, tiers, cases].into_iter().find(|file| *file.name == *told.file);
                    let lines = file.map_or(0, |file| file.text.unwrap_or_default().matches('\n').count() + 1);
                    assert!((1..=lines).contains(&told.line) && told.column >= 1, "{told}");
                    assert!(!told.message.is_empty(), "{told}");
                }
                assert_eq!(load(&sources, known).err(), Some(wrong));
            }
        }
    }
}
