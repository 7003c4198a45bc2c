//! No name that a backend could fold into one of ours passes, and every other does.

use std::sync::LazyLock;

use crate::header::{Folding, RESERVED, Reserved, Verdict, fold};

const OWN: [&str; 2] = ["X-Team-*", "x-plan"];

#[expect(clippy::unwrap_used, reason = "the names are known to be good")]
static RULES: LazyLock<[(Folding, Reserved); 2]> =
    LazyLock::new(|| [Folding::Drop, Folding::Allow].map(|folding| (folding, Reserved::new(OWN, folding).unwrap())));

/// The name of a header.
///
/// # Panics
/// When the verdict is not what the folded name alone says.
pub fn folded_header(data: &[u8]) {
    let Ok(name) = str::from_utf8(data) else { return };
    let folded: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' })
        .collect();
    assert_eq!(fold(name), folded);
    let is_reserved = RESERVED.iter().chain(&OWN).any(|reserved| {
        let reserved = reserved.to_lowercase();
        match reserved.strip_suffix("-*") {
            Some(above) => folded == above || folded.starts_with(&format!("{above}-")),
            None => folded == reserved,
        }
    });
    let is_plain = name.chars().all(|character| character.is_ascii_alphanumeric() || character == '-');
    for (folding, rules) in &*RULES {
        assert_eq!(rules.is_reserved(name), is_reserved, "{name:?}");
        let frames = folded == "content-length" || folded == "transfer-encoding";
        let passes = !is_reserved && (is_plain || (*folding == Folding::Allow && !frames));
        assert_eq!(rules.verdict(name) == Verdict::Keep, passes, "{name:?} with {folding:?}");
    }
}
