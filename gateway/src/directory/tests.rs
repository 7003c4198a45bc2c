//! The cache of callers on a real store: what it believes, until when, and whom it stops listening to.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::IpAddr;

use chrono::TimeDelta;
use identity::{
    AccessClaims, AccountId, Algorithm, Email, KeyId, KeySet, PasswordHash, RefreshToken, SessionId, SigningKey,
    TokenType,
};
use store::{Account, AccountChange, NewAccount, NewKey, NewSession, PoolSettings, SigningSet};

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

fn set() -> SigningSet {
    let current = SigningKey::generate(Algorithm::EdDsa, "k".into(), &mut rand::rng()).unwrap();
    SigningSet { keys: KeySet::new(vec![current.verifying_key()], None), current }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn later(seconds: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(seconds)
}

/// A key that is not made yet.
fn new_key(account: &Account, expires_at: Option<DateTime<Utc>>) -> (ApiKey, NewKey) {
    let key = ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rand::rng());
    let new = NewKey {
        tenant: None,
        id: key.id(),
        account: account.id,
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
    async fn without_tables() -> Self {
        Self::on("sqlite::memory:").await
    }

    async fn on(database: &str) -> Self {
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

    pub(super) async fn person(&self, email: &str) -> Account {
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

    async fn session(&self, account: &Account) -> SessionId {
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

    pub(super) async fn key(&self, account: &Account, expires_at: Option<DateTime<Utc>>) -> ApiKey {
        let (key, new) = new_key(account, expires_at);
        self.store.create_key(new).await.unwrap();
        key
    }

    /// A token that ends after a minute.
    fn token(&self, sub: AccountId, sid: SessionId) -> String {
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
    pub(super) async fn code_of_key(&self, key: &ApiKey) -> &'static str {
        self.code(Credential::ApiKey(key.expose()), now()).await
    }

    async fn shown(&self, credential: Credential<'_>, at: DateTime<Utc>) -> Result<Arc<Known>, &'static str> {
        self.directory
            .authenticate(credential, Asking { client: HOME, is_client_known: true, now: at, request: None })
            .await
            .map_err(|refusal| refusal.code())
    }

    async fn code(&self, credential: Credential<'_>, at: DateTime<Utc>) -> &'static str {
        self.shown(credential, at).await.err().unwrap_or("ok")
    }
}

pub(super) fn unknown_key() -> ApiKey {
    ApiKey::generate(KeyId::new(Uuid::now_v7()), &mut rand::rng())
}

#[tokio::test]
async fn what_is_cached_ends_when_its_time_is_over() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let token = house.token(ada.id, house.session(&ada).await);
    let key = house.key(&ada, Some(later(60))).await;
    for credential in [Credential::Jwt(&token), Credential::ApiKey(key.expose())] {
        assert_eq!(house.code(credential, now()).await, "ok");
        assert_eq!(house.code(credential, later(59)).await, "ok");
        assert_eq!(house.code(credential, later(60)).await, "expired");
    }
    assert_eq!(house.metrics.cache.misses.get(), 2, "each was looked up once");
    let timed = [&house.metrics.cache.seconds, &house.metrics.store.seconds].map(|seconds| seconds.get_sample_count());
    assert_eq!(timed, [2, 2], "and what is cached is not timed");
}

#[tokio::test]
async fn what_a_key_has_bought_ends_with_its_grace() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let key = house.key(&ada, None).await;
    let (id, refresh) = (SessionId::new(Uuid::now_v7()), RefreshToken::generate(Uuid::now_v7(), &mut rand::rng()));
    let proof = store::Proof::Refresh { token: (refresh.id(), refresh.digest()), expires_at: later(60) };
    let origin = store::Origin { method: Some(store::MACHINE), ..store::Origin::default() };
    let new = NewSession { id, account: &ada, proof, now: now(), origin };
    house.store.open_bought_session(new, key.id()).await.unwrap();
    let token = house.token(ada.id, id);
    assert_eq!(house.code(Credential::Jwt(&token), later(1)).await, "ok");
    let (next, grace) = (new_key(&ada, None).1, Duration::from_secs(10));
    house.store.rotate_key(ada.id, key.id(), next, grace, later(1)).await.unwrap();
    let changes = house.store.changes_since(0, 100).await.unwrap();
    house.directory.hear(changes.into_iter().map(|change| change.subject));
    assert_eq!(house.code(Credential::Jwt(&token), later(10)).await, "ok");
    assert_eq!(house.code(Credential::Jwt(&token), later(11)).await, "expired");
}

#[tokio::test]
async fn a_token_counts_only_for_the_account_that_its_session_belongs_to() {
    let house = House::open().await;
    let (ada, eve) = (house.person("ada@example.com").await, house.person("eve@example.com").await);
    let token = house.token(eve.id, house.session(&ada).await);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "invalid_token");
}

#[tokio::test]
async fn the_id_of_a_key_opens_nothing_without_its_secret() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let key = house.key(&ada, None).await;
    // Well formed, so that only the record can tell.
    let guessed = ApiKey::generate(key.id(), &mut rand::rng());
    assert_eq!(house.code(Credential::ApiKey(guessed.expose()), now()).await, "invalid_token");
    assert_eq!(house.code(Credential::ApiKey(key.expose()), now()).await, "ok", "nor does the guess shut it out");
}

#[tokio::test]
async fn an_expired_token_is_told_as_such() {
    let house = House::open().await;
    let token = house.new_token().await;
    assert_eq!(house.code(Credential::Jwt(&token), later(61)).await, "expired");
}

#[tokio::test]
async fn after_every_sort_of_change_the_caller_is_looked_up_anew() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let (sid, key) = (house.session(&ada).await, house.key(&ada, None).await);
    let token = house.token(ada.id, sid);
    let (jwt, api_key) = (Credential::Jwt(&token), Credential::ApiKey(key.expose()));
    let changes = [
        (jwt, Subject::Account(ada.id)),
        (jwt, Subject::Session(sid)),
        (jwt, Subject::Unknown),
        (api_key, Subject::Account(ada.id)),
        (api_key, Subject::Key(key.id())),
    ];
    for (n, (credential, subject)) in changes.into_iter().enumerate() {
        // Twice, so that it is known to hold.
        assert_eq!((house.code(credential, now()).await, house.code(credential, now()).await), ("ok", "ok"));
        let role = format!("role{n}");
        let change = AccountChange { role: Some(role.clone()), ..AccountChange::default() };
        house.store.change_account(ada.id, change, now()).await.unwrap();
        house.directory.hear([subject]);
        let stale = house.metrics.cache.stale.get();
        assert_eq!(*house.shown(credential, now()).await.ok().unwrap().principal.role, *role, "{subject:?}");
        assert_eq!(house.metrics.cache.stale.get(), stale + 1, "{subject:?}");
    }
}

#[tokio::test]
async fn while_changes_go_unheard_for_too_long_nobody_is_believed() {
    let house = House::open().await;
    let token = house.new_token().await;
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
    house.directory.too_stale.store(true, Ordering::Release);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "directory_unavailable");
    house.directory.too_stale.store(false, Ordering::Release);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
}

#[tokio::test]
async fn a_refusal_is_remembered_and_costs_its_address_each_time() {
    let (house, key) = (House::open().await, unknown_key());
    for _ in 0..3 {
        assert_eq!(house.code(Credential::ApiKey(key.expose()), now()).await, "invalid_token");
    }
    assert_eq!(house.metrics.cache.misses.get(), 1, "it was looked up once");
    assert_eq!(house.code(Credential::ApiKey(key.expose()), now()).await, "too_many_refusals");
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_that_costs_no_address_anything() {
    let house = House::without_tables().await;
    for _ in 0..10 {
        assert_eq!(
            house.code(Credential::ApiKey(unknown_key().expose()), now()).await,
            "directory_unavailable",
            "never 401, nor 429"
        );
    }
    assert_eq!(house.metrics.store.failures.get(), 10);
}

#[tokio::test]
async fn who_is_known_is_no_stranger_after_a_change_although_its_address_has_been_refused_too_often() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let token = house.token(ada.id, house.session(&ada).await);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
    for _ in 0..3 {
        assert_eq!(house.code(Credential::ApiKey(unknown_key().expose()), now()).await, "invalid_token");
    }
    assert_eq!(house.code(Credential::ApiKey(unknown_key().expose()), now()).await, "too_many_refusals");
    house.directory.hear([Subject::Account(ada.id)]);
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
}

#[tokio::test]
async fn who_was_known_is_a_stranger_once_its_token_proves_nothing() {
    let house = House::open().await;
    let token = house.new_token().await;
    assert_eq!(house.code_of(&token).await, "ok");
    // Its key is withdrawn.
    house.keys.store(Arc::new(Keyring { access: set(), assertion: set() }));
    house.directory.forget_all();
    for _ in 0..3 {
        assert_eq!(house.code_of(&token).await, "invalid_token");
    }
    assert_eq!(house.code_of(&token).await, "too_many_refusals");
}

#[tokio::test]
async fn tidying_drops_what_has_expired_and_writes_down_when_keys_were_used() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let token = house.token(ada.id, house.session(&ada).await);
    let key = house.key(&ada, None).await;
    assert_eq!(house.code(Credential::Jwt(&token), now()).await, "ok");
    assert_eq!(house.code(Credential::ApiKey(key.expose()), later(7)).await, "ok");
    let kept = async |at| {
        house.directory.tidy(at).await;
        house.directory.known.run_pending_tasks().await;
        house.directory.len()
    };
    assert_eq!(kept(later(59)).await, 2);
    assert_eq!(kept(later(60)).await, 1, "the token's time is over");
    let listed = house.store.list_keys(ada.id).await.unwrap();
    assert_eq!(listed[0].last_used_at, Some(later(7)));
    let known = house.shown(Credential::ApiKey(key.expose()), later(8)).await.ok().unwrap();
    assert_eq!(known.unwritten_use(), Some((key.id(), later(8))));
    house.directory.tidy(later(61)).await;
    assert_eq!(known.unwritten_use(), None, "it is written down once");
}

#[tokio::test]
async fn a_use_that_the_database_did_not_take_is_written_down_the_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("house.db").display());
    let house = House::on(&file).await;
    house.store.migrate().await.unwrap();
    let ada = house.person("ada@example.com").await;
    let (key, cookie) = (house.key(&ada, None).await, house.cookie(&ada, later(600), later(86_400)).await);
    let takes_no_writes = House::on(&format!("{file}?mode=ro")).await;
    for credential in [Credential::ApiKey(key.expose()), Credential::Cookie(cookie.expose())] {
        let known = takes_no_writes.shown(credential, later(7)).await.ok().unwrap();
        house.directory.known.insert(digest_of(&credential), known).await;
    }
    takes_no_writes.directory.tidy(later(8)).await;
    house.directory.tidy(later(18)).await;
    let used_at = house.store.list_keys(ada.id).await.unwrap()[0].last_used_at;
    let good_until = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap().idle_until;
    assert_eq!((used_at, good_until), (Some(later(7)), Some(later(607))));
}

impl House {
    async fn cookie(&self, account: &Account, idle_until: DateTime<Utc>, ends_at: DateTime<Utc>) -> SessionCookie {
        let cookie = SessionCookie::generate(SessionId::new(Uuid::now_v7()), &mut rand::rng());
        let terms = store::CookieTerms { digest: cookie.digest(), idle_until, ends_at };
        let (proof, origin) = (store::Proof::Cookie(terms), store::Origin::default());
        self.store.open_session(NewSession { id: cookie.id(), account, proof, now: now(), origin }).await.unwrap();
        cookie
    }
}

#[tokio::test]
async fn a_cookie_that_is_not_used_for_a_while_is_worth_nothing_on_any_node() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(86_400)).await;
    let shown = Credential::Cookie(cookie.expose());
    for used in [0, 599, 1198, 1700] {
        assert_eq!(house.code(shown, later(used)).await, "ok", "{used}");
    }
    assert_eq!(house.metrics.cache.misses.get(), 1, "a use asks nobody");
    house.directory.tidy(later(1701)).await;
    let until = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap().idle_until;
    assert_eq!(until, Some(later(2300)), "it is written down");
    assert_eq!(house.code(shown, later(1730)).await, "ok");
    house.directory.tidy(later(1731)).await;
    let until = house.store.cookie_grant(cookie.id()).await.unwrap().unwrap().idle_until;
    assert_eq!(until, Some(later(2300)), "not each use");
    assert_eq!(house.code(shown, later(2330)).await, "expired");
}

#[tokio::test]
async fn a_cookie_that_was_used_at_another_node_meanwhile_is_good_at_this_one_too() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(86_400)).await;
    let shown = Credential::Cookie(cookie.expose());
    assert_eq!(house.code(shown, now()).await, "ok");
    house.store.touch_cookies(&[(cookie.id(), later(1500))], later(900)).await.unwrap();
    assert_eq!(house.code(shown, later(1000)).await, "ok");
}

#[tokio::test]
async fn a_cookie_ends_however_often_it_is_used() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(1000)).await;
    let shown = Credential::Cookie(cookie.expose());
    assert_eq!(house.code(shown, later(500)).await, "ok");
    assert_eq!(house.code(shown, later(999)).await, "ok");
    assert_eq!(house.code(shown, later(1000)).await, "expired");
}

#[tokio::test]
async fn a_cookie_shown_as_a_token_and_a_wrong_secret_of_it_are_refused() {
    let house = House::open().await;
    let ada = house.person("ada@example.com").await;
    let cookie = house.cookie(&ada, later(600), later(1000)).await;
    let guessed = SessionCookie::generate(cookie.id(), &mut rand::rng());
    assert_eq!(house.code(Credential::Cookie(guessed.expose()), now()).await, "invalid_token");
    assert_eq!(house.code(Credential::Cookie(cookie.expose()), now()).await, "ok");
    assert_eq!(house.code(Credential::Jwt(cookie.expose()), now()).await, "invalid_token", "although it is cached");
    house.store.end_session(cookie.id(), now()).await.unwrap();
    house.directory.hear([Subject::Session(cookie.id())]);
    assert_eq!(house.code(Credential::Cookie(cookie.expose()), now()).await, "revoked");
}
