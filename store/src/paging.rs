//! Pages of records in the order of their ids, and the mark where the next one begins.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// Some records, and where the next begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In order.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// Where a page ended. Opaque to those who page; ids of version 7 are in the order of their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(Uuid);

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor")]
pub struct CursorError;

// === impl Page ===

impl<T> Page<T> {
    /// Of `items`, which are one more than `limit` if there is a next page, those that belong to this one.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32, id: impl FnOnce(&T) -> Uuid) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(|last| Cursor(id(last)));
        Self { items, next }
    }
}

// === impl Cursor ===

impl Cursor {
    pub(crate) const fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        Uuid::try_parse(text).map(Self).map_err(|_| CursorError)
    }
}
