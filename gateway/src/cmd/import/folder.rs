//! `portcullis import DIR`: files of known names, in the order in which what they hold refers to each other.

use std::{fs, io, path::Path};

use identity::SealKeys;
use store::{ImportOutcome, ImportedThing, Rehearsal, Store};

use super::{
    BATCH, Run,
    lines::{Lines, Report, tell},
    old_keys::OldKeys,
    rows::{Kind, Reader},
};
use crate::{cli::Failure, cmd::shown, foundation::Foundation};

const TENANTS: &str = "tenants.jsonl";
const USERS: &str = "users.jsonl";
const MEMBERS: &str = "members.jsonl";
const INTEGRATIONS: &str = "integrations.jsonl";
const FILES: [(&str, Kind); 13] = [
    (TENANTS, Kind::Tenants),
    (USERS, Kind::Users),
    (MEMBERS, Kind::Members),
    ("teams.jsonl", Kind::Teams),
    ("team_memberships.jsonl", Kind::TeamMembers),
    ("domains.jsonl", Kind::Domains),
    ("user_domains.jsonl", Kind::DomainMembers),
    ("agents.jsonl", Kind::Agents),
    ("agent_instances.jsonl", Kind::Instances),
    (INTEGRATIONS, Kind::Integrations),
    ("usage.jsonl", Kind::Usage),
    ("statements.jsonl", Kind::Statements),
    ("api_keys.jsonl", Kind::Keys),
];

/// A thing and the number of its line.
type Numbered = (u64, ImportedThing);

/// What becomes of the lines of one file.
struct Pass<'a> {
    store: &'a Store,
    seal: &'a SealKeys,
    report: &'a mut Report,
    /// Where nothing is stored: what would be there by now.
    rehearsal: Option<&'a mut Rehearsal>,
    made: u64,
    present: u64,
    /// May a line refer to one below it?
    may_wait: bool,
    /// What may yet find what it refers to.
    waiting: Vec<(Numbered, &'static str)>,
}

pub(super) async fn read(mut run: Run<'_>, foundation: &Foundation) -> Result<(), Failure> {
    let (folder, is_dry) = (&run.import.file, run.import.dry_run);
    let here = |file: &str| folder.join(file).is_file();
    let known = FILES.map(|(file, _)| file).join(", ");
    if !FILES.iter().any(|(file, _)| here(file)) {
        return Err(Failure::Data(format!("{} holds none of {known}", shown(folder))));
    }
    let strange = strange_files(folder)
        .map_err(|error| Failure::Unavailable(format!("{} cannot be read: {error}", shown(folder))))?;
    if !strange.is_empty() {
        let strange = strange.join(", ");
        return Err(Failure::Data(format!("nobody knows what {strange} in {} is; known are {known}", shown(folder))));
    }
    let Some(system) = run.import.system.as_deref() else {
        return Err(Failure::Data("a folder needs --system, the name of where it is from: ids are kept by it".into()));
    };
    // Before anything is stored.
    let old_keys = here(INTEGRATIONS).then(|| OldKeys::of(run.import.fernet_key_env.as_deref())).transpose()?;
    let reader = Reader { system, policy: run.policy, has_tenants: here(TENANTS), old_keys, now: run.now };
    if !reader.has_tenants {
        let (store, only) = (&foundation.store, [reader.only_tenant()]);
        let made = if is_dry {
            store.rehearse_things(&only, &mut run.rehearsal).await
        } else {
            store.import_things(&foundation.seal, &only, run.now).await
        };
        made.map_err(|error| unavailable(TENANTS, 1, 1, &error))?;
    }
    for (file, kind) in FILES.into_iter().filter(|(file, _)| here(file)) {
        run.report.turn_to(file);
        let path = folder.join(file);
        if kind == Kind::Users {
            let before = run.report.rejected();
            run.read(&foundation.store, Lines::open(&path)?).await?;
            tell(file, is_dry, run.made, run.present, run.report.rejected() - before);
            if here(MEMBERS) {
                continue;
            }
        }
        let before = run.report.rejected();
        let mut pass = Pass {
            store: &foundation.store,
            seal: &foundation.seal,
            report: &mut *run.report,
            rehearsal: is_dry.then_some(&mut run.rehearsal),
            made: 0,
            present: 0,
            may_wait: kind == Kind::Domains,
            waiting: Vec::new(),
        };
        pass.file(&reader, (file, kind), &path).await?;
        let (made, present) = (pass.made, pass.present);
        let name = if kind == Kind::Users { "members by users.jsonl" } else { file };
        tell(name, is_dry, made, present, run.report.rejected() - before);
    }
    Ok(())
}

/// Files of lines whose names say nothing: one that is misspelt would be passed over with all that is in it.
fn strange_files(folder: &Path) -> io::Result<Vec<String>> {
    let mut strange = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_known = FILES.iter().any(|(file, _)| *file == name);
        let is_rejects = name.contains(".rejected.");
        if Path::new(&name).extension().is_some_and(|kind| kind == "jsonl") && !is_rejects && !is_known {
            strange.push(name);
        }
    }
    strange.sort();
    Ok(strange)
}

fn unavailable(file: &str, first: u64, last: u64, error: &store::StoreError) -> Failure {
    Failure::Unavailable(format!(
        "lines {first} to {last} of {file} could not be stored: {error}; what came before is, and running this again goes on from there"
    ))
}

// === impl Pass ===

impl Pass<'_> {
    async fn file(&mut self, reader: &Reader<'_>, (name, kind): (&str, Kind), path: &Path) -> Result<(), Failure> {
        let (mut lines, mut batch) = (Lines::open(path)?, Vec::with_capacity(BATCH));
        while let Some(line) = lines.next()? {
            // An account that could not be is told once.
            if kind == Kind::Users && self.report.has(line.number) {
                continue;
            }
            match line.text.and_then(|text| reader.read(kind, &text)) {
                Ok(Some(thing)) => batch.push((line.number, thing)),
                Ok(None) => {}
                Err(reason) => self.report.reject(line.number, &reason)?,
            }
            if batch.len() == BATCH {
                self.save(name, std::mem::take(&mut batch), reader).await?;
            }
        }
        self.save(name, batch, reader).await?;
        self.settle(name, reader).await
    }

    /// A domain may stand above the one in which it lies: those that wait are tried until none of them finds anything.
    async fn settle(&mut self, name: &str, reader: &Reader<'_>) -> Result<(), Failure> {
        let mut before = usize::MAX;
        while !self.waiting.is_empty() && self.waiting.len() < before {
            before = self.waiting.len();
            let again: Vec<Numbered> = std::mem::take(&mut self.waiting).into_iter().map(|(thing, _)| thing).collect();
            for batch in again.chunks(BATCH) {
                self.save(name, batch.to_vec(), reader).await?;
            }
        }
        for ((number, _), reason) in std::mem::take(&mut self.waiting) {
            self.report.reject(number, reason)?;
        }
        Ok(())
    }

    async fn save(&mut self, name: &str, batch: Vec<Numbered>, reader: &Reader<'_>) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let (numbers, things): (Vec<u64>, Vec<ImportedThing>) = batch.into_iter().unzip();
        let outcomes = match &mut self.rehearsal {
            Some(rehearsal) => self.store.rehearse_things(&things, rehearsal).await,
            None => self.store.import_things(self.seal, &things, reader.now).await,
        };
        let outcomes = outcomes.map_err(|error| {
            unavailable(name, *numbers.first().unwrap_or(&0), *numbers.last().unwrap_or(&0), &error)
        })?;
        let (made, present) = (self.made, self.present);
        for (numbered, outcome) in numbers.into_iter().zip(things).zip(outcomes) {
            match outcome {
                ImportOutcome::Made => self.made += 1,
                ImportOutcome::Present => self.present += 1,
                ImportOutcome::Missing(reason) if self.may_wait => self.waiting.push((numbered, reason)),
                ImportOutcome::Missing(reason) | ImportOutcome::Refused(reason) => {
                    self.report.reject(numbered.0, reason)?;
                }
            }
        }
        self.report.stored(self.made - made, self.present - present);
        Ok(())
    }
}
