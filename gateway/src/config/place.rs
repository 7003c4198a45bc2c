//! Where a setting stands, so that what is found out later than the files are read can still say where.

use std::{fmt, ops::Range};

use policies::config::Document;

/// A place in `gateway.toml`. Any two are equal: a line that has moved is no change of what the file says.
#[derive(Clone, Debug, Default)]
pub struct Place(Option<Box<str>>);

// === impl Place ===

impl Place {
    pub(super) fn of(document: &Document<'_>, span: &Range<usize>) -> Self {
        Self(Some(document.place(span).into()))
    }
}

/// What goes before a message: `gateway.toml:12:5: `, and nothing for what stands in no file.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |place| write!(f, "{place}: "))
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}
