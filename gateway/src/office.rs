//! The account service, run inside the gateway where only the door reaches it: on a Unix socket in the data folder.
//!
//! What it does is `admin-api`'s; this file gives it its settings, its hooks into the process, and its socket.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use admin_api::{Clock, Hooks, Mailer, Office, Providers, ReloadReport, UsageSpool};
use anyhow::Context;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use identity::SealKeys;
use policies::{Policy, Refusal};
use prometheus::Registry;
use store::{Audit, GrantFacts, Keyring, RefreshTerms, Store};
use tokio::net::UnixListener;

use crate::{
    cli::Failure,
    config::Settings,
    directory::Directory,
    readiness::Readiness,
    reload::Reloader,
    snapshot::{ADMIN_API, Snapshot},
};

/// The longest path that fits into a socket's address, less its final NUL (unix(7)).
const LONGEST_PATH: usize = 107;
/// Two tabs of one browser may race for a refresh within this time.
const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// The tier of whoever registers, and of tenants that have none.
pub(crate) const DEFAULT_TIER: &str = "free";

/// What the account service asks of the process.
pub(crate) struct Process {
    reloader: Arc<Reloader>,
    rules: Arc<ArcSwap<Snapshot>>,
    readiness: Arc<Readiness>,
    directory: Arc<Directory>,
}

impl Process {
    pub(crate) fn new(
        reloader: &Arc<Reloader>,
        rules: &Arc<ArcSwap<Snapshot>>,
        readiness: &Arc<Readiness>,
        directory: &Arc<Directory>,
    ) -> Self {
        Self {
            reloader: Arc::clone(reloader),
            rules: Arc::clone(rules),
            readiness: Arc::clone(readiness),
            directory: Arc::clone(directory),
        }
    }
}

/// Puts the service together.
pub(crate) fn open(
    settings: &Settings,
    store: Store,
    (keys, seal, audit): (Arc<ArcSwap<Keyring>>, Arc<SealKeys>, Arc<Audit>),
    (process, providers, usage): (Process, Arc<dyn Providers>, Option<Arc<dyn UsageSpool>>),
    registry: &Registry,
    data: &Path,
) -> Result<(axum::Router, Mailer), Failure> {
    let Settings { tokens, passwords, accounts, .. } = settings;
    let settings = admin_api::Settings {
        issuer: tokens.issuer.clone(),
        audience: tokens.audience.clone(),
        subject: tokens.subject,
        upstream_name: ADMIN_API.to_owned(),
        access_ttl: tokens.access_ttl,
        refresh_terms: RefreshTerms {
            grace: REFRESH_GRACE,
            ttl: tokens.refresh_ttl,
            session_life: tokens.session_life,
        },
        password_rules: passwords.rules.clone(),
        breached: passwords.breached.clone(),
        argon2: passwords.argon2,
        hash_concurrency: passwords.concurrency,
        default_role: "user".to_owned(),
        default_tier: DEFAULT_TIER.to_owned(),
        accounts: accounts.settings.clone(),
        lockout: settings.lockout,
        mfa_issuer: accounts.mfa_issuer.clone(),
        totp_skew: accounts.totp_skew,
        mail: settings.mail.settings(accounts, data),
        pages: settings.pages.clone(),
        payment_secret: settings.billing.payment_secret.clone(),
    };
    let office = Office::new(store, keys, seal, audit, settings, Arc::new(process), registry);
    let office = office.context("the account service cannot open")?.with_clock(Clock::new(store::clock::now));
    let office = Arc::new(office.with_providers(providers).with_usage_spool(usage));
    let mailer = Mailer::new(&office);
    Ok((admin_api::router(office), mailer))
}

#[async_trait]
impl Hooks for Process {
    async fn reload(&self) -> Result<ReloadReport, Vec<String>> {
        let applied = self.reloader.reload().await?;
        let needs_restart = applied.needs_restart.into_iter().map(str::to_owned).collect();
        Ok(ReloadReport { generation: applied.generation, needs_restart })
    }

    async fn vouched(&self, token: &str, client: IpAddr) -> Option<Result<GrantFacts, Refusal>> {
        self.directory.vouched(token, client, store::clock::now()).await
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.rules.load().policy)
    }

    fn status(&self) -> Vec<&'static str> {
        self.readiness.degraded()
    }
}

/// The socket that only this process's user can open.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Where the data folder's path is too long for a socket: a private folder of its own.
    private: Option<PathBuf>,
}

// === impl Socket ===

impl Socket {
    /// Binds `admin-PID.sock`, so that two processes on one data folder do not meet.
    pub(crate) fn bind(data: &Path) -> Result<Self, Failure> {
        let name = format!("admin-{}.sock", std::process::id());
        let path = data.join(&name);
        let private = (path.as_os_str().len() > LONGEST_PATH).then(private_folder).transpose()?;
        let path = private.as_ref().map_or(path, |private| private.join(&name));
        // What a process of the same number left behind.
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
        }
        let listener =
            UnixListener::bind(&path).with_context(|| format!("the socket {} cannot be made", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).context("the socket cannot be made private")?;
        Ok(Self { listener, path, private })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until the task is aborted; the socket goes with it.
    pub(crate) async fn serve(self, router: axum::Router) {
        let Self { listener, path, private } = self;
        let _gone_at_the_end = Removed { path, private };
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the account service failed");
        }
    }
}

/// Removes the socket, and the folder made for it.
struct Removed {
    path: PathBuf,
    private: Option<PathBuf>,
}

impl Drop for Removed {
    fn drop(&mut self) {
        // Nobody is left to be told if they are gone already.
        drop(fs::remove_file(&self.path));
        if let Some(private) = &self.private {
            drop(fs::remove_dir(private));
        }
    }
}

fn private_folder() -> Result<PathBuf, Failure> {
    let path = std::env::temp_dir().join(format!("portcullis-{:016x}", fastrand::u64(..)));
    fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(path)
}
