//! `portcullis import users.jsonl`: accounts of older systems, one a line, with the hashes of their passwords as they are; `portcullis
//! import DIR`: what else they have with them.
//!
//! A line that is already here changes nothing, so that an import that was broken off is simply run again. What each line may
//! hold is [`Line`]; docs/import.md tells it to people.

mod folder;
mod lines;
mod old_keys;
mod rows;
mod trail;
mod when;

use std::{
    io::BufRead,
    path::{Path, PathBuf},
};

use admin_api::check_picture;
use anyhow::Context;
use chrono::{DateTime, Utc};
use identity::{AccountId, Email, Hasher, NameFault, PasswordHash, readable_name_of};
use policies::Policy;
use serde::Deserialize;
use store::{Imported, ImportedAccount, Rehearsal, Store};
use uuid::Uuid;

use self::{
    lines::{Lines, Report, parsed},
    rows::{Id, in_our_letters},
    trail::Trail,
    when::When,
};
use super::{block_on, open, say};
use crate::{
    cli::{Failure, Import},
    config::Config,
    foundation::Foundation,
    seal_watch::Holder,
};

/// Lines in one transaction.
const BATCH: usize = 200;
const LONGEST_NAME: usize = 200;

/// An account as the file tells it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    email: String,
    name: Option<String>,
    /// bcrypt (`$2a$`, `$2b$`, `$2y$`) or Argon2id (PHC). Without it the owner has to ask for a new password by mail.
    password_hash: Option<String>,
    role: Option<String>,
    tier: Option<String>,
    is_verified: Option<bool>,
    /// Where a picture is, for browsers to load; empty: nowhere.
    avatar_url: Option<String>,
    created_at: Option<When>,
    /// The id there; needs `--system`.
    id: Option<Id>,
    /// Of which tenant there; read again when its members are (see [`folder`]).
    tenant_id: Option<Id>,
}

/// One run through accounts.
struct Run<'a> {
    import: &'a Import,
    policy: &'a Policy,
    no_password: PasswordHash,
    now: DateTime<Utc>,
    report: &'a mut Report,
    /// `None` of a run that only tries.
    trail: Option<&'a Trail<'a>>,
    in_folder: bool,
    /// Of a run that only tries.
    rehearsal: Rehearsal,
    batch: Vec<(u64, ImportedAccount)>,
    made: u64,
    present: u64,
}

pub(crate) fn run(import: &Import) -> Result<(), Failure> {
    let in_folder = import.file.is_dir();
    let lines = if in_folder { None } else { Some(Lines::open(&import.file)?) };
    block_on(1, async {
        let (config, foundation) = open(&import.place).await?;
        let holder = Holder::new(&config.settings, &import.place.data, (&foundation.store, &foundation.seal));
        let work = everything(import, &config, &foundation, lines);
        if import.dry_run { work.await } else { holder.beside(work).await }
    })
}

async fn everything(
    import: &Import,
    config: &Config,
    foundation: &Foundation,
    lines: Option<Lines<impl BufRead>>,
) -> Result<(), Failure> {
    let hasher = Hasher::new(config.settings.passwords.argon2).context("Argon2 parameters")?;
    let mut report = Report::new(import.report.clone().unwrap_or_else(|| beside(&import.file)));
    let trail = Trail { foundation, system: import.system.as_deref() };
    let trail = (!import.dry_run).then_some(&trail);
    if let Some(trail) = trail {
        trail.begin().await.context("nothing was stored, since it could not be written down")?;
    }
    let run = Run {
        import,
        policy: &config.policy,
        no_password: hasher.decoy().clone(),
        now: store::clock::now(),
        report: &mut report,
        trail,
        in_folder: lines.is_none(),
        rehearsal: Rehearsal::default(),
        batch: Vec::with_capacity(BATCH),
        made: 0,
        present: 0,
    };
    let read = match lines {
        Some(lines) => run.all(&foundation.store, lines).await,
        None => folder::read(run, foundation).await,
    };
    let written = match trail {
        Some(trail) => trail.end(&report, read.is_ok()).await,
        None => Ok(()),
    };
    read?;
    written.context("it is done, but could not be written down")?;
    report.tell()
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".rejected.jsonl");
    file.with_file_name(name)
}

// === impl Run ===

impl Run<'_> {
    /// A file of accounts and nothing else.
    async fn all(mut self, store: &Store, lines: Lines<impl BufRead>) -> Result<(), Failure> {
        self.read(store, lines).await?;
        let (made, present, rejected) = (self.made, self.present, self.report.rejected());
        if self.import.dry_run {
            let good = made + present;
            say(&format!("{good} lines are good, {rejected} rejected; nothing was stored (--dry-run)"));
        } else {
            say(&format!("{made} accounts made, {present} were here already, {rejected} lines rejected"));
        }
        Ok(())
    }

    async fn read(&mut self, store: &Store, mut lines: Lines<impl BufRead>) -> Result<(), Failure> {
        while let Some(line) = lines.next()? {
            match line.text.and_then(|text| self.parse(&text)) {
                Ok(account) => self.batch.push((line.number, account)),
                Err(reason) => self.report.reject(line.number, &reason)?,
            }
            if self.batch.len() == BATCH {
                self.save(store).await?;
            }
        }
        self.save(store).await
    }

    fn parse(&self, text: &[u8]) -> Result<ImportedAccount, String> {
        let line: Line = parsed(text)?;
        if line.tenant_id.is_some() && !self.in_folder {
            return Err("a `tenant_id` is for `portcullis import DIR`".to_owned());
        }
        let email = Email::parse(&line.email).map_err(|error| error.to_string())?;
        let password_hash = match line.password_hash {
            Some(text) => PasswordHash::imported(text).map_err(str::to_owned)?,
            None => self.no_password.clone(),
        };
        let role = line.role.unwrap_or_else(|| "user".to_owned());
        let role = in_our_letters(role, |role| self.policy.roles.contains(role));
        if !self.policy.roles.contains(&role) {
            return Err("`role` is none of roles.toml".to_owned());
        }
        if self.policy.roles.is_of_services(&role) {
            return Err("`role` is one of service accounts, and no person's".to_owned());
        }
        let tier = line.tier.unwrap_or_else(|| "free".to_owned());
        let tier = in_our_letters(tier, |tier| self.policy.tiers.contains(tier));
        if !self.policy.tiers.contains(&tier) {
            return Err("`tier` is none of tiers.toml".to_owned());
        }
        let name = match line.name.as_deref().map(|name| readable_name_of(name, LONGEST_NAME)) {
            None | Some(Err(NameFault::Empty | NameFault::Invisible)) => None,
            Some(name) => Some(name.map_err(|fault| format!("a name {fault}"))?.to_owned()),
        };
        let avatar_url = line.avatar_url.filter(|url| !url.is_empty());
        if let Some(url) = &avatar_url {
            check_picture(url).map_err(|fault| format!("`avatar_url` {fault}"))?;
        }
        Ok(ImportedAccount {
            id: AccountId::new(Uuid::now_v7()),
            email,
            password_hash,
            name,
            avatar_url,
            role,
            tier,
            is_verified: line.is_verified.unwrap_or(false),
            created_at: line.created_at.map_or(self.now, |when| when.0.min(self.now)),
            there: line.id.map(|id| self.there(id)).transpose()?,
            system: self.import.system.clone(),
            address: line.email,
        })
    }

    fn there(&self, id: Id) -> Result<(String, String), String> {
        let system = self.import.system.clone().ok_or("an `id` needs --system, the name of where it is from")?;
        Ok((system, id.text()?))
    }

    async fn save(&mut self, store: &Store) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let (numbers, accounts): (Vec<u64>, Vec<ImportedAccount>) = batch.into_iter().unzip();
        if let Some(trail) = self.trail {
            let managing = self.who_manage(accounts.iter());
            trail.will_make(&managing).await.context("it could not be written down whom it makes")?;
        }
        let outcomes = if self.import.dry_run {
            store.rehearse_accounts(&accounts, &mut self.rehearsal).await
        } else {
            store.import_accounts(&accounts, self.now).await
        };
        let outcomes = outcomes.map_err(|error| {
            Failure::Unavailable(format!(
                "lines {} to {} could not be stored: {error}; what came before is, and running this again goes on from there",
                numbers.first().unwrap_or(&0),
                numbers.last().unwrap_or(&0)
            ))
        })?;
        let (made, present) = (self.made, self.present);
        if let Some(trail) = self.trail {
            let made = accounts.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Imported::Made);
            let made = self.who_manage(made.map(|(account, _)| account));
            trail.have_made(&made).await.context("accounts were made, but that could not be written down")?;
        }
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            match outcome {
                Imported::Made => self.made += 1,
                Imported::Present => self.present += 1,
                Imported::OtherAccount => {
                    self.report.reject(number, "its `id` belongs to an account of another address here")?;
                }
            }
        }
        self.report.stored(self.made - made, self.present - present);
        Ok(())
    }

    /// Those whose role manages others, and what it is.
    fn who_manage<'b>(&self, accounts: impl Iterator<Item = &'b ImportedAccount>) -> Vec<(AccountId, String)> {
        let managing = accounts.filter(|account| self.policy.roles.administers(&account.role));
        managing.map(|account| (account.id, account.role.clone())).collect()
    }
}
