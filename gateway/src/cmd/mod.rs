//! What each command does, and the few things that commands share: the run time, the database and the terminal.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod check_connection;
pub(crate) mod create_admin;
pub(crate) mod demo_upstream;
pub(crate) mod import;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod reset;
pub(crate) mod rotate_master;
pub(crate) mod serve;
pub(crate) mod service_account;

use std::{future::Future, io::Write, path::Path};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use policies::Policy;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    cli::{Failure, Place},
    config::{Config, load},
    foundation::{self, Foundation},
};

/// Says a line to whoever typed the command.
pub(crate) fn say(line: &str) {
    // A closed pipe is the reader's choice.
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Says what went wrong.
pub(crate) fn say_error(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// How far something is, which is `done` (in words of `indicatif`). Shown where standard error is a terminal, and nowhere else.
pub(crate) fn progress(length: u64, done: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!("{{bar:40}} {{percent:>3}} % {done} {{eta}}"));
    let bar = ProgressBar::new(length);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

/// Runs `work` on a run time of `threads` threads (0: one per core).
pub(crate) fn block_on<T>(threads: usize, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().context("the run time cannot be started")?.block_on(work)
}

/// Reads the configuration, or says everything that is wrong with it.
pub(crate) fn read_config(place: &Place) -> Result<Config, Failure> {
    load(&place.folder.open()).map_err(|wrong| Failure::Config(wrong.iter().map(ToString::to_string).collect()))
}

/// The configuration and the database, for commands that change what is stored.
pub(crate) async fn open(place: &Place) -> Result<(Config, Foundation), Failure> {
    let config = read_config(place)?;
    let foundation = Foundation::open(&config.settings, &place.data).await?;
    foundation.store.seed_new_tenants(config.seed.clone());
    Ok((config, foundation))
}

/// The same for commands that look at what is there, change it or add to it: whoever mistypes the data folder is not to be told that all is
/// well in a database made for them.
pub(crate) async fn open_existing(place: &Place) -> Result<(Config, Foundation), Failure> {
    foundation::must_exist(&read_config(place)?.settings.store, &place.data)?;
    open(place).await
}

/// Refuses to make an account that nothing knows what to do with.
pub(crate) fn must_know(policy: &Policy, role: &str, tier: &str) -> Result<(), Failure> {
    if !policy.roles.contains(role) {
        return Err(Failure::Data(format!("roles.toml has no role `{role}`")));
    }
    if !policy.tiers.contains(tier) {
        return Err(Failure::Data(format!("tiers.toml has no tier `{tier}`")));
    }
    Ok(())
}

/// A generator for keys and passwords, seeded by the system.
pub(crate) fn rng() -> Result<StdRng, Failure> {
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).ok().context("the system gives no randomness")?;
    Ok(StdRng::from_seed(seed))
}

/// A path as people read it.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
