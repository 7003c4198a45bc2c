//! The keys with which an older system has encrypted what it kept.

use std::env;

use identity::{FernetKey, ProviderKey, SecretText};

use crate::cli::Failure;

/// As 002 and 004 name it. Our own master key may stand there too: it is written alike.
const NAMES: [&str; 2] = ["MASTER_ENCRYPTION_KEY", "ENCRYPTION_MASTER_KEY"];

pub(super) struct OldKeys {
    variable: String,
    keys: Vec<FernetKey>,
}

// === impl OldKeys ===

impl OldKeys {
    /// What the variable holds: a key, or several with commas between them.
    pub(super) fn of(variable: Option<&str>) -> Result<Self, Failure> {
        let names: Vec<&str> = variable.map_or_else(|| NAMES.to_vec(), |name| vec![name]);
        let set = names.iter().find_map(|name| Some((*name, env::var(name).ok().filter(|text| !text.is_empty())?)));
        let Some((variable, text)) = set else {
            return Err(Failure::Surroundings(format!(
                "integrations.jsonl is opened by the old system's key, but {} is not set; --fernet-key-env NAME names another variable",
                names.join(" or ")
            )));
        };
        let text = SecretText::from(text);
        let words = text.expose().split([',', '\n']).filter_map(|line| line.split_whitespace().next());
        let keys: Vec<FernetKey> = words.filter_map(|word| FernetKey::parse(word).ok()).collect();
        if keys.is_empty() {
            return Err(Failure::Surroundings(format!(
                "{variable} holds no key for integrations.jsonl: {}",
                identity::FernetError::Key
            )));
        }
        Ok(Self { variable: variable.to_owned(), keys })
    }

    /// The provider's key that a token holds. What is said of it never holds any of it.
    pub(super) fn open(&self, token: &str) -> Result<ProviderKey, String> {
        let Some(opened) = self.keys.iter().find_map(|key| key.open(token).ok()) else {
            return Err(format!(
                "`api_key_encrypted` does not open with the key in {}; if that is this platform's own, put the old system's into another \
                 variable and name it: --fernet-key-env NAME",
                self.variable
            ));
        };
        ProviderKey::from_bytes(&opened).map_err(|error| format!("the key in `api_key_encrypted` {error}"))
    }
}
