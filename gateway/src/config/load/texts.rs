//! What the files of a folder held when they were read, once, and which configuration that is, for the audit trail.

use std::{fs, io::ErrorKind};

use identity::SecretDigest;

use super::{ConfigFolder, EMBEDDED, FILES};
use crate::config::seed;

/// What each file holds, or why it cannot be read.
pub(crate) struct Texts {
    pub(super) files: [Result<String, String>; 5],
    /// `None`: there is none, and need not be.
    pub(in crate::config) seed: Option<Result<String, String>>,
}

// === impl Texts ===

impl Texts {
    /// The SHA-256 of a list of the files and their SHA-256s, in hex: what `sha256sum gateway.toml routes.toml roles.toml tiers.toml cases.toml
    /// seed.toml | sha256sum` says in the folder (without `seed.toml`, if there is none). `None` if a file cannot be read.
    pub(crate) fn digest(&self) -> Option<String> {
        let mut list = String::new();
        let seed = self.seed.iter().map(|text| (seed::FILE, text));
        for (name, text) in FILES.into_iter().zip(&self.files).chain(seed) {
            list.extend([hex(text.as_ref().ok()?.as_bytes()).as_str(), "  ", name, "\n"]);
        }
        Some(hex(list.as_bytes()))
    }
}

// === impl ConfigFolder ===

impl ConfigFolder {
    pub(crate) fn read(&self) -> Texts {
        let Self::Path(folder) = self else {
            return Texts {
                files: EMBEDDED.map(|text| Ok(text.to_owned())),
                seed: Some(Ok(seed::EMBEDDED.to_owned())),
            };
        };
        let read = |name: &str| {
            let file = folder.join(name);
            let text = fs::read_to_string(&file);
            (
                !matches!(&text, Err(error) if error.kind() == ErrorKind::NotFound),
                text.map_err(|error| format!("{} cannot be read: {error}", file.display())),
            )
        };
        let (is_there, seed) = read(seed::FILE);
        Texts { files: FILES.map(|name| read(name).1), seed: is_there.then_some(seed) }
    }
}

fn hex(bytes: &[u8]) -> String {
    SecretDigest::of(bytes).as_bytes().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
