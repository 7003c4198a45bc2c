//! The store's promises, each kept on SQLite, on Postgres, and on Postgres behind PgBouncer. Run through `make test` or `scripts/with-services`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accounts;
mod agents;
mod audit;
mod backup;
mod billing;
mod changed_hands;
mod cookies;
mod engines;
mod factors;
mod faults;
mod feed;
mod imports;
mod integrations;
mod keys;
mod killed;
mod lists;
mod lock_order;
mod lockout;
mod one_time;
mod outbox;
mod passkeys;
mod pooler;
mod proxy;
mod quotas;
mod reseal;
mod retention;
mod rights;
mod schema;
mod sessions;
mod signing;
mod teams;
mod turns;
mod unlinking;
mod usage;
mod weighed;
