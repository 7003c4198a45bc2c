//! `portcullis reset`: an empty platform. Everything in the database is deleted, and what waits to be counted there, for whoever means it.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, anyhow};

use super::{block_on, read_config, say, shown};
use crate::{
    cli::{Failure, Reset},
    foundation, usage,
};

/// What has to be typed, in this order.
const WORDS: [&str; 2] = ["yes", "delete everything"];

pub(crate) fn run(reset: &Reset) -> Result<(), Failure> {
    let config = read_config(&reset.place)?;
    foundation::must_exist(&config.settings.store, &reset.place.data)?;
    if !reset.yes_really {
        ask()?;
    }
    block_on(1, async {
        let store = foundation::connect(&config.settings.store, &reset.place.data).await?;
        let broken = |error| Failure::Other(anyhow!("{error}").context("the tables could not be made anew"));
        while store.migrations_status().await.map_err(broken)?.iter().any(|step| step.applied_at.is_some()) {
            store.revert_last().await.map_err(broken)?;
        }
        store.migrate().await.map_err(broken)?;
        let left = usage::clear(&config.settings.usage, &reset.place.data);
        for segment in left.context("what was used and is not counted yet could not be deleted")? {
            say(&format!(
                "{} is in use: stop the gateway, and delete it, or what it holds is counted",
                shown(&segment)
            ));
        }
        say("Everything is deleted. Start gateways that run anew, and make an administrator: portcullis create-admin");
        Ok(())
    })
}

fn ask() -> anyhow::Result<()> {
    let mut typed = std::io::stdin().lock();
    if !typed.is_terminal() {
        return Err(anyhow!("nobody is there to be asked; --yes-really deletes everything without"));
    }
    say("This deletes every account, session, key and setting in the database. There is no way back but a backup.");
    for word in WORDS {
        say(&format!("Type \"{word}\" to go on:"));
        let mut line = String::new();
        typed.read_line(&mut line).context("nothing can be read")?;
        if line.trim() != word {
            return Err(anyhow!("nothing was deleted"));
        }
    }
    Ok(())
}
