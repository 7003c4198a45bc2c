//! The account service, run inside the gateway where only the door reaches it: on a Unix socket in the data folder.
//!
//! What it does is `admin-api`'s; this file gives it its settings, its hooks into the process, and its socket.

use std::{
    fs,
    io::ErrorKind,
    net::IpAddr,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use admin_api::{Clock, Hooks, Mailer, Office, Providers, ReloadReport, UsageSpool};
use anyhow::Context;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use identity::{Grant, SealKeys};
use policies::{Policy, Refusal};
use prometheus::Registry;
use store::{Audit, GrantFacts, Keyring, RefreshTerms, Store};
use tokio::net::UnixListener;

use crate::{
    cli::Failure,
    config::Settings,
    directory::{Asking, Directory},
    inbound::RequestId,
    readiness::Readiness,
    reload::Reloader,
    snapshot::{ADMIN_API, Snapshot},
};

/// The longest path that fits into a socket's address, less its final NUL (unix(7)).
const LONGEST_PATH: usize = 107;
/// A socket that is younger is left alone whether or not somebody listens.
const YOUNG: Duration = Duration::from_mins(1);
/// Two tabs of one browser may race for a refresh within this time.
const REFRESH_GRACE: Duration = Duration::from_secs(10);

/// The tier of whoever registers, and of tenants that have none.
pub(crate) const DEFAULT_TIER: &str = "free";
/// And the role.
pub(crate) const DEFAULT_ROLE: &str = "user";

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
    let Settings { tokens, passwords, accounts, mfa, .. } = settings;
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
        default_role: DEFAULT_ROLE.to_owned(),
        default_tier: DEFAULT_TIER.to_owned(),
        accounts: accounts.settings.clone(),
        lockout: settings.lockout,
        mfa_issuer: mfa.issuer.clone(),
        totp_skew: mfa.totp_skew,
        mail: settings.mail.settings(accounts, data),
        pages: settings.pages.clone(),
        believed_issuers: settings.issuers.external.iter().map(|one| one.issuer.clone()).collect(),
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
        let applied = self.reloader.reload().await.map_err(|refused| refused.errors)?;
        let needs_restart = applied.needs_restart.into_iter().map(str::to_owned).collect();
        Ok(ReloadReport { generation: applied.generation, needs_restart, digest: applied.digest })
    }

    async fn vouched(
        &self,
        token: &str,
        (client, is_client_known): (IpAddr, bool),
        request: Option<&str>,
    ) -> Option<Result<(Grant, GrantFacts), Refusal>> {
        let request = request.and_then(RequestId::read);
        let asking = Asking { client, is_client_known, now: store::clock::now(), request: request.as_ref() };
        self.directory.vouched(token, asking).await
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.rules.load().policy)
    }

    fn status(&self) -> Vec<&'static str> {
        self.readiness.degraded()
    }

    fn found_unreadable(&self) {
        self.readiness.found_unreadable();
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
    /// Binds `admin-RANDOM.sock`, so that two processes on one data folder do not meet: in containers both may be number 1.
    pub(crate) fn bind(data: &Path) -> Result<Self, Failure> {
        remove_the_dead(data);
        let name = format!("admin-{:016x}.sock", fastrand::u64(..));
        let path = data.join(&name);
        let private = (path.as_os_str().len() > LONGEST_PATH).then(private_folder).transpose()?;
        let path = private.as_ref().map_or(path, |private| private.join(&name));
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

/// Takes away what killed processes left behind: sockets at which nobody listens. A young one may be between its making and its listener.
fn remove_the_dead(data: &Path) {
    for entry in fs::read_dir(data).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = path.extension().is_some_and(|kind| kind == "sock")
            && entry.file_name().to_str().is_some_and(|name| name.starts_with("admin-"));
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|made| made.elapsed().ok());
        if is_ours
            && age.is_some_and(|age| age > YOUNG)
            && UnixStream::connect(&path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        {
            drop(fs::remove_file(path));
        }
    }
}

fn private_folder() -> Result<PathBuf, Failure> {
    let path = std::env::temp_dir().join(format!("portcullis-{:016x}", fastrand::u64(..)));
    fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(path)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn two_gateways_on_one_folder_leave_each_other_their_socket_and_take_away_those_of_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let dead = ["admin-1.sock", "admin-2.sock"].map(|name| folder.path().join(name));
        for path in &dead {
            drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        }
        assert!(Command::new("touch").args(["-d", "2 minutes ago"]).arg(&dead[0]).status().unwrap().success());
        let [one, other] = [(); 2].map(|()| Socket::bind(folder.path()).unwrap());
        assert!(!dead[0].exists() && dead[1].exists(), "what is young may be about to listen");
        let (first, second) = (one.path().to_owned(), other.path().to_owned());
        assert_ne!(first, second);
        let served = tokio::spawn(one.serve(axum::Router::new()));
        tokio::task::yield_now().await;
        served.abort();
        drop(served.await);
        assert!(!first.exists());
        UnixStream::connect(second).unwrap();
    }
}
