//! One request before the door, again and again: what [`Door::admit`] alone costs, for `benches/` and `examples/`.
//!
//! Everything is real but the way here: the configuration of `bench/config`, a database in memory, a session that is in it, a
//! connection with one request on it. Not part of the crate's interface: only there with the feature `yardstick`.

mod steps;

use std::{
    collections::BTreeMap,
    io::Write,
    net::TcpStream,
    os::fd::AsRawFd,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use arc_swap::ArcSwap;
use chrono::{TimeDelta, Utc};
use identity::{
    AccessClaims, AccountId, Algorithm, Email, KeySet, PasswordHash, RefreshToken, SessionId, SigningKey, TokenType,
};
use pingora::{
    connectors::TransportConnector,
    protocols::{GetSocketDigest, SocketDigest, l4::stream::Stream},
    proxy::Session,
};
use store::{Keyring, NewAccount, NewSession, PoolSettings, SigningSet, Store};
use tokio::{net::TcpListener, runtime::Runtime};
use uuid::Uuid;

use crate::{
    assertions::Minter,
    certified::Certified,
    config::{self, ConfigFolder, Settings},
    directory::Directory,
    directory_settings,
    door::Door,
    journey::{Admission, Journey},
    limiter::Limiter,
    limits::AtOnce,
    metrics::Metrics,
    readiness::Readiness,
    record::Recorder,
    snapshot::Snapshot,
    streams::Streams,
};

/// A door, and a caller with a cached token before it.
pub struct Rig {
    runtime: Runtime,
    door: Door,
    session: Session,
}

// === impl Rig ===

impl Rig {
    /// Opens the door, lets somebody log in, and admits them once, so that they are known.
    pub fn open() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (door, session) = runtime.block_on(async {
            let (door, token) = Box::pin(door()).await?;
            anyhow::Ok((door, request(&token).await?))
        })?;
        let mut rig = Self { runtime, door, session };
        let mut journey = rig.begin();
        let first = rig.runtime.block_on(rig.door.admit(&rig.session, &mut journey));
        drop(journey);
        anyhow::ensure!(matches!(first, Ok(Admission::Forward)) && rig.admit(), "the caller is not let in");
        Ok(rig)
    }

    /// From the parsed header to the permit, and everything given back. Says whether the request is let in, at once, as a
    /// cached one is.
    pub fn admit(&mut self) -> bool {
        let mut journey = self.begin();
        let admit = pin!(self.door.admit(&self.session, &mut journey));
        matches!(admit.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(Admission::Forward)))
    }

    fn begin(&self) -> Journey {
        Journey::begin(self.door.rules.load_full())
    }
}

/// A door as [`crate::build`] makes it, without listeners and background work; and the token of somebody it lets in.
async fn door() -> anyhow::Result<(Door, String)> {
    let folder = ConfigFolder::Path(Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/config"));
    let config = config::load(&folder).map_err(|wrong| anyhow::anyhow!("{wrong:?}"))?;
    let settings = config.settings.clone();
    let (metrics, patience) = (Metrics::new()?, Duration::from_secs(30));
    let pool = PoolSettings { max_connections: 1, acquire_timeout: patience, statement_timeout: patience };
    let store = Store::connect("sqlite::memory:", pool).await?;
    store.migrate().await?;
    let keyring = Keyring { access: signing_set()?, assertion: signing_set()? };
    let token = log_in(&store, &keyring.access.current, &settings).await?;
    let keys = Arc::new(ArcSwap::from_pointee(keyring));
    let limiter = Arc::new(Limiter::new(settings.server.limiter_capacity, &metrics.limiter_overflow));
    let known = directory_settings(&settings);
    let directory = Arc::new(Directory::new(store, Arc::clone(&keys), Arc::clone(&limiter), known, &metrics));
    let recorder = Arc::new(Recorder::start(None, metrics.log_dropped.clone()));
    let rules = Snapshot::make(1, config, Path::new("/nowhere"), &metrics, Arc::clone(&recorder), None).await?;
    let door = Door {
        rules: Arc::new(ArcSwap::from_pointee(rules)),
        streams: Streams::new(Arc::clone(&directory), metrics.streams.clone()),
        directory,
        limiter,
        minter: Minter::new(keys, &settings.tokens.issuer, settings.tokens.assertion_ttl),
        tunnels: TransportConnector::new(None),
        recorder,
        metrics,
        readiness: Arc::new(Readiness::default()),
        certified: Certified::new(&BTreeMap::new()),
        most: AtOnce { in_all: i64::MAX, of_address: usize::MAX },
        dev_headers: false,
        cookies: identity::CookieNames::of(false),
        https: None,
    };
    Ok((door, token))
}

fn signing_set() -> anyhow::Result<SigningSet> {
    let current = SigningKey::generate(Algorithm::EdDsa, "key".into(), &mut crate::cmd::rng()?)?;
    Ok(SigningSet { keys: KeySet::new(vec![current.verifying_key()], None), current })
}

async fn log_in(store: &Store, key: &SigningKey, settings: &Settings) -> anyhow::Result<String> {
    let now = Utc::now();
    let account = store
        .create_account(NewAccount {
            id: AccountId::new(Uuid::now_v7()),
            email: &Email::parse("caller@bench.example")?,
            password_hash: PasswordHash::from(String::new()),
            name: None,
            role: "user",
            tier: "free",
            has_own_tier: false,
            is_verified: false,
            kind: store::AccountKind::Person,
            tenant: store::Belonging::Nowhere,
            now,
        })
        .await?;
    let (id, refresh) =
        (SessionId::new(Uuid::now_v7()), RefreshToken::generate(Uuid::now_v7(), &mut crate::cmd::rng()?));
    let (refresh, refresh_expires_at) = ((refresh.id(), refresh.digest()), now + TimeDelta::days(1));
    store
        .open_session(NewSession {
            id,
            account: &account,
            proof: store::Proof::Refresh { token: refresh, expires_at: refresh_expires_at },
            now,
            origin: store::Origin::default(),
        })
        .await?;
    let claims = AccessClaims {
        iss: settings.tokens.issuer.clone(),
        aud: settings.tokens.audience.clone(),
        sub: account.id,
        email: None,
        sid: id,
        exp: (now + TimeDelta::hours(1)).timestamp(),
        iat: now.timestamp(),
        jti: Uuid::now_v7(),
        generation: 0,
    };
    Ok(key.sign(TokenType::Access, &claims))
}

/// A connection on which one request has been read.
async fn request(token: &str) -> anyhow::Result<Session> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    write!(
        client,
        "GET /counted/x?page=2 HTTP/1.1\r\nHost: api.example:8080\r\nAuthorization: Bearer {token}\r\n\
         User-Agent: yardstick/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
    )?;
    let stream = listener.accept().await?.0;
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let mut stream = Stream::from(stream);
    stream.set_socket_digest(digest);
    let mut session = Session::new_h1(Box::new(stream));
    session.read_request().await?;
    Ok(session)
}
