//! Reads the configuration folder, or the defaults that are built in, into a [`Config`], or finds everything that is wrong.

mod accounts;
mod billing;
mod browser;
mod issuers;
mod login_providers;
mod newcomers;
mod pages;
mod server;
mod shared;
mod texts;
mod tls;
mod tokens;
mod upstream_tls;
mod upstreams;
mod usage;
mod variables;

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use identity::Argon2Params;
use policies::Policy;
use policies::config::{Diagnostic, Document, DurationText, Placed, Source, Sources, Surroundings, Upstreams, Value};

pub(crate) use self::texts::Texts;
use self::{issuers::Named, newcomers::nothing_for_newcomers};
use super::{
    AccessLog, CacheSettings, Config, Log, Protocol, Retention, Settings, StoreSettings, UpstreamSettings,
    raw::{self, Given},
    seed,
};
use crate::snapshot::ADMIN_API;

/// Where the configuration is.
#[derive(Clone, Debug)]
pub enum ConfigFolder {
    /// The files that are shipped, as they were when this binary was built.
    Embedded,
    /// A folder.
    Path(PathBuf),
}

/// More threads, hashes or connections to a database at once than any machine has room for.
const MOST_AT_ONCE: usize = 10_000;
const FILES: [&str; 5] = ["gateway.toml", "routes.toml", "roles.toml", "tiers.toml", "cases.toml"];
const EMBEDDED: [&str; 5] = [
    include_str!("../../../config/gateway.toml"),
    include_str!("../../../config/routes.toml"),
    include_str!("../../../config/roles.toml"),
    include_str!("../../../config/tiers.toml"),
    include_str!("../../../config/cases.toml"),
];

/// Reads the folder. Environment variables and files are looked up as the files ask for them.
pub fn load(folder: &ConfigFolder) -> Result<Config, Vec<Diagnostic>> {
    parse(folder, &folder.read())
}

/// What has been read of the folder.
pub(crate) fn parse(folder: &ConfigFolder, texts: &Texts) -> Result<Config, Vec<Diagnostic>> {
    let [gateway, routes, roles, tiers, cases] = std::array::from_fn(|index| Source {
        name: FILES[index],
        text: texts.files[index].as_deref().map_err(String::as_str),
    });
    let mut document = gateway.parse();
    let mut reader = Reader { document: &mut document, folder, named: Named::default() };
    let (settings, named) = (reader.settings(), reader.named);
    let upstreams = upstreams_of(&settings);
    let is_readable = document.is_readable();
    let known = is_readable.then_some(&upstreams);
    let mut policy = policies::config::load(&Sources { routes, roles, tiers, cases }, known);
    if let Ok(loaded) = &mut policy {
        loaded.policy.roles = std::mem::take(&mut loaded.policy.roles).guarded(settings.mfa.guarded.clone());
    }
    let taken = policy.as_ref().map_or_else(|_| Vec::new(), |loaded| reserved_for_us(&settings, &loaded.policy));
    if let Ok(loaded) = &policy {
        named.check(&loaded.policy, &mut document);
    }
    let mut wrong = document.finish();
    wrong.extend(taken);
    let known = policy.as_ref().ok().map(|loaded| &loaded.policy);
    let [roles, tiers] = [roles, tiers].map(|file| file.text.unwrap_or_default());
    wrong.extend(known.into_iter().flat_map(|policy| nothing_for_newcomers(policy, roles)));
    wrong.extend(billing::other_currency(&settings.billing, known.filter(|_| is_readable), tiers));
    let seed = seed::load(texts.seed.as_ref());
    match (wrong, policy, seed) {
        (wrong, Ok(loaded), Ok(seed)) if wrong.is_empty() => {
            let digest = texts.digest();
            Ok(Config { settings, policy: loaded.policy, cases: loaded.cases, seed, digest })
        }
        (mut wrong, policy, seed) => {
            wrong.extend(policy.err().unwrap_or_default());
            wrong.extend(seed.err().unwrap_or_default());
            Err(wrong)
        }
    }
}

/// The files that are read of a folder, where they are there.
pub(crate) fn files_of(folder: &Path) -> impl Iterator<Item = PathBuf> {
    FILES.into_iter().chain([seed::FILE]).map(|name| folder.join(name))
}

/// A header that nobody but the door sets carries no provider's key; which ones those are is the operator's to say too.
fn reserved_for_us(settings: &Settings, policy: &Policy) -> Vec<Diagnostic> {
    let own = settings.server.reserved_headers.iter().map(|name| name.trim_end_matches("-*"));
    let own: Vec<String> = own.map(policies::header::fold).collect();
    let is_own = |name: &str| {
        let begins =
            |own: &String| name.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        own.iter().any(begins)
    };
    let routes = policy.routes.routes().iter().filter_map(|route| Some((route, route.inject_credential.as_ref()?)));
    let taken = routes.filter(|(_, injection)| is_own(injection.header()));
    let told = taken.map(|(route, injection)| {
        let (route, header) = (&route.name, injection.header());
        let message =
            format!("server.reserved_headers reserves `{header}`, in which the route `{route}` injects a credential");
        Diagnostic::at(FILES[0], "", 0, message, None)
    });
    told.collect()
}

/// Where `key` stands below `header`; the header, or the file's beginning, where that cannot be told so simply.
fn place_of(text: &str, header: &str, key: &str) -> usize {
    let Some(begin) = text.find(header) else { return 0 };
    let section = &text[begin + header.len()..];
    let section = &section[..section.find("\n[").unwrap_or(section.len())];
    section.find(&format!("\n{key}")).map_or(begin, |at| begin + header.len() + at + 1)
}

/// What routes may send to.
fn upstreams_of(settings: &Settings) -> Upstreams {
    let such = |is: fn(&UpstreamSettings) -> bool| {
        settings.upstreams.iter().filter(|(_, upstream)| is(upstream)).map(|(name, _)| name.clone()).collect()
    };
    Upstreams {
        without_websocket: such(|upstream| upstream.protocol == Protocol::Http2),
        without_headers: such(|upstream| !upstream.states_headers),
        in_clear: such(UpstreamSettings::is_in_clear),
        names: settings.upstreams.keys().cloned().chain([ADMIN_API.to_owned()]).collect(),
        foreign_pages: settings.foreign_pages.clone(),
        without_client_ca: settings.tls.client_ca.is_none(),
    }
}

/// What one `gateway.toml` says, and what is wrong with it.
#[cfg(any(test, feature = "properties"))]
pub(crate) fn read(text: &str) -> (Settings, Vec<Diagnostic>) {
    let mut document = Document::parse(FILES[0], text);
    let mut reader = Reader { document: &mut document, folder: &ConfigFolder::Embedded, named: Named::default() };
    let settings = reader.settings();
    (settings, document.finish())
}

// === impl ConfigFolder ===

impl ConfigFolder {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Embedded => None,
            Self::Path(folder) => Some(folder),
        }
    }
}

impl Surroundings for ConfigFolder {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<String, String> {
        let folder = match self {
            Self::Embedded => Path::new("."),
            Self::Path(folder) => folder,
        };
        fs::read_to_string(folder.join(path)).map_err(|error| error.to_string())
    }
}

/// Reads the sections of `gateway.toml`. What cannot be read is reported and stands in by its default; the whole is then
/// refused.
struct Reader<'d, 'i> {
    document: &'d mut Document<'i>,
    folder: &'d ConfigFolder,
    named: Named,
}

// === impl Reader ===

impl Reader<'_, '_> {
    fn settings(&mut self) -> Settings {
        let tokens = self.tokens();
        let tls = self.tls();
        let server = self.server();
        let listen = self.listen(&tls, &server);
        let accounts = self.accounts();
        Settings {
            issuers: self.issuers(&tokens.issuer),
            foreign_pages: self.foreign_pages(listen.dev_headers),
            listen,
            tls,
            server,
            store: self.store(),
            cache: self.cache(),
            retention: self.retention(),
            shared: self.shared(),
            tokens,
            // Authenticators show what is before the first colon.
            mfa: self.mfa(&accounts.product.replace(':', "")),
            accounts,
            passwords: self.passwords(),
            lockout: self.lockout(),
            mail: self.mail(),
            master_key: self.master_key(),
            log: self.log(),
            browser: self.browser(),
            pages: self.pages(),
            login_providers: self.login_providers(),
            upstreams: self.upstreams(),
            usage: self.usage(),
            billing: self.billing(),
        }
    }

    fn store(&mut self) -> StoreSettings {
        let raw: raw::Store = self.document.section("store").unwrap_or_default();
        let url = self.text(raw.url.as_ref(), "sqlite:portcullis.db");
        if let Some(given) = &raw.url
            && !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
        {
            self.document
                .note(given.span(), "a database is \"sqlite:FILE\" or \"postgres://user:password@host/database\"");
        }
        if url.starts_with("postgres")
            && let Some(fault) = store::fault_of_address(&url)
        {
            self.document.note(raw.url.as_ref().map_or(0..0, Placed::span), fault);
        }
        self.refuse_password(raw.url.as_ref());
        StoreSettings {
            url,
            max_connections: u32::try_from(self.few(raw.max_connections.as_ref(), 16, 1)).unwrap_or(u32::MAX),
            acquire_timeout: self.duration(raw.acquire_timeout.as_ref(), 2),
            statement_timeout: self.duration(raw.statement_timeout.as_ref(), 5),
            start_timeout: self.duration(raw.start_timeout.as_ref(), 30),
        }
    }

    fn cache(&mut self) -> CacheSettings {
        let raw: raw::Cache = self.document.section("cache").unwrap_or_default();
        CacheSettings {
            credentials: self.count(raw.credentials.as_ref(), 100_000, 1) as u64,
            refused: self.count(raw.refused.as_ref(), 50_000, 0) as u64,
            refused_for: self.duration(raw.refused_for.as_ref(), 10),
            max_stale: self.duration(raw.max_stale.as_ref(), 3600),
        }
    }

    fn retention(&mut self) -> Retention {
        let raw: raw::Retention = self.document.section("retention").unwrap_or_default();
        let mut at_least_a_day = |given: &Given<DurationText>, default| {
            let kept = self.duration(given.as_ref(), default);
            if let Some(given) = given
                && kept < Duration::from_hours(24)
            {
                // Who was away for an hour must find what has changed, and a token must not outlive its session's record.
                self.document.note(given.span(), "must not be shorter than \"1d\"");
            }
            kept
        };
        Retention {
            changes: at_least_a_day(&raw.changes, 7 * 86_400),
            sessions: at_least_a_day(&raw.sessions, 30 * 86_400),
            mails: at_least_a_day(&raw.mails, 30 * 86_400),
            attempts: at_least_a_day(&raw.attempts, 7 * 86_400),
            audit: at_least_a_day(&raw.audit, 365 * 86_400),
            usage: self.kept_usage(raw.usage.as_ref()),
        }
    }

    fn log(&mut self) -> Log {
        let raw: raw::Log = self.document.section("log").unwrap_or_default();
        let level = self.text(raw.level.as_ref(), "info");
        if !["error", "warn", "info", "debug", "trace"].contains(&level.as_str()) {
            self.document.note(
                raw.level.as_ref().map_or(0..0, Placed::span),
                format!("\"{level}\" is not a level: error, warn, info, debug or trace"),
            );
        }
        let access = match self.text(raw.access.as_ref(), "stderr").as_str() {
            "off" => AccessLog::Off,
            "stderr" => AccessLog::Stderr,
            "stdout" => AccessLog::Stdout,
            path => {
                if let Some(given) = raw.access.as_ref().filter(|_| !path.contains(['/', '.'])) {
                    let message = format!("\"{path}\" is neither off, stderr, stdout nor a file (\"access.log\")");
                    self.document.note(given.span(), message);
                }
                AccessLog::File(path.into())
            }
        };
        Log { level, access }
    }

    fn text(&mut self, given: Option<&Placed<Value<String>>>, default: &str) -> String {
        given.and_then(|given| self.document.resolve(given, self.folder)).unwrap_or_else(|| default.to_owned())
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, given: Option<&Placed<Value<String>>>, default: T, what: &str) -> T {
        let Some((given, text)) = given.and_then(|given| Some((given, self.document.resolve(given, self.folder)?)))
        else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            self.document.note(given.span(), format!("\"{text}\" is not {what}"));
            default
        })
    }

    /// A number of at least `least`.
    fn count(&mut self, given: Option<&Placed<Value<u64>>>, default: u64, least: u64) -> usize {
        let count = given.and_then(|given| self.document.resolve(given, self.folder)).unwrap_or(default);
        if let Some(given) = given
            && count < least
        {
            self.document.note(given.span(), format!("must be at least {least}"));
        }
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// A number of threads or connections, each of which takes memory.
    fn few(&mut self, given: Option<&Placed<Value<u64>>>, default: u64, least: u64) -> usize {
        let count = self.count(given, default, least);
        if let Some(given) = given.filter(|_| count > MOST_AT_ONCE) {
            self.document.note(given.span(), format!("must be at most {MOST_AT_ONCE}"));
        }
        count.min(MOST_AT_ONCE)
    }

    /// A length of time of which the seconds are counted.
    fn seconds(&mut self, given: Option<&Placed<Value<DurationText>>>, default_seconds: u64) -> Duration {
        let duration = self.duration(given, default_seconds);
        if let Some(given) = given.filter(|_| !duration.is_zero() && duration < Duration::from_secs(1)) {
            self.document.note(given.span(), "must be at least \"1s\"");
        }
        duration
    }

    fn duration(&mut self, given: Option<&Placed<Value<DurationText>>>, default_seconds: u64) -> Duration {
        let Some(given) = given else { return Duration::from_secs(default_seconds) };
        let duration =
            self.document.resolve(given, self.folder).map_or(Duration::from_secs(default_seconds), |text| text.0);
        if duration.is_zero() {
            self.document.note(given.span(), "must be longer than nothing");
        }
        duration
    }

    /// A length of time that may be nothing, as it is when nothing is said.
    fn delay(&mut self, given: Option<&Placed<Value<DurationText>>>) -> Duration {
        given.and_then(|given| self.document.resolve(given, self.folder)).map_or(Duration::ZERO, |text| text.0)
    }
}

/// The bound of [`Hasher::new`] on memory, without spending that memory to find out.
fn check_memory(params: Argon2Params) -> Result<(), identity::PasswordError> {
    if (8..=64 * 1024).contains(&params.memory_kib) { Ok(()) } else { Err(identity::PasswordError::Params) }
}
