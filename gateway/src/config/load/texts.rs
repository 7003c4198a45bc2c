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
            let bytes = fs::read(&file);
            (
                !matches!(&bytes, Err(error) if error.kind() == ErrorKind::NotFound),
                bytes
                    .map_err(|error| error.to_string())
                    .and_then(text_of)
                    .map_err(|reason| format!("{} cannot be read: {reason}", file.display())),
            )
        };
        let (is_there, seed) = read(seed::FILE);
        Texts { files: FILES.map(|name| read(name).1), seed: is_there.then_some(seed) }
    }
}

/// Or the line in which it is no text.
fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        format!("line {} is not UTF-8", good.split(|byte| *byte == b'\n').count())
    })
}

fn hex(bytes: &[u8]) -> String {
    SecretDigest::of(bytes).as_bytes().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
