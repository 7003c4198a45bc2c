//! A whole office for one test, and somebody who stands where the door stands.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use admin_api::{
    Accent, AccountSettings, Answered, Asked, Clock, Hooks, Identified, Lockout, MailSettings, MailTransport, Mailer,
    Office, PageSettings, Provider, ProviderFault, Providers, Registration, ReloadReport, Settings, Templates,
    TokenSubject,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use chrono::{DateTime, Utc};
use identity::{
    AccessClaims, AccountId, Algorithm, ApiKey, Argon2Params, AssertionClaims, Grant, LockRules, MasterKey,
    PasswordRules, Principal, SealKeys, SessionCookie, TokenRules, TokenType,
};
use policies::{
    Policy, RouteTable,
    roles::{Permissions, Roles},
    tiers::{Tier, Tiers},
};
use prometheus::Registry;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};
use store::{AccountChange, Audit, Keyring, PoolSettings, RefreshTerms, Standing, Store};
use tower::ServiceExt as _;

use crate::template;

pub(crate) const ISSUER: &str = "https://door.test";
/// Whose tokens the door would believe.
pub(crate) const BELIEVED: &str = "https://tokens.test";
pub(crate) const AUDIENCE: &str = "platform";
pub(crate) const PASSWORD: &str = "correct horse battery";
/// By which whoever takes payments signs what they say.
pub(crate) const SECRET_OF_PAYMENTS: &str = "whsec_of-the-tests-alone";

/// An office that serves nobody but one test.
pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) keys: Arc<ArcSwap<Keyring>>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) registry: Registry,
    mailer: Mailer,
    hooks: Arc<TestHooks>,
    pub(crate) router: Router,
    /// Microseconds by which the clock is ahead.
    ahead: Arc<AtomicI64>,
    folder: tempfile::TempDir,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// Somebody who has logged in.
pub(crate) struct Person {
    pub(crate) id: AccountId,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// What a request carries.
#[derive(Clone, Copy)]
pub(crate) enum Shown<'a> {
    /// Nothing, as on public routes.
    Nothing,
    /// A credential that the door looks at first.
    Credential(&'a str),
    /// A header as it is, past the door.
    Header(&'a str, &'a str),
}

/// The process around the office, as far as the office can see.
struct TestHooks {
    policy: Arc<Policy>,
    /// Done when the policy is next asked for.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    reload: Mutex<Result<ReloadReport, Vec<String>>>,
    status: Mutex<Vec<&'static str>>,
    /// How often something was met that does not open.
    unreadable: AtomicI64,
}

/// A provider that knows one person, whatever code is shown.
struct Acme([Provider; 1]);

// === impl Acme ===

impl Acme {
    fn new() -> Self {
        let text = str::to_owned;
        Self([Provider { id: text("acme"), label: text("Acme"), issuer: text("https://acme.test"), sign_up: true }])
    }
}

#[async_trait]
impl Providers for Acme {
    fn list(&self) -> &[Provider] {
        &self.0
    }

    async fn begin(&self, _: &Provider, asked: Asked<'_>) -> Result<String, ProviderFault> {
        Ok(format!("https://acme.test/authorize?state={}", asked.state))
    }

    async fn redeem(&self, _: &Provider, _: Answered<'_>) -> Result<Identified, ProviderFault> {
        let (subject, email) = ("ada-there".to_owned(), identity::Email::parse("ada@example.com").ok());
        Ok(Identified { subject, verified_email: email, name: None, seen_at: None })
    }
}

// === impl House ===

impl House {
    pub(crate) async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    /// Another program holds the database's write lock for as long as what is returned lives.
    pub(crate) async fn block_writes(&self) -> sqlx::SqliteConnection {
        let mut connection = self.beside().await;
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        connection
    }

    /// An office of other settings.
    pub(crate) async fn open_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("test.db");
        template::sqlite(&file).await;
        Self::open_by(&format!("sqlite:{}", file.display()), folder, 4, change).await
    }

    pub(crate) async fn open_on(url: &str, folder: tempfile::TempDir) -> Self {
        Self::open_by(url, folder, 4, |_| ()).await
    }

    pub(crate) async fn open_by(
        url: &str,
        folder: tempfile::TempDir,
        max_connections: u32,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let pool = PoolSettings {
            max_connections,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(2),
        };
        let store = Store::connect(url, pool).await.unwrap();
        store.migrate().await.unwrap();
        let seal = Arc::new(SealKeys::new(MasterKey::generate(&mut rand::rng()), Vec::new()));
        store::ensure_keys(&store, &seal, Algorithm::EdDsa, None, &mut rand::rng(), Utc::now()).await.unwrap();
        let keys = Arc::new(ArcSwap::from_pointee(Keyring::load(&store, &seal).await.unwrap()));
        let (registry, ahead) = (Registry::new(), Arc::new(AtomicI64::new(until_next_code())));
        let clock = {
            let ahead = Arc::clone(&ahead);
            Clock::new(move || Utc::now() + chrono::TimeDelta::microseconds(ahead.load(Ordering::SeqCst)))
        };
        let reload = Ok(ReloadReport { generation: 2, needs_restart: vec!["tokens".to_owned()], digest: None });
        let hooks = Arc::new(TestHooks {
            policy: Arc::new(policy()),
            meanwhile: Mutex::default(),
            reload: Mutex::new(reload),
            status: Mutex::default(),
            unreadable: AtomicI64::default(),
        });
        let mut settings = settings(MailTransport::File(folder.path().join("outbox")));
        change(&mut settings);
        let audit = Arc::new(Audit::new(store.clone(), Arc::clone(&seal)));
        let office = Office::new(
            store.clone(),
            Arc::clone(&keys),
            seal,
            Arc::clone(&audit),
            settings,
            Arc::clone(&hooks) as _,
            &registry,
        );
        let office = Arc::new(office.unwrap().with_clock(clock).with_providers(Arc::new(Acme::new())));
        let mailer = Mailer::new(&office);
        Self { store, keys, audit, registry, mailer, hooks, router: admin_api::router(office), ahead, folder }
    }

    /// The office's time.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        Utc::now() + chrono::TimeDelta::microseconds(self.ahead.load(Ordering::SeqCst))
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, time: Duration) {
        self.ahead.fetch_add(i64::try_from(time.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Answer { status, headers, body }
    }

    /// Sends a request with a JSON body, or with none when it is `null`.
    pub(crate) async fn call(&self, method: &str, path: &str, shown: Shown<'_>, body: Value) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        match shown {
            Shown::Nothing => {}
            Shown::Header(name, value) => request = request.header(name, value),
            Shown::Credential(credential) => match self.ask_door(credential).await {
                Ok(assertion) => request = request.header("X-Gateway-Assertion", assertion),
                Err(standing) => return refused_at_door(standing),
            },
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.send(request.header(header::CONTENT_TYPE, "application/json").body(body).unwrap()).await
    }

    /// What the door does with a credential: checks it, asks the store, and asserts whom it found.
    async fn ask_door(&self, credential: &str) -> Result<String, Option<Standing>> {
        let (grant, facts, (generation, iat)) = if credential.starts_with("pck_") {
            let key = ApiKey::parse(credential).unwrap();
            let facts = self.store.key_grant(key.id()).await.unwrap();
            (Grant::Key(key.id()), facts.filter(|facts| facts.digest.as_ref() == Some(&key.digest())), (0, 0))
        } else if let Ok(cookie) = SessionCookie::parse(credential) {
            let facts = self.store.cookie_grant(cookie.id()).await.unwrap();
            let facts = facts.filter(|facts| facts.digest.as_ref() == Some(&cookie.digest()));
            // Another one is given with every generation.
            let generation = facts.as_ref().map_or(0, |facts| facts.generation);
            (Grant::Cookie(cookie.id()), facts, (generation, 0))
        } else {
            let rules = TokenRules {
                issuer: ISSUER.into(),
                audience: AUDIENCE.into(),
                typ: TokenType::Access,
                leeway: Duration::from_secs(30),
            };
            let claims: AccessClaims =
                identity::verify(credential, &self.keys.load().access.keys, &rules, self.now()).map_err(|_| None)?;
            let facts = self.store.session_grant(claims.sid).await.unwrap();
            (Grant::Session(claims.sid), facts, (claims.generation, claims.iat))
        };
        let facts = facts.ok_or(None)?;
        match facts.standing_of_token(generation, iat, self.now()) {
            Standing::Live => Ok(self.assert(&facts.principal(grant), "admin-api")),
            standing => Err(Some(standing)),
        }
    }

    /// What the door says of somebody, for when the door could not find out any more.
    pub(crate) async fn assertion_of(&self, person: &Person) -> String {
        self.ask_door(&person.access).await.unwrap()
    }

    /// The door's word that `principal` is calling.
    pub(crate) fn assert(&self, principal: &Principal, audience: &str) -> String {
        let claims = AssertionClaims::of(principal, ISSUER, audience, self.now(), chrono::TimeDelta::minutes(5));
        self.keys.load().assertion.current.sign(TokenType::Assertion, &claims)
    }

    pub(crate) async fn post(&self, path: &str, shown: Shown<'_>, body: Value) -> Answer {
        self.call("POST", path, shown, body).await
    }

    pub(crate) async fn get(&self, path: &str, shown: Shown<'_>) -> Answer {
        self.call("GET", path, shown, Value::Null).await
    }

    pub(crate) async fn register(&self, email: &str) -> Person {
        let answer = self
            .post("/auth/register", Shown::Nothing, json!({ "email": email, "password": PASSWORD, "name": "Ada" }))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        Person::of(&answer)
    }

    pub(crate) async fn login(&self, email: &str) -> Person {
        self.login_by(email, PASSWORD).await
    }

    pub(crate) async fn login_by(&self, email: &str, password: &str) -> Person {
        let answer = self.post("/auth/login", Shown::Nothing, json!({ "email": email, "password": password })).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Person::of(&answer)
    }

    pub(crate) async fn administrator(&self, email: &str) -> Person {
        let person = self.register(email).await;
        self.change(&person, AccountChange { role: Some("admin".to_owned()), ..AccountChange::default() }).await;
        person
    }

    /// Gives somebody the role whose permissions all are.
    pub(crate) async fn make_admin_role(&self, person: &Person) {
        self.change(person, AccountChange { role: Some("admin".to_owned()), ..AccountChange::default() }).await;
    }

    /// Has somebody's address confirmed, with no mail answered.
    pub(crate) async fn confirm(&self, id: AccountId) {
        let confirm = sqlx::query("UPDATE accounts SET is_verified = TRUE WHERE id = $1").bind(id.uuid());
        assert_eq!(confirm.execute(&mut self.beside().await).await.unwrap().rows_affected(), 1);
    }

    /// Runs a statement past the office.
    pub(crate) async fn run(&self, statement: &'static str) {
        let done = self.beside().await.execute(statement).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    }

    /// Runs a statement past the office when a handler next asks what roles may do: who is calling has been asked for by then.
    pub(crate) fn run_meanwhile(&self, statement: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.folder.path().join("test.db"));
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let done = runtime.block_on(async {
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
                connection.execute(statement).await.unwrap()
            });
            assert!(done.rows_affected() > 0, "{statement}");
        };
        // No runtime can wait for anything within another one.
        let act = move || std::thread::spawn(run).join().unwrap();
        *self.hooks.meanwhile.lock().unwrap() = Some(Box::new(act));
    }

    /// A connection to the database past the office.
    async fn beside(&self) -> sqlx::SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.folder.path().join("test.db"));
        sqlx::SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// Are these bytes in none of the database's files?
    pub(crate) fn holds_nowhere(&self, bytes: &[u8]) -> bool {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("test.db"));
        files.all(|path| !std::fs::read(path).unwrap().windows(bytes.len()).any(|some| some == bytes))
    }

    pub(crate) async fn change(&self, person: &Person, change: AccountChange) {
        self.store.change_account(person.id, change, self.now()).await.unwrap();
    }

    /// What somebody has made.
    pub(crate) async fn made(&self, path: &str, shown: Shown<'_>, body: Value) -> Value {
        let answer = self.post(path, shown, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.body);
        answer.body
    }

    /// The id of what somebody has made.
    pub(crate) async fn made_id(&self, path: &str, shown: Shown<'_>, body: Value) -> String {
        self.made(path, shown, body).await["id"].as_str().unwrap().to_owned()
    }

    /// The tenant in which somebody acts.
    pub(crate) async fn tenant_of(&self, person: &Person) -> String {
        self.get("/auth/me", person.shown()).await.text("tenant_id").to_owned()
    }

    pub(crate) async fn make_key(&self, person: &Person, body: Value) -> Value {
        let answer = self.post("/auth/api-keys", person.shown(), body).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body
    }

    /// A machine's account, which acts in a tenant or in none, and its key.
    pub(crate) async fn service(&self, tenant: Option<identity::TenantId>) -> (AccountId, String) {
        let belongs = tenant.map_or(store::Belonging::Nowhere, store::Belonging::Joins);
        self.account_with_key(store::AccountKind::Service, "service", belongs, tenant).await
    }

    /// Somebody who belongs to no tenant, and their key.
    pub(crate) async fn loner(&self) -> (AccountId, String) {
        self.account_with_key(store::AccountKind::Person, "developer", store::Belonging::Nowhere, None).await
    }

    async fn account_with_key(
        &self,
        kind: store::AccountKind,
        role: &str,
        belongs: store::Belonging<'_>,
        tenant: Option<identity::TenantId>,
    ) -> (AccountId, String) {
        let id = AccountId::new(uuid::Uuid::now_v7());
        let email = identity::Email::parse(&format!("{}@service.invalid", id.uuid().simple())).unwrap();
        let new = store::NewAccount {
            id,
            email: &email,
            password_hash: identity::PasswordHash::from(String::new()),
            name: None,
            role,
            tier: "free",
            has_own_tier: false,
            is_verified: false,
            kind,
            tenant: belongs,
            now: self.now(),
        };
        self.store.create_account(new).await.unwrap();
        let key = ApiKey::generate(identity::KeyId::new(uuid::Uuid::now_v7()), &mut rand::rng());
        let new = store::NewKey {
            id: key.id(),
            account: id,
            by: None,
            tenant,
            name: "a key".to_owned(),
            prefix: key.prefix(),
            digest: key.digest(),
            scopes: None,
            networks: None,
            expires_at: None,
            most: 1,
            now: self.now(),
        };
        self.store.create_key(new).await.unwrap();
        (id, key.expose().to_owned())
    }

    /// Carries the mail and takes all of it out of the folder, the oldest first.
    pub(crate) async fn mails(&self) -> Vec<Mail> {
        self.mailer.carry_due().await.unwrap();
        let Ok(folder) = std::fs::read_dir(self.folder.path().join("outbox")) else { return Vec::new() };
        let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let mails = paths.into_iter().map(|path| {
            let mail = Mail::read(&std::fs::read_to_string(&path).unwrap());
            std::fs::remove_file(path).unwrap();
            mail
        });
        mails.collect()
    }

    /// The one mail that there is.
    pub(crate) async fn mail(&self) -> Mail {
        let mut mails = self.mails().await;
        assert_eq!(mails.len(), 1, "{mails:?}");
        mails.remove(0)
    }

    /// A file of the house's folder.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Sends a request from somewhere, in a browser that has these cookies.
    pub(crate) async fn visit(&self, from: &Place<'_>, path: &str, body: Value) -> Answer {
        let request = Request::builder().method("POST").uri(path).header("X-Gateway-Client", from.address);
        let request = request.header(header::USER_AGENT, "test").header(header::CONTENT_TYPE, "application/json");
        let request = from.cookie.iter().fold(request, |request, cookie| request.header(header::COOKIE, *cookie));
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// What the next reload finds.
    pub(crate) fn next_reload(&self, outcome: Result<ReloadReport, Vec<String>>) {
        *self.hooks.reload.lock().unwrap() = outcome;
    }

    /// How often the process was told of something that does not open.
    pub(crate) fn unreadable(&self) -> i64 {
        self.hooks.unreadable.load(Ordering::SeqCst)
    }

    /// Something around the office stops working.
    pub(crate) fn degrade(&self, what: &'static str) {
        self.hooks.status.lock().unwrap().push(what);
    }

    /// A counter of the office, all labels together.
    pub(crate) fn metric(&self, name: &str) -> i64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(prometheus::proto::MetricFamily::get_metric).into_iter().flatten();
        metrics.map(|metric| metric.get_counter().get_value() as i64).sum()
    }

    /// The same of one outcome.
    pub(crate) fn outcome(&self, name: &str, outcome: &str) -> i64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no {name}"));
        let is_it =
            |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|label| label.value() == outcome);
        family.get_metric().iter().filter(is_it).map(|metric| metric.get_counter().get_value() as i64).sum()
    }
}

/// Where somebody is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) address: &'a str,
    pub(crate) cookie: Option<&'a str>,
}

/// A mail as it was written.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) to: String,
    pub(crate) subject: String,
    /// All of it, as it is.
    pub(crate) raw: String,
    /// The text, decoded.
    pub(crate) text: String,
}

// === impl Mail ===

impl Mail {
    fn read(raw: &str) -> Self {
        let header = |name: &str| {
            let line = raw.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {raw}")).trim().to_owned()
        };
        // Soft line ends and escapes of quoted-printable (RFC 2045 §6.7); what is not written so has none.
        let text = raw.replace("=\r\n", "").replace("=3D", "=");
        Self { to: header("To:"), subject: header("Subject:"), raw: raw.to_owned(), text }
    }

    /// The token in it.
    pub(crate) fn token(&self) -> String {
        let at = self.text.find("pco_").unwrap_or_else(|| panic!("no token in {}", self.text));
        self.text[at..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.body))
    }

    /// The cookie that the browser was given, as it would show it.
    pub(crate) fn cookie(&self) -> Option<String> {
        let given = self.headers.get(header::SET_COOKIE)?.to_str().unwrap();
        Some(given.split(';').next().unwrap().to_owned())
    }

    /// What to say of an answer that should have been another.
    pub(crate) fn refusal_or_status(&self) -> String {
        if self.body["code"].is_string() { self.refusal() } else { self.status.to_string() }
    }

    /// Status and code of a refusal, then each field that is wrong.
    pub(crate) fn refusal(&self) -> String {
        let first = [format!("{} {}", self.status.as_u16(), self.text("code"))].into_iter();
        let errors = self.body["errors"].as_array().into_iter().flatten();
        let errors = errors
            .map(|error| format!("  {}: {}", error["field"].as_str().unwrap(), error["message"].as_str().unwrap()));
        first.chain(errors).collect::<Vec<_>>().join("\n")
    }
}

// === impl Person ===

impl Person {
    pub(crate) fn of(answer: &Answer) -> Self {
        Self {
            id: answer.body["user"]["id"].as_str().unwrap().parse().unwrap(),
            access: answer.text("access_token").to_owned(),
            refresh: answer.text("refresh_token").to_owned(),
        }
    }

    /// With the tokens of an answer, if it has any: those of before have ended then.
    pub(crate) fn going_on_with(self, answer: &Answer) -> Self {
        let given = |field: &str, had: String| answer.body[field].as_str().map_or(had, str::to_owned);
        Self { id: self.id, access: given("access_token", self.access), refresh: given("refresh_token", self.refresh) }
    }

    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown::Credential(&self.access)
    }
}

// === impl TestHooks ===

#[async_trait]
impl Hooks for TestHooks {
    async fn reload(&self) -> Result<ReloadReport, Vec<String>> {
        self.reload.lock().unwrap().clone()
    }

    /// Nobody else is believed here; that is the door's (`gateway::door issuers`).
    async fn vouched(
        &self,
        _: &str,
        _: (std::net::IpAddr, bool),
        _: Option<&str>,
    ) -> Option<Result<(identity::Grant, store::GrantFacts), policies::Refusal>> {
        None
    }

    fn policy(&self) -> Arc<Policy> {
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(act) = meanwhile {
            act();
        }
        Arc::clone(&self.policy)
    }

    fn status(&self) -> Vec<&'static str> {
        self.status.lock().unwrap().clone()
    }

    fn found_unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::SeqCst);
    }
}

fn policy() -> Policy {
    let role = |name: &str, held: &[&str]| (name.into(), Permissions::parse(held.iter().copied()).unwrap());
    let tier = |name: &str| Tier { name: name.into(), ..Tier::default() };
    Policy {
        routes: RouteTable::default(),
        roles: Roles::new([
            role("admin", &["*"]),
            role("helpdesk", &["account:manage", "users:manage"]),
            role("user", &["account:manage", "agents:read", "integrations:*"]),
            role("developer", &["agents:*", "platform:publish", "instances:*", "integrations:*"]),
            role("author", &["agents:*"]),
            role("service", &["usage:report", "quota:reserve"]),
        ]),
        tiers: Tiers::new([
            Tier { quotas: [("workbenches".into(), policies::Amount::Finite(3))].into(), ..tier("free") },
            tier("pro"),
        ]),
    }
}

/// Microseconds until authenticators show their next code, as they do every half minute: nobody begins at the end of one.
fn until_next_code() -> i64 {
    const PERIOD: i64 = 30_000_000;
    PERIOD - Utc::now().timestamp_micros().rem_euclid(PERIOD)
}

fn settings(transport: MailTransport) -> Settings {
    let rules = LockRules {
        attempts: 5,
        duration: Duration::from_mins(30),
        longest: Duration::from_hours(24),
        forget_after: Duration::from_hours(24),
    };
    Settings {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        subject: TokenSubject::Id,
        upstream_name: "admin-api".to_owned(),
        access_ttl: Duration::from_mins(30),
        refresh_terms: RefreshTerms {
            grace: Duration::from_secs(10),
            ttl: Duration::from_hours(168),
            session_life: Duration::from_hours(720),
        },
        password_rules: PasswordRules { min_chars: 8, ..PasswordRules::default() },
        breached: None,
        // Cheap: what is tested is who hashes when, not how strongly.
        argon2: Argon2Params { memory_kib: 64, iterations: 1, parallelism: 1 },
        hash_concurrency: 2,
        default_role: "user".to_owned(),
        default_tier: "free".to_owned(),
        accounts: AccountSettings {
            registration: Registration::Immediate,
            unverified_role: None,
            unverified_may_log_in: true,
            verification_ttl: Duration::from_hours(24),
            reset_ttl: Duration::from_mins(30),
            magic_link_ttl: Duration::from_mins(10),
            invitation_ttl: Duration::from_hours(168),
        },
        lockout: Lockout { account: rules, network: LockRules { attempts: 50, ..rules } },
        mfa_issuer: "Portcullis".to_owned(),
        totp_skew: 1,
        mail: MailSettings {
            from: "Portcullis <no-reply@door.test>".to_owned(),
            product: "Portcullis".to_owned(),
            public_url: ISSUER.to_owned(),
            transport,
            templates: Templates::built_in(),
            give_up_after: Duration::from_hours(72),
        },
        pages: PageSettings {
            cookie_idle: Duration::from_hours(1),
            cookie_life: Duration::from_hours(12),
            accent: Accent::default(),
        },
        believed_issuers: vec![BELIEVED.to_owned()],
        payment_secret: Some(SECRET_OF_PAYMENTS.to_owned().into()),
    }
}

/// The same body with a word in each place that holds something else each time.
pub(crate) fn veiled(body: &Value, places: &[(&str, &str)]) -> Value {
    let mut body = body.clone();
    for (place, word) in places {
        *body.pointer_mut(place).unwrap_or_else(|| panic!("there is no {place}")) = json!(word);
    }
    body
}

/// The door answers by itself; the office is not asked.
fn refused_at_door(standing: Option<Standing>) -> Answer {
    let code = match standing {
        None => "door:invalid_token",
        Some(Standing::Expired) => "door:expired",
        Some(Standing::AccountDisabled) => "door:account_disabled",
        Some(Standing::TenantDisabled) => "door:tenant_disabled",
        Some(_) => "door:revoked",
    };
    Answer { status: StatusCode::UNAUTHORIZED, headers: HeaderMap::new(), body: json!({ "code": code }) }
}
