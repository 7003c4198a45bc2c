//! The cache of callers on a real store: what it believes, until when, and whom it stops listening to.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod cache;
mod cookies;
mod house;
mod refusals;
mod uses;

use super::*;

pub(crate) use self::house::{House, unknown_key};
