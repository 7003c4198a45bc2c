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

    /// A page of all the items that there are, which are few and in the order of their ids.
    #[must_use]
    pub fn of_whole(mut items: Vec<T>, after: Option<Cursor>, limit: u32, id: impl Fn(&T) -> Uuid) -> Self {
        let begins =
            after.and_then(|after| items.iter().rposition(|item| id(item) <= after.0)).map_or(0, |last| last + 1);
        items.drain(..begins);
        Self::cut(items, limit, id)
    }

    /// The same page of what its items stand for; what stands for nothing is left out.
    pub(crate) fn filter_map<U>(self, read: impl FnMut(T) -> Option<U>) -> Page<U> {
        Page { items: self.items.into_iter().filter_map(read).collect(), next: self.next }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_whole_begins_where_the_one_before_ended_also_if_that_is_gone() {
        let id = |number: &u128| Uuid::from_u128(*number);
        let page = |of: &[u128], after: Option<u128>, limit| {
            let page = Page::of_whole(of.to_vec(), after.map(Uuid::from_u128).map(Cursor), limit, id);
            (page.items, page.next.map(|next| next.0.as_u128()))
        };
        assert_eq!(page(&[1, 2, 3], None, 2), (vec![1, 2], Some(2)));
        assert_eq!(page(&[1, 2, 3], Some(2), 2), (vec![3], None));
        assert_eq!(page(&[1, 3], Some(2), 2), (vec![3], None));
        assert_eq!(page(&[1, 2, 3], Some(3), 2), (vec![], None));
        assert_eq!(page(&[1, 2], None, 2), (vec![1, 2], None));
        assert_eq!(page(&[], Some(1), 2), (vec![], None));
    }
}
