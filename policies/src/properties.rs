//! What must hold whatever is sent: the same functions are run by cargo-fuzz (`fuzz/`) and, over its corpora, by the unit tests.
//!
//! Each takes bytes, makes of them what it needs, and panics when the rule is broken. Each compares with a second way to say
//! the rule, written for clarity alone, so that a mistake would have to be made twice. Not part of the crate's interface: only
//! there under test or with the feature `properties`.

mod header;
mod matcher;
mod parser;
mod path;

pub use header::folded_header;
pub use matcher::route_matcher;
pub use parser::policy_files;
pub use path::canonical_path;

#[cfg(test)]
mod tests;
