//! The five old systems (docs/seeds.md): what their documents show, done to the letter at the door of a real `portcullis serve`.
//!
//! Each replay begins with a fresh data folder and the configuration as it is shipped; the environment is the document's own. Only
//! host, port and placeholder secrets differ from what is written there. `make seeds` runs this and nothing else.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../gateway/tests/door/cluster.rs"]
#[expect(dead_code, reason = "the door's tests use more of it")]
mod cluster;
#[path = "../../gateway/tests/door/database.rs"]
#[expect(dead_code, reason = "the door's tests use more of it")]
mod database;
#[path = "../../gateway/tests/door/platform.rs"]
#[expect(dead_code, reason = "the door's tests use more of it")]
mod platform;

#[path = "../../examples/axum/app.rs"]
#[expect(dead_code, reason = "it is run by the test, and not by its own `main`")]
mod axum_example;

mod doors;
mod examples;
mod seed_000;
mod seed_001;
mod seed_002;
mod seed_003;
mod seed_004;
mod settings;
