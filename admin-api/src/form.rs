//! What fields must be beyond their JSON type. A [`Form`] gathers every fault, so that the caller learns all at once.

use std::fmt::Display;

use axum::http::Uri;
use identity::{Email, Password, PasswordRules, SecretText, TenantRole, readable_name};
use policies::{Policy, problem::FieldError, roles::Permissions};
use store::AccountKind;

use crate::{
    error::ApiError,
    key::{MAX_SCOPES, MAX_SCOPES_BYTES},
};

/// Bytes of the address of a picture.
const MAX_URL: usize = 2048;

/// Why no person has a role that names what services alone may.
const FOR_SERVICES: &str = "is a role of service accounts, and this is a person's";

/// May this be the address of a picture, for browsers to load? Says what it must be.
pub fn check_picture(text: &str) -> Result<(), String> {
    let is_web = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    };
    let is_picture = text.len() <= MAX_URL && text.parse::<Uri>().is_ok_and(|uri| is_web(&uri));
    if is_picture { Ok(()) } else { Err(format!("must be an http or https address of {MAX_URL} bytes at most")) }
}

/// The faults found so far.
#[derive(Default)]
pub(crate) struct Form(Vec<FieldError>);

// === impl Form ===

impl Form {
    /// Notes a fault of `field`. The message completes a sentence that begins with the field's name.
    pub(crate) fn fault(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.to_owned(), message: message.into() });
    }

    /// What was parsed, or nothing and a fault.
    pub(crate) fn parsed<T, E: Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.fault(field, error.to_string())).ok()
    }

    /// An e-mail address.
    pub(crate) fn email(&mut self, text: &str) -> Option<Email> {
        self.parsed("email", Email::parse(text))
    }

    /// A password that somebody claims to have; it obeys the rules of the day it was chosen.
    pub(crate) fn password(&mut self, field: &str, text: &SecretText) -> Option<Password> {
        self.parsed(field, Password::new(text.expose().to_owned()))
    }

    /// A password that somebody chooses.
    /// How strong it is, which takes longer to find out, is found out beside its hash.
    pub(crate) fn new_password(
        &mut self,
        field: &str,
        text: &SecretText,
        rules: &PasswordRules,
        about: &[&str],
    ) -> Option<Password> {
        let password = self.password(field, text)?;
        self.parsed(field, rules.check(&password, about)).map(|()| password)
    }

    /// A name that a person reads, as it is kept.
    pub(crate) fn name(&mut self, field: &str, text: &str) -> Option<String> {
        self.parsed(field, readable_name(text)).map(str::to_owned)
    }

    /// The role that an account is to have.
    pub(crate) fn role(&mut self, role: &str, policy: &Policy, kind: AccountKind) {
        if !policy.roles.contains(role) {
            self.fault("role", format!("there is no role `{role}`"));
        } else if kind == AccountKind::Person && policy.roles.is_of_services(role) {
            self.fault("role", FOR_SERVICES);
        }
    }

    /// What somebody is to be in a tenant.
    pub(crate) fn tenant_role(&mut self, word: &str) -> Option<TenantRole> {
        let role = TenantRole::read(word);
        if role.is_none() {
            self.fault("role", "must be `owner`, `admin` or `member`");
        }
        role
    }

    /// The one name that was given, under either of its two names.
    pub(crate) fn either_name<T: PartialEq>(&mut self, name: Option<T>, full_name: Option<T>) -> Option<T> {
        match (name, full_name) {
            (Some(name), Some(full_name)) if name != full_name => {
                self.fault("full_name", "is another word for `name`; give one of them");
                None
            }
            (name, full_name) => name.or(full_name),
        }
    }

    /// The address of a picture, for browsers to load.
    pub(crate) fn picture(&mut self, field: &str, text: &str) -> Option<String> {
        self.parsed(field, check_picture(text)).map(|()| text.to_owned())
    }

    /// What a key is limited to: permissions or patterns of them, as in `roles.toml`. Sorted, none twice.
    pub(crate) fn scopes(&mut self, field: &str, scopes: &[String]) -> Option<Vec<String>> {
        if !(1..=MAX_SCOPES).contains(&scopes.len()) {
            self.fault(
                field,
                format!("must hold 1 to {MAX_SCOPES} scopes; leave it out for a key without limits of its own"),
            );
            return None;
        }
        if scopes.iter().map(String::len).sum::<usize>() > MAX_SCOPES_BYTES {
            self.fault(field, format!("must hold at most {MAX_SCOPES_BYTES} characters in all"));
            return None;
        }
        let read = Permissions::parse(scopes.iter().map(String::as_str));
        self.parsed(field, read).map(|scopes| scopes.iter().map(str::to_owned).collect())
    }

    /// The whole of what was read, or everything that is wrong with it.
    pub(crate) fn finish<T>(self, whole: Option<T>) -> Result<T, ApiError> {
        match whole {
            Some(whole) if self.0.is_empty() => Ok(whole),
            _ => Err(ApiError::Fields(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use identity::MAX_NAME;

    use super::*;

    fn faults(check: impl FnOnce(&mut Form)) -> Vec<String> {
        let mut form = Form::default();
        check(&mut form);
        form.0.into_iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect()
    }

    #[test]
    fn a_name_is_one_that_people_can_read() {
        let mut form = Form::default();
        assert_eq!(form.name("name", "  Änne Ö'Neil 李 \t").as_deref(), Some("Änne Ö'Neil 李"));
        assert!(form.finish(Some(())).is_ok());
        for (bad, message) in [
            ("   ", "must not be empty"),
            ("a\u{85}b", "must not contain control characters"),
            ("a\u{2028}b", "must not contain control characters"),
            ("\u{202e}evil", "must not contain characters that turn the direction of writing"),
            ("\u{200b}", "must have a character that can be seen"),
            (&"x".repeat(MAX_NAME + 1), "must have 100 characters at most"),
        ] {
            assert_eq!(faults(|form| assert_eq!(form.name("name", bad), None)), [format!("name {message}")], "{bad:?}");
        }
    }

    #[test]
    fn pictures_are_on_the_web() {
        let mut form = Form::default();
        assert!(form.picture("avatar_url", "https://example.com/a.png?b=c").is_some());
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL));
        for bad in [
            "",
            "/a.png",
            "example.com/a.png",
            "javascript:alert(1)",
            "data:image/png;base64,AAAA",
            "ftp://example.com/a",
            "https://",
            "https://e x",
            &long,
        ] {
            assert_eq!(faults(|form| assert_eq!(form.picture("avatar_url", bad), None)).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn two_words_for_one_thing_must_not_differ() {
        let mut form = Form::default();
        let (a, b) = (|| Some("A".to_owned()), || Some("B".to_owned()));
        assert_eq!(form.either_name(a(), None), a());
        assert_eq!(form.either_name(None, b()), b());
        assert_eq!(form.either_name(a(), a()), a());
        assert!(form.finish(Some(())).is_ok());
        assert_eq!(faults(|form| assert_eq!(form.either_name(a(), b()), None)).len(), 1);
    }

    #[test]
    fn scopes_are_permissions_or_patterns_of_them() {
        let scopes = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut form = Form::default();
        let read = form.scopes("scopes", &scopes(&["b:read", "agents:*", "*", "b:read"]));
        assert_eq!(read, Some(scopes(&["*", "agents:*", "b:read"])));
        for bad in [
            &[][..],
            &[""],
            &["Agents:read"],
            &["agents:*:read"],
            &["agents:re*"],
            &["a b"],
            &["a\n"],
            &["a"; MAX_SCOPES + 1],
            &["agents:a-very-long-action-that-nobody-has-any-need-of-but-that-costs"; 20],
        ] {
            assert_eq!(faults(|form| assert_eq!(form.scopes("scopes", &scopes(bad)), None)).len(), 1, "{bad:?}");
        }
    }
}
