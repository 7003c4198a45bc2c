//! What must hold whatever is sent: the same functions are run by cargo-fuzz (`fuzz/`) and, over its corpora, by the unit tests.
//!
//! Each takes bytes, makes of them what it needs, and panics when the rule is broken. Not part of the crate's interface: only
//! there under test or with the feature `properties`.

mod shown;
mod tokens;

pub use shown::authorization;
pub use tokens::{genuine, token_verifier};

#[cfg(test)]
mod tests;
