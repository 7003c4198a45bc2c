//! Which configuration it is, for the audit trail: one that was changed while nobody served is told by it from the one before.

use std::fs;

use identity::SecretDigest;

use super::{ConfigFolder, EMBEDDED, FILES};
use crate::config::seed;

// === impl ConfigFolder ===

impl ConfigFolder {
    /// The SHA-256 of a list of its files and their SHA-256s, in hex: what `sha256sum gateway.toml routes.toml roles.toml tiers.toml cases.toml
    /// seed.toml | sha256sum` says in the folder (without `seed.toml`, if there is none). `None` if a file cannot be read.
    pub(crate) fn digest(&self) -> Option<String> {
        let mut list = String::new();
        for (name, embedded) in FILES.into_iter().zip(EMBEDDED).chain([(seed::FILE, seed::EMBEDDED)]) {
            let bytes = match self.path() {
                None => embedded.as_bytes().to_vec(),
                Some(folder) => match fs::read(folder.join(name)) {
                    Ok(bytes) => bytes,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound && name == seed::FILE => continue,
                    Err(_) => return None,
                },
            };
            list.extend([hex(&bytes).as_str(), "  ", name, "\n"]);
        }
        Some(hex(list.as_bytes()))
    }
}

fn hex(bytes: &[u8]) -> String {
    SecretDigest::of(bytes).as_bytes().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
