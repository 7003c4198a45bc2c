//! `portcullis import users.jsonl`: accounts of older systems, one a line, with the hashes of their passwords as they are.
//!
//! A line that is already here changes nothing, so that an import that was broken off is simply run again. What each line may
//! hold is [`Line`]; docs/import.md tells it to people.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use identity::{Email, Hasher, PasswordHash};
use indicatif::{ProgressBar, ProgressStyle};
use policies::Policy;
use serde::{Deserialize, Serialize};
use store::{Imported, ImportedAccount, Store};

use super::{block_on, open, say, shown};
use crate::cli::{Failure, Import};

/// Accounts in one transaction.
const BATCH: usize = 200;
/// The longest line, in bytes.
const LONGEST: u64 = 64 * 1024;
const LONGEST_NAME: usize = 200;
const LONGEST_ID: usize = 255;

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
    created_at: Option<DateTime<Utc>>,
    /// The id there; needs `--system`.
    id: Option<Id>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

/// A line of the report.
#[derive(Serialize)]
struct Rejected<'a> {
    line: u64,
    reason: &'a str,
}

/// One run.
struct Run<'a> {
    import: &'a Import,
    policy: &'a Policy,
    no_password: PasswordHash,
    now: DateTime<Utc>,
    report: Report,
    bar: ProgressBar,
    batch: Vec<(u64, ImportedAccount)>,
    made: u64,
    present: u64,
}

/// Where rejected lines are told of; the file is there once there is one.
struct Report {
    path: PathBuf,
    file: Option<File>,
    rejected: u64,
}

pub(crate) fn run(import: &Import) -> Result<(), Failure> {
    let file = File::open(&import.file).with_context(|| format!("{} cannot be read", shown(&import.file)))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    block_on(1, async {
        let (config, foundation) = open(&import.place).await?;
        let hasher = Hasher::new(config.settings.passwords.argon2).context("Argon2 parameters")?;
        let report = import.report.clone().unwrap_or_else(|| beside(&import.file));
        let mut run = Run {
            import,
            policy: &config.policy,
            no_password: hasher.decoy().clone(),
            now: store::clock::now(),
            report: Report { path: report, file: None, rejected: 0 },
            bar: progress(length),
            batch: Vec::with_capacity(BATCH),
            made: 0,
            present: 0,
        };
        run.read(&foundation.store, BufReader::new(file)).await?;
        if !import.dry_run {
            foundation.write_down("import", None).await?;
        }
        run.tell()
    })
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".rejected.jsonl");
    file.with_file_name(name)
}

/// Shown where standard error is a terminal, and nowhere else.
fn progress(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} % {bytes}/{total_bytes} {msg} {eta}");
    let bar = ProgressBar::new(length);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

// === impl Run ===

impl Run<'_> {
    async fn read(&mut self, store: &Store, mut file: impl BufRead) -> Result<(), Failure> {
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            let read = file.by_ref().take(LONGEST).read_until(b'\n', &mut line).context("the file cannot be read")?;
            if read == 0 {
                break;
            }
            number += 1;
            self.bar.inc(read as u64);
            let is_whole = line.ends_with(b"\n") || (read as u64) < LONGEST;
            if !is_whole {
                self.bar.inc(skip_line(&mut file)?);
            }
            match self.parse(&line, is_whole) {
                Ok(Some(account)) => self.batch.push((number, account)),
                Ok(None) => {}
                Err(reason) => self.report.reject(number, &reason)?,
            }
            if self.batch.len() == BATCH {
                self.save(store).await?;
            }
        }
        self.save(store).await
    }

    /// The account; `None` on an empty line.
    fn parse(&self, line: &[u8], is_whole: bool) -> Result<Option<ImportedAccount>, String> {
        if !is_whole {
            return Err(format!("the line is longer than {LONGEST} bytes"));
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let email = Email::parse(&line.email).map_err(|error| error.to_string())?;
        let password_hash = match line.password_hash {
            Some(text) => PasswordHash::imported(text).map_err(str::to_owned)?,
            None => self.no_password.clone(),
        };
        let role = line.role.unwrap_or_else(|| "user".to_owned());
        if !self.policy.roles.contains(&role) {
            return Err(format!("there is no role `{role}` in roles.toml"));
        }
        let tier = line.tier.unwrap_or_else(|| "free".to_owned());
        if !self.policy.tiers.contains(&tier) {
            return Err(format!("there is no tier `{tier}` in tiers.toml"));
        }
        let name = line.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        if name.as_ref().is_some_and(|name| name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control)) {
            return Err(format!("a name is one line of {LONGEST_NAME} characters at most"));
        }
        Ok(Some(ImportedAccount {
            email,
            password_hash,
            name,
            role,
            tier,
            is_verified: line.is_verified.unwrap_or(false),
            created_at: line.created_at.unwrap_or(self.now).min(self.now),
            there: line.id.map(|id| self.there(id)).transpose()?,
            system: self.import.system.clone(),
            address: line.email,
        }))
    }

    fn there(&self, id: Id) -> Result<(String, String), String> {
        let id = match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        };
        let system = self.import.system.clone().ok_or("an `id` needs --system, the name of where it is from")?;
        if id.is_empty() || id.len() > LONGEST_ID {
            Err(format!("an `id` has 1 to {LONGEST_ID} bytes"))
        } else {
            Ok((system, id))
        }
    }

    async fn save(&mut self, store: &Store) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        if self.import.dry_run || batch.is_empty() {
            self.made += batch.len() as u64;
            return Ok(());
        }
        let (numbers, accounts): (Vec<u64>, Vec<ImportedAccount>) = batch.into_iter().unzip();
        let outcomes = store.import_accounts(&accounts, self.now).await.map_err(|error| {
            Failure::Unavailable(format!(
                "lines {} to {} could not be stored: {error}; what came before is, and running this again goes on from there",
                numbers.first().unwrap_or(&0),
                numbers.last().unwrap_or(&0)
            ))
        })?;
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            match outcome {
                Imported::Made => self.made += 1,
                Imported::Present => self.present += 1,
                Imported::OtherAccount => {
                    self.report.reject(number, "its `id` belongs to an account of another address here")?;
                }
            }
        }
        Ok(())
    }

    fn tell(self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let (made, present, rejected) = (self.made, self.present, self.report.rejected);
        if self.import.dry_run {
            say(&format!("{made} lines are good, {rejected} rejected; nothing was stored (--dry-run)"));
        } else {
            say(&format!("{made} accounts made, {present} were here already, {rejected} lines rejected"));
        }
        if rejected == 0 {
            return Ok(());
        }
        Err(Failure::Data(format!("{rejected} lines were rejected; {} says why", shown(&self.report.path))))
    }
}

/// Reads to the line's end and keeps nothing of it; says how much that was.
fn skip_line(file: &mut impl BufRead) -> Result<u64, Failure> {
    let mut skipped = 0;
    loop {
        let piece = file.fill_buf().context("the file cannot be read")?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(piece.len(), |end| end + 1);
        file.consume(taken);
        skipped += taken as u64;
        if end.is_some() || taken == 0 {
            return Ok(skipped);
        }
    }
}

// === impl Report ===

impl Report {
    fn reject(&mut self, line: u64, reason: &str) -> Result<(), Failure> {
        if self.file.is_none() {
            let file = File::create(&self.path);
            self.file = Some(file.with_context(|| format!("{} cannot be written", shown(&self.path)))?);
        }
        self.rejected += 1;
        let text = serde_json::to_string(&Rejected { line, reason }).context("a report is JSON")?;
        let written = self.file.as_mut().map_or(Ok(()), |file| writeln!(file, "{text}"));
        written.with_context(|| format!("{} cannot be written", shown(&self.path)))?;
        Ok(())
    }
}
