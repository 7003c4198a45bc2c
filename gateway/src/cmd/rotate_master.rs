//! `portcullis keys rotate-master`: a new master key, and everything that is sealed sealed with it, while gateways run.
//!
//! ```text
//! OLD            every gateway seals with OLD
//! OLD, NEW next  … and can open what NEW seals            wait until all of them say so
//! NEW, OLD old   … and seals with NEW                     wait again, then reseal what is left of OLD
//! ```
//!
//! Each state is written into the key file before anything is done in it, and what has been resealed shows in the values: broken off anywhere,
//! the command is run again and goes on. Keys in the environment are changed by hand, in the same three states.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use identity::{MasterKey, SecretText};
use store::SealNode;

use super::{block_on, open_existing, progress, rng, say, shown};
use crate::{
    cli::{Failure, Place},
    config::MasterKeySource,
    foundation::{Foundation, failure, read_master_keys},
};

/// How long gateways may take to read a new key; after that somebody has to look why.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(place: &Place) -> Result<(), Failure> {
    block_on(1, async {
        let (config, foundation) = open_existing(place).await?;
        let source = &config.settings.master_key;
        let _lock;
        let old = if let Some(text) = source.in_environment() {
            in_environment(source, &text, &foundation).await?
        } else {
            let path = place.data.join(&source.file);
            _lock = alone(&path)?;
            Some(in_file(&path, &foundation).await?)
        };
        let Some(old) = old else { return Ok(()) };
        reseal(&foundation).await?;
        foundation.write_down("rotate_master_key", None).await?;
        say(&format!("Everything is sealed with {}. {old}", foundation.seal.ids().remove(0)));
        say("Keep the old key with the backups of its time: they open with no other.");
        Ok(())
    })
}

/// Brings the file from one state to the next. Says how the old key goes at the end.
async fn in_file(path: &Path, foundation: &Foundation) -> Result<String, Failure> {
    let text = SecretText::from(fs::read_to_string(path).with_context(|| format!("{} cannot be read", shown(path)))?);
    let keys = read_master_keys(path, &text)?;
    let said = text.expose().lines().nth(1).and_then(|line| line.split_whitespace().nth(1));
    let is_promoted = said == Some("old");
    let (old, new) = match (<[MasterKey; 2]>::try_from(keys), said) {
        (Ok([new, old]), Some("old")) | (Ok([old, new]), Some("next")) => (old, new),
        (Err(keys), _) if keys.len() == 1 => {
            let (old, new) = (keys[0].clone(), MasterKey::generate(&mut rng()?));
            put(path, &format!("{}\n{} next\n", *old.encode(), *new.encode()))?;
            (old, new)
        }
        _ => {
            return Err(Failure::Data(format!(
                "{} has to hold one key, or one and on a second line another with `next` or `old` after it",
                shown(path)
            )));
        }
    };
    if !is_promoted {
        say(&format!("{} is made known to every gateway …", new.id()));
        until(foundation, &new.id(), |node, id| node.opens.iter().any(|known| known == id)).await?;
        put(path, &format!("{}\n{} old\n", *new.encode(), *old.encode()))?;
    }
    say(&format!("every gateway seals with {} …", new.id()));
    until(foundation, &new.id(), |node, id| node.seals_with == id).await?;
    foundation.seal.replace(new, vec![old]);
    Ok(format!("The old key may go: take its line out of {}.", shown(path)))
}

/// One at a time: two would each make a key, and what was sealed with one of them would be lost. The lock goes with the process.
fn alone(path: &Path) -> Result<fs::File, Failure> {
    let lock = path.with_extension("key.lock");
    let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&lock);
    let file = file.with_context(|| format!("{} cannot be made", shown(&lock)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(Failure::Unavailable("the master key is being rotated by somebody else".to_owned())),
    }
}

/// The first key of the variable is the one to be sealed with; with no other there is nothing to do yet.
async fn in_environment(
    source: &MasterKeySource,
    text: &SecretText,
    foundation: &Foundation,
) -> Result<Option<String>, Failure> {
    let keys = MasterKey::parse_all(text.expose()).context("the variable holds no master key")?;
    let env = &source.env;
    if keys.len() == 1 {
        say(&format!(
            "{env} holds one key. Make another one (`portcullis keys generate`), and then, restarting every gateway each time:"
        ));
        say(&format!("  1. {env}=OLD,NEW   they can open what the new key seals"));
        say(&format!("  2. {env}=NEW,OLD   they seal with it"));
        say(&format!("  3. run this again with {env}=NEW,OLD"));
        say(&format!("  4. {env}=NEW       the old one is gone"));
        return Ok(None);
    }
    until(foundation, &keys[0].id(), |node, id| node.seals_with == id).await?;
    Ok(Some(format!("The old key may go: leave the first one in {env} and restart the gateways.")))
}

/// Waits until `has` holds for every gateway that runs.
async fn until(foundation: &Foundation, id: &str, has: impl Fn(&SealNode, &str) -> bool) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let nodes = foundation.store.seal_nodes(store::clock::now()).await.map_err(|error| failure(&error))?;
        let waiting: Vec<_> = nodes.iter().filter(|node| !has(node, id)).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let keys = |node: &&SealNode| format!("{} has {}", node.id, node.opens.join(", "));
            let told = waiting.iter().map(keys).collect::<Vec<_>>().join("; ");
            let message = format!(
                "not every gateway has the key {id} as it has to be: {told}. Give it to them, and run this again"
            );
            return Err(Failure::Unavailable(message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn reseal(foundation: &Foundation) -> Result<(), Failure> {
    let (store, seal) = (&foundation.store, &foundation.seal);
    let count = store.sealed_otherwise(seal).await.map_err(|error| failure(&error))?;
    let bar = progress(count, "{pos}/{len}");
    let resealed = store.reseal(seal, |some| bar.inc(some)).await.map_err(|error| failure(&error))?;
    bar.finish_and_clear();
    say(&format!("{} values were sealed anew", resealed.done));
    for (table, some) in &resealed.unreadable {
        say(&format!("{some} values in {table} open with no key that is here, and were left as they are"));
    }
    if resealed.left > 0 {
        let message = format!(
            "{} values are still being sealed with another key; which gateway does not know the new one?",
            resealed.left
        );
        return Err(Failure::Unavailable(message));
    }
    Ok(())
}

/// Whole or not at all: a file that is cut short would lose the keys.
fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    // Of one name, so that what a killed command has left behind is written over.
    let draft: PathBuf = path.with_extension("key.new");
    let written = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // The folder's own entry has to last as well.
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().with_context(|| format!("the master keys {} cannot be written", shown(path)))
}
