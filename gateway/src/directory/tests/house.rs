//! A directory on a real store that hears of nothing by itself, and callers of all kinds.

use std::net::IpAddr;

use chrono::TimeDelta;
use identity::{
    AccessClaims, Algorithm, Email, KeyId, KeySet, PasswordHash, RefreshToken, SessionId, SigningKey, TokenType,
};
use store::{Account, NewAccount, NewKey, NewSession, PoolSettings, SigningSet};

use super::*;
use crate::metrics::Metrics;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A directory that hears of nothing by itself.
pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) keys: Arc<ArcSwap<Keyring>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Metrics,
}

pub(super) fn set() -> SigningSet {
    let current = SigningKey::generate(Algorithm::EdDsa, "k".into(), &mut rand::rng()).unwrap();
    SigningSet { keys: KeySet::new(vec![current.verifying_key()], None), current }
}

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub(super) fn later(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

/// A key that is not made yet.
pub(super) fn new_key(account: &Account, expires_at: Option<DateTime<Utc>>) -> (ApiKey, NewKey) {
    let key = ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rand::rng());
    let new = NewKey {
        tenant: None,
        id: key.id(),
        account: account.id,
        by: None,
        name: "key".to_owned(),
        prefix: key.prefix(),
        digest: key.digest(),
        scopes: None,
        networks: None,
        expires_at,
        most: 10,
        now: now(),
    };
    (key, new)
}

impl House {
    pub(crate) async fn open() -> Self {
        let house = Self::without_tables().await;
        house.store.migrate().await.unwrap();
        house
    }

    /// Every question to its database fails.
    pub(super) async fn without_tables() -> Self {
        Self::on("sqlite::memory:").await
    }

    pub(super) async fn on(database: &str) -> Self {
        let patience = Duration::from_secs(30);
        let pool = PoolSettings { max_connections: 1, acquire_timeout: patience, statement_timeout: patience };
        let store = Store::connect(database, pool).await.unwrap();
        let keys = Arc::new(ArcSwap::from_pointee(Keyring { access: set(), assertion: set() }));
        let metrics = Metrics::new().unwrap();
        let settings = DirectorySettings {
            rules: TokenRules {
                issuer: "door".into(),
                audience: "people".into(),
                typ: TokenType::Access,
                leeway: Duration::from_secs(30),
            },
            capacity: 100,
            refused_capacity: 100,
            refused_ttl: Duration::from_mins(1),
            cookie_idle: Duration::from_mins(10),
            refusals: Quota { units: 3, window: Duration::from_hours(1) },
        };
        let limiter = Arc::new(Limiter::new(100, &metrics.limiter_overflow));
        let directory = Arc::new(Directory::new(store.clone(), Arc::clone(&keys), limiter, settings, &metrics));
        Self { store, keys, directory, metrics }
    }

    pub(crate) async fn person(&self, email: &str) -> Account {
        let new = NewAccount {
            id: AccountId::new(Uuid::now_v7()),
            email: &Email::parse(email).unwrap(),
            password_hash: PasswordHash::from("a hash".to_owned()),
            name: None,
            role: "user",
            tier: "free",
            has_own_tier: false,
            is_verified: false,
            kind: store::AccountKind::Person,
            tenant: store::Belonging::Nowhere,
            now: now(),
        };
        self.store.create_account(new).await.unwrap()
    }

    pub(super) async fn session(&self, account: &Account) -> SessionId {
        let (id, refresh) = (SessionId::new(Uuid::now_v7()), RefreshToken::generate(Uuid::now_v7(), &mut rand::rng()));
        let refresh = (refresh.id(), refresh.digest());
        let new = NewSession {
            id,
            account,
            proof: store::Proof::Refresh { token: refresh, expires_at: later(86_400) },
            now: now(),
            origin: store::Origin::default(),
        };
        self.store.open_session(new).await.unwrap();
        id
    }

    pub(crate) async fn key(&self, account: &Account, expires_at: Option<DateTime<Utc>>) -> ApiKey {
        let (key, new) = new_key(account, expires_at);
        self.store.create_key(new).await.unwrap();
        key
    }

    pub(super) async fn cookie(
        &self,
        account: &Account,
        idle_until: DateTime<Utc>,
        ends_at: DateTime<Utc>,
    ) -> SessionCookie {
        let cookie = SessionCookie::generate(SessionId::new(Uuid::now_v7()), &mut rand::rng());
        let terms = store::CookieTerms { digest: cookie.digest(), idle_until, ends_at };
        let (proof, origin) = (store::Proof::Cookie(terms), store::Origin::default());
        self.store.open_session(NewSession { id: cookie.id(), account, proof, now: now(), origin }).await.unwrap();
        cookie
    }

    /// A token that ends after a minute.
    pub(super) fn token(&self, sub: AccountId, sid: SessionId) -> String {
        let claims = AccessClaims {
            iss: "door".to_owned(),
            aud: "people".to_owned(),
            sub,
            email: None,
            sid,
            iat: now().timestamp(),
            exp: later(60).timestamp(),
            jti: Uuid::nil(),
            generation: 0,
        };
        self.keys.load().access.current.sign(TokenType::Access, &claims)
    }

    /// The token of somebody new.
    pub(crate) async fn new_token(&self) -> String {
        let ada = self.person("ada@example.com").await;
        self.token(ada.id, self.session(&ada).await)
    }

    /// What comes of a token that is shown now.
    pub(crate) async fn code_of(&self, token: &str) -> &'static str {
        self.code(Credential::Jwt(token), now()).await
    }

    /// What comes of a key that is shown now.
    pub(crate) async fn code_of_key(&self, key: &ApiKey) -> &'static str {
        self.code(Credential::ApiKey(key.expose()), now()).await
    }

    pub(super) async fn shown(
        &self,
        credential: Credential<'_>,
        at: DateTime<Utc>,
    ) -> Result<Arc<Known>, &'static str> {
        self.directory
            .authenticate(credential, Asking { client: HOME, is_client_known: true, now: at, request: None })
            .await
            .map_err(|refusal| refusal.code())
    }

    pub(super) async fn code(&self, credential: Credential<'_>, at: DateTime<Utc>) -> &'static str {
        self.shown(credential, at).await.err().unwrap_or("ok")
    }
}

pub(crate) fn unknown_key() -> ApiKey {
    ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rand::rng())
}
