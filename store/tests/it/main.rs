//! The store's promises, each kept on SQLite and on Postgres. Run through `make test` or `scripts/with-services`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accounts;
mod engines;
mod faults;
mod feed;
mod keys;
mod killed;
mod lockout;
mod one_time;
mod outbox;
mod proxy;
mod retention;
mod schema;
mod sessions;
mod signing;
