//! The sections `[accounts]`, `[passwords]`, `[lockout]` and `[mail]`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use admin_api::{AccountSettings, Breached, Lockout, MailTransport, Registration, Security, SmtpSettings, Templates};
use http::Uri;
use identity::{Argon2Params, Hasher, LockRules, MOST_SKEW, PasswordRules, readable_name};
use policies::{
    config::{Placed, Surroundings as _, Value},
    roles::Guarded,
};

use super::{ConfigFolder, Reader, check_memory};
use crate::config::{
    accounts::{Accounts, Mail, Mfa, Passwords},
    raw::{self, Given},
};

/// How long failures are remembered after the last one, or after the lock that it has caused.
const FORGET_AFTER: Duration = Duration::from_hours(24);
/// What goes by mail may be read by others on its way.
const LONGEST_LINK: Duration = Duration::from_mins(10);
/// zxcvbn's scores.
const STRONGEST: usize = 4;

impl Reader<'_, '_> {
    pub(super) fn accounts(&mut self) -> Accounts {
        let raw: raw::Accounts = self.document.section("accounts").unwrap_or_default();
        let public_url = self.text(raw.public_url.as_ref(), "http://127.0.0.1:8080");
        let public_url = public_url.trim_end_matches('/').to_owned();
        if let Some(given) = raw.public_url.as_ref().filter(|_| !is_plain_url(&public_url)) {
            self.document.note(given.span(), "write where people reach the platform, such as \"https://example.com\"");
        }
        let product = self.name(raw.product.as_ref(), "Portcullis");
        let registration = match raw.registration {
            None | Some(raw::Registration::Immediate) => Registration::Immediate,
            Some(raw::Registration::Verified) => Registration::Verified,
        };
        let settings = AccountSettings {
            registration,
            unverified_role: raw.unverified_role.map(|role| self.of_newcomers(role)),
            unverified_may_log_in: raw.unverified_may_log_in.unwrap_or(true),
            verification_ttl: self.duration(raw.verification_ttl.as_ref(), 86_400),
            reset_ttl: self.duration(raw.reset_ttl.as_ref(), 30 * 60),
            magic_link_ttl: self.duration(raw.magic_link_ttl.as_ref(), 10 * 60),
            invitation_ttl: self.duration(raw.invitation_ttl.as_ref(), 7 * 86_400),
        };
        if let Some(given) = raw.magic_link_ttl.as_ref().filter(|_| settings.magic_link_ttl > LONGEST_LINK) {
            self.document.note(given.span(), "a link that logs in lives ten minutes at most (OWASP ASVS 6.5.5)");
        }
        Accounts { public_url, product, settings }
    }

    /// A name that people read, as it is kept.
    fn name(&mut self, given: Option<&Placed<Value<String>>>, default: &str) -> String {
        let text = self.text(given, default);
        let fault = match readable_name(&text) {
            Ok(name) => return name.to_owned(),
            Err(fault) => fault,
        };
        if let Some(given) = given {
            self.document.note(given.span(), format!("a name {fault}"));
        }
        text
    }

    pub(super) fn mfa(&mut self, product: &str) -> Mfa {
        let raw: raw::Mfa = self.document.section("mfa").unwrap_or_default();
        let totp_skew = u8::try_from(self.count(raw.totp_skew.as_ref(), 1, 0)).unwrap_or(u8::MAX);
        if let Some(given) = raw.totp_skew.as_ref().filter(|_| totp_skew > MOST_SKEW) {
            self.document.note(
                given.span(),
                "a code serves for one half minute before and after its own at most (RFC 6238 §5.2)",
            );
        }
        let roles = raw.required_roles.iter().map(|role| role.as_str().into()).collect();
        let guarded = if raw.required.unwrap_or(false) { Guarded::Every } else { Guarded::These(roles) };
        self.named.roles.extend(raw.required_roles);
        let issuer = self.name(raw.issuer.as_ref(), product);
        // Authenticators show what is before the first colon.
        if let Some(given) = raw.issuer.as_ref().filter(|_| issuer.contains(':')) {
            self.document.note(given.span(), "a name that authenticators show is one line of text without a colon");
        }
        Mfa { issuer, totp_skew, guarded }
    }

    pub(super) fn passwords(&mut self) -> Passwords {
        let raw: raw::Passwords = self.document.section("passwords").unwrap_or_default();
        let mut small =
            |given: Given<u64>, default| u32::try_from(self.count(given.as_ref(), default, 1)).unwrap_or(u32::MAX);
        let argon2 = Argon2Params {
            memory_kib: small(raw.argon2_memory_kib.clone(), 19_456),
            iterations: small(raw.argon2_iterations, 2),
            parallelism: small(raw.argon2_parallelism, 1),
        };
        if let Err(error) =
            Hasher::new(Argon2Params { memory_kib: argon2.memory_kib.min(64), ..argon2 }).and(check_memory(argon2))
        {
            self.document.note(raw.argon2_memory_kib.as_ref().map_or(0..0, Placed::span), error.to_string());
        }
        let min_strength = self.count(raw.min_strength.as_ref(), 0, 0);
        if let Some(given) = raw.min_strength.as_ref().filter(|_| min_strength > STRONGEST) {
            self.document.note(given.span(), "a strength is 0, 1, 2, 3 or 4");
        }
        let words: Vec<String> = raw.words.iter().map(|word| word.to_lowercase()).collect();
        let rules = PasswordRules {
            min_chars: self.count(raw.min_chars.as_ref(), 8, 1),
            classes: raw.classes.unwrap_or(false),
            min_strength: u8::try_from(min_strength.min(STRONGEST)).unwrap_or_default(),
            context: raw.context.unwrap_or(false).then(|| Arc::from(words)),
            blocklist: Arc::new(self.lines(raw.blocklist.as_ref()).map(|line| line.to_lowercase()).collect()),
        };
        let breached = raw.breached.and_then(|path| self.breached(&path));
        Passwords { rules, breached, argon2, concurrency: self.few(raw.concurrency.as_ref(), 0, 0) }
    }

    fn breached(&mut self, given: &Placed<String>) -> Option<Breached> {
        let folder = self.folder.path().unwrap_or(Path::new(""));
        let opened = Breached::open(&folder.join(given.as_str()));
        opened.map_err(|error| self.document.note(given.span(), format!("the file cannot be used: {error}"))).ok()
    }

    pub(super) fn lockout(&mut self) -> Lockout {
        let raw: raw::Lockout = self.document.section("lockout").unwrap_or_default();
        let minutes = self.count(raw.minutes.as_ref(), 30, 1) as u64;
        let duration = Duration::from_secs(minutes.saturating_mul(60));
        let longest = self.duration(raw.longest.as_ref(), 86_400);
        // Not what an old system's variable says: it was never told how long the longest is.
        if let Some(given) =
            raw.longest.as_ref().filter(|_| longest < duration && !self.is_of_variable(raw.minutes.as_ref()))
        {
            self.document.note(given.span(), "must not be shorter than the first lock (`minutes`)");
        }
        let longest = longest.max(duration);
        let mut rules = |given: Given<u64>, default| LockRules {
            attempts: u32::try_from(self.count(given.as_ref(), default, 0)).unwrap_or(u32::MAX),
            duration,
            longest,
            forget_after: FORGET_AFTER,
        };
        Lockout { account: rules(raw.attempts, 5), network: rules(raw.attempts_per_address, 50) }
    }

    pub(super) fn mail(&mut self) -> Mail {
        let raw: raw::Mail = self.document.section("mail").unwrap_or_default();
        let from = self.text(raw.from.as_ref(), "Portcullis <no-reply@localhost>");
        if let Some(given) = raw.from.as_ref().filter(|_| !admin_api::is_sender(&from)) {
            self.document.note(given.span(), "write who sends, such as \"Example <no-reply@example.com>\"");
        }
        let give_up_after = self.duration(raw.give_up_after.as_ref(), 3 * 86_400);
        let templates = self.templates(raw.templates.as_ref());
        let transport = match raw.transport.as_deref() {
            None | Some(raw::MailTransport::File) => {
                MailTransport::File(PathBuf::from(raw.folder.as_deref().unwrap_or("outbox")))
            }
            Some(raw::MailTransport::Smtp) => MailTransport::Smtp(self.smtp(&raw)),
        };
        Mail { from, transport, templates, give_up_after }
    }

    fn smtp(&mut self, raw: &raw::Mail) -> SmtpSettings {
        let given = raw.server.as_ref().map(|given| self.document.resolve(given, self.folder));
        // If it is not to be had, that has been noted.
        let is_noted = matches!(given, Some(None));
        let server = given.flatten().unwrap_or_default();
        let split = server.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)));
        let (host, port) = split.filter(|(host, port)| !host.is_empty() && *port > 0).unwrap_or_else(|| {
            let span = raw.server.as_ref().map(Placed::span).or(raw.transport.as_ref().map(Placed::span));
            let span = span.unwrap_or(0..0);
            if !is_noted {
                self.document.note(span, "mail with transport = \"smtp\" needs server = \"host:port\"");
            }
            (String::new(), 0)
        });
        let security = match raw.security {
            None | Some(raw::MailSecurity::StartTls) => Security::StartTls,
            Some(raw::MailSecurity::Tls) => Security::Tls,
            Some(raw::MailSecurity::None) => Security::Plain,
        };
        let username = raw.username.as_ref().map(|given| self.text(Some(given), ""));
        let password = raw.password.as_ref().and_then(|given| self.document.resolve_secret(given, self.folder));
        if raw.username.is_some() != raw.password.is_some() {
            let span = raw.username.as_ref().map(Placed::span).or(raw.password.as_ref().map(Placed::span));
            self.document.note(span.unwrap_or(0..0), "`username` and `password` go together");
        }
        if let Some(given) = raw.password.as_ref().filter(|_| security == Security::Plain) {
            self.document.note(given.span(), "without TLS the password could be read by whoever carries it");
        }
        let authorities = raw.ca.as_ref().and_then(|given| {
            let read = self.folder.file(given);
            read.map_err(|error| self.document.note(given.span(), format!("the file cannot be read: {error}"))).ok()
        });
        SmtpSettings {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            security,
            credentials: username.zip(password),
            authorities,
            timeout: self.duration(raw.timeout.as_ref(), 30),
        }
    }

    fn templates(&mut self, given: Option<&Placed<String>>) -> Templates {
        let Some(given) = given else { return Templates::built_in() };
        let folder = match self.folder {
            ConfigFolder::Embedded => PathBuf::from(given.as_str()),
            ConfigFolder::Path(folder) => folder.join(given.as_str()),
        };
        Templates::load(&folder).unwrap_or_else(|faults| {
            for fault in faults {
                self.document.note(given.span(), fault.to_string());
            }
            Templates::built_in()
        })
    }

    /// The lines of a file, but for empty ones and those that begin with `#`.
    fn lines(&mut self, given: Option<&Placed<String>>) -> impl Iterator<Item = String> {
        let text = given.and_then(|given| {
            let read = self.folder.file(given);
            read.map_err(|error| self.document.note(given.span(), format!("the file cannot be read: {error}"))).ok()
        });
        let lines: Vec<String> = text.unwrap_or_default().lines().map(str::to_owned).collect();
        lines.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#'))
    }
}

/// A scheme, a host and perhaps a path: nothing that what is appended could become part of.
fn is_plain_url(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && !text.contains(['?', '#', '@', ' '])
    })
}
