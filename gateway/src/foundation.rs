//! What everything rests on: the data folder, the database, the master key and the signing keys.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use chrono::{DateTime, TimeDelta, Utc};
use identity::{MasterKey, MasterKeyError, SealKeys, SecretText};
use rand::CryptoRng;
use serde_json::json;
use store::{Audit, AuditEvent, Change, Keyring, PoolSettings, Purpose, Store, StoreError};
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

use crate::{
    cli::Failure,
    cmd::say_error,
    config::{MasterKeySource, Settings, StoreSettings},
};

/// How long to wait before an unreachable database is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// An open database with its tables in place, and the keys that open what is sealed in it.
pub(crate) struct Foundation {
    pub(crate) store: Store,
    pub(crate) seal: Arc<SealKeys>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) keyring: Keyring,
    /// The last change before anything was read: whatever changes after it is heard.
    pub(crate) last_change: Option<Change>,
}

// === impl Foundation ===

impl Foundation {
    /// Opens the data folder and the database; makes on the first start whatever is not there.
    pub(crate) async fn open(settings: &Settings, data: &Path) -> Result<Self, Failure> {
        let store = connect(&settings.store, data).await?;
        store.migrate().await.map_err(|error| failure(&error))?;
        if let Some(role) = store.role_beyond_policies().await.map_err(|error| failure(&error))? {
            tracing::warn!(%role, "row-level security does not hold this role: it is a superuser, or bypasses it (docs/database.md)");
        }
        store::clock::learn(&store).await.map_err(|error| failure(&error))?;
        let mut rng = crate::cmd::rng()?;
        let is_used = store.has_signing_keys().await.map_err(|error| failure(&error))?;
        let keys = master_keys(&settings.master_key, data, is_used, &mut rng);
        let keys = keys.map_err(|error| Failure::Surroundings(advised(&error, is_used)))?;
        let seal = Arc::new(sealing(keys));
        let tokens = &settings.tokens;
        store::ensure_keys(
            &store,
            &seal,
            tokens.algorithm,
            tokens.shared_secret.as_ref(),
            &mut rng,
            store::clock::now(),
        )
        .await
        .map_err(|error| Failure::Other(anyhow!(error).context("the signing keys cannot be made ready")))?;
        let last_change = store.last_change().await.map_err(|error| failure(&error))?;
        let keyring = Keyring::load(&store, &seal).await.map_err(|error| match error {
            StoreError::Unavailable(_) | StoreError::Forbidden(_) => failure(&error),
            other => Failure::Surroundings(format!(
                "the signing keys cannot be opened; is this the master key they were sealed with? It is from {}: {other}",
                place_of(&settings.master_key, data)
            )),
        })?;
        let audit = Arc::new(Audit::new(store.clone(), Arc::clone(&seal)));
        Ok(Self { store, seal, audit, keyring, last_change })
    }

    /// Moves every signing key one step on: next to current, current to retiring.
    pub(crate) async fn rotate(
        &self,
        retire_after: TimeDelta,
        rng: &mut impl CryptoRng,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        for purpose in [Purpose::Access, Purpose::Assertion] {
            store::rotate(&self.store, &self.seal, purpose, retire_after, rng, now).await?;
        }
        Ok(())
    }

    /// Writes down what a command has done, to whom, and that it was a command: whoever can type it needs no account.
    pub(crate) async fn write_down(&self, event: &str, subject: Option<Uuid>) -> anyhow::Result<()> {
        self.write_event(of_command(event, subject)).await.context("it is done, but could not be written down")
    }

    pub(crate) async fn write_event(&self, event: AuditEvent) -> anyhow::Result<()> {
        self.audit.add(event).await?;
        Ok(self.audit.seal().await?)
    }

    /// The keys that sign now.
    pub(crate) async fn current_kids(&self) -> anyhow::Result<[(&'static str, String); 2]> {
        let keyring = Keyring::load(&self.store, &self.seal).await?;
        Ok([
            ("access", keyring.access.current.kid().to_owned()),
            ("assertion", keyring.assertion.current.kid().to_owned()),
        ])
    }
}

/// An event that nobody's request has caused.
pub(crate) fn of_command(event: &str, subject: Option<Uuid>) -> AuditEvent {
    AuditEvent {
        id: Uuid::now_v7(),
        at: store::clock::now(),
        event: event.to_owned(),
        outcome: "ok".to_owned(),
        actor: None,
        subject,
        address: None,
        request_id: None,
        details: None,
    }
}

/// The same, which tells of a configuration that is in force from then on.
pub(crate) fn of_configuration(event: &str, digest: Option<String>) -> AuditEvent {
    let details = digest.map(|digest| json!({ "config": digest }).to_string());
    AuditEvent { details, ..of_command(event, None) }
}

/// Connects, trying again for as long as the configuration says while the database cannot be reached.
pub(crate) async fn connect(settings: &StoreSettings, data: &Path) -> Result<Store, Failure> {
    let (url, pool) = address(settings, data)?;
    // SQLite says "unable to open database file" and not which. Of a server the address may hold a password.
    let of_sqlite = file_of_database(settings, data);
    let file = of_sqlite.as_ref().map(|file| format!(" {}", file.display())).unwrap_or_default();
    let (began, mut is_told) = (Instant::now(), false);
    loop {
        match Store::connect(&url, pool.clone()).await {
            Ok(store) => return Ok(store),
            Err(StoreError::Unavailable(error)) if began.elapsed() < settings.start_timeout => {
                if let Some(fault) = of_sqlite.as_deref().and_then(lasting_fault) {
                    return Err(Failure::Unavailable(format!("the database{file} is not to be had: {fault}")));
                }
                tracing::warn!(%error, waited = ?began.elapsed(), "the database{file} cannot be reached; trying again");
                // Most commands keep no log, and somebody waits at the terminal.
                if !is_told && LevelFilter::current() == LevelFilter::OFF {
                    let patience = settings.start_timeout;
                    say_error(&format!("the database{file} cannot be reached; trying again for {patience:?}: {error}"));
                    is_told = true;
                }
                tokio::time::sleep(RETRY_EVERY).await;
            }
            Err(error) => return Err(failure_of(&file, &error)),
        }
    }
}

/// Why a SQLite database does not open, if that is nothing that passes: SQLite says no more than that it cannot. It needs the file, and to make
/// others beside it.
fn lasting_fault(file: &Path) -> Option<io::Error> {
    let beside = file.with_extension(format!("{}.tried", std::process::id()));
    let opened = fs::OpenOptions::new().read(true).write(true).open(file);
    let made = fs::OpenOptions::new().write(true).create_new(true).open(&beside);
    if made.is_ok() {
        drop(fs::remove_file(&beside));
    }
    [opened.err(), made.err()].into_iter().flatten().find(|error| {
        use ErrorKind::{IsADirectory, NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | IsADirectory | NotADirectory)
    })
}

/// Where the database is and how it is talked to; the data folder is made for it.
pub(crate) fn address(settings: &StoreSettings, data: &Path) -> Result<(String, PoolSettings), Failure> {
    make_data_folder(data)?;
    let pool = PoolSettings {
        max_connections: settings.max_connections,
        acquire_timeout: settings.acquire_timeout,
        statement_timeout: settings.statement_timeout,
    };
    Ok((url_within(&settings.url, data), pool))
}

/// Where a SQLite database should be that only what is there can be read from; `None`: it is of another kind, or in memory.
pub(crate) fn file_of_database(settings: &StoreSettings, data: &Path) -> Option<PathBuf> {
    let url = url_within(&settings.url, data);
    let name = url.strip_prefix("sqlite:").filter(|name| *name != ":memory:")?;
    Some(name.strip_prefix("//").unwrap_or(name).into())
}

/// Refuses a database that connecting would make.
pub(crate) fn must_exist(settings: &StoreSettings, data: &Path) -> Result<(), Failure> {
    match file_of_database(settings, data).filter(|file| !file.is_file()) {
        Some(file) => Err(Failure::Unavailable(format!("there is no database {}", file.display()))),
        None => Ok(()),
    }
}

/// What the shell is told of a database that does not do what it should.
pub(crate) fn failure(error: &StoreError) -> Failure {
    failure_of("", error)
}

fn failure_of(file: &str, error: &StoreError) -> Failure {
    match error {
        StoreError::Forbidden(_) => Failure::Forbidden(error.to_string()),
        _ => Failure::Unavailable(format!("the database{file} is not to be had: {error}")),
    }
}

fn make_data_folder(data: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| Failure::Surroundings(format!("the data folder {} cannot be made: {error}", data.display())))
}

/// A SQLite file is named relative to the data folder.
fn url_within(url: &str, data: &Path) -> String {
    match url.strip_prefix("sqlite:") {
        Some(file) if !file.starts_with(':') && !file.starts_with('/') => {
            format!("sqlite:{}", data.join(file).display())
        }
        _ => url.to_owned(),
    }
}

/// The master key from the environment, else from its file, else a fresh one in that file: not beside a database that holds what another
/// one has sealed, such as one that was restored.
fn master_keys(
    source: &MasterKeySource,
    data: &Path,
    is_used: bool,
    rng: &mut impl CryptoRng,
) -> anyhow::Result<Vec<MasterKey>> {
    if let Some(text) = source.in_environment() {
        return MasterKey::parse_all(text.expose())
            .with_context(|| format!("the variable {} holds no master key", source.env));
    }
    let path = data.join(&source.file);
    match fs::read_to_string(&path) {
        Ok(text) => read_master_keys(&path, &SecretText::from(text)),
        Err(error) if error.kind() == ErrorKind::NotFound && is_used => Err(anyhow!(
            "the database holds what a master key has sealed, and there is none: put it back into {} or {}",
            path.display(),
            source.env
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => make_master_key(&path, rng),
        Err(error) => Err(error).with_context(|| format!("the master key {} cannot be read", path.display())),
    }
}

/// What is wrong with the master key, and what to do if it is none: a new one opens nothing of what another one has sealed.
fn advised(error: &anyhow::Error, is_used: bool) -> String {
    let advice = match (error.is::<MasterKeyError>(), is_used) {
        (false, _) => "",
        (true, true) => "; put back the one that has sealed what the database holds",
        (true, false) => "; `portcullis keys generate` makes one",
    };
    format!("{error:#}{advice}")
}

pub(crate) fn read_master_keys(path: &Path, text: &SecretText) -> anyhow::Result<Vec<MasterKey>> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(anyhow!(
            "the master key {} can be read by others (mode {:o}): chmod 600 it",
            path.display(),
            mode & 0o777
        ));
    }
    MasterKey::parse_all(text.expose()).with_context(|| format!("{} holds no master key", path.display()))
}

fn place_of(source: &MasterKeySource, data: &Path) -> String {
    match source.in_environment() {
        Some(_) => format!("the variable {}", source.env),
        None => data.join(&source.file).display().to_string(),
    }
}

/// The first one seals; there always is one.
fn sealing(mut keys: Vec<MasterKey>) -> SealKeys {
    let current = keys.remove(0);
    SealKeys::new(current, keys)
}

/// Two nodes that start at once on one folder must not each make a key: the file is made whole and linked into place,
/// which fails for whoever comes second; they read what the first one made.
fn make_master_key(path: &PathBuf, rng: &mut impl CryptoRng) -> anyhow::Result<Vec<MasterKey>> {
    let key = MasterKey::generate(rng);
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(key.encode().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Ok(()) => Ok(vec![key]),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = SecretText::from(fs::read_to_string(path)?);
            read_master_keys(path, &text)
        }
        Err(error) => Err(error).with_context(|| format!("the master key {} cannot be written", path.display())),
    }
}
