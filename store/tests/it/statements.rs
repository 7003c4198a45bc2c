//! The statements that are run, as the database's driver tells of them; the tests of `admin-api` hear of them by this file too.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Every statement of this process: each test has one of its own (nextest).
pub(crate) static STATEMENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Hears of each statement that sqlx has run, on whatever thread. That a transaction begins or ends is none.
struct Counting;

/// The statement that an event is about.
struct Summary<'a>(&'a mut String);

impl Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Summary(&mut text));
        STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Summary<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "summary" {
            *self.0 = format!("{value:?}");
        }
    }
}

/// From now on statements are heard.
pub(crate) fn hear_statements() {
    tracing::subscriber::set_global_default(Counting).unwrap();
}
