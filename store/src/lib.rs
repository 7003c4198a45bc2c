//! What we remember: accounts, sessions, keys and what changed, in SQL, on SQLite for one node and Postgres for many.
//!
//! [`Store`] is the way in. Each query is one text that serves both engines (`db`); each file holds the questions about one
//! kind of record: `accounts`, `sessions`, `keys`, `signing`. Every write that matters to the door appends to the
//! change feed (`feed`) in its own transaction. `grants` are the door's look-ups, one query each; `retention`
//! deletes what is over. [`Keyring`] opens the
//! signing keys.
//!
//! Left to others: what may be done (`policies`), what a credential proves (`identity`), caching (`gateway`).

mod accounts;
mod db;
mod error;
mod feed;
mod grants;
mod keyring;
mod keys;
mod migrate;
mod paging;
mod retention;
mod sessions;
mod signing;

pub use accounts::{Account, AccountChange, NewAccount, ProfileChange, Status};
pub use db::{PoolSettings, Store};
pub use error::StoreError;
pub use feed::{Change, Subject};
pub use grants::{GrantFacts, Standing};
pub use keyring::{Keyring, SigningSet};
pub use keys::{KeyRecord, NewKey};
pub use migrate::MigrationStatus;
pub use paging::{Cursor, CursorError, Page};
pub use sessions::{NewSession, RefreshOutcome};
pub use signing::{Purpose, ensure_keys, rotate};
