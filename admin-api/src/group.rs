//! Teams and domains as answers show them, and what those who manage them say.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use identity::{AccountId, foreign_name};
use serde::Serialize;
use store::StoreError;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use crate::{caller::Need, error::ApiError, form::Form, office::Office, routes};

/// Characters of a domain's key, and of what somebody is in a team.
const MAX_WORD: usize = 64;

/// To change teams and domains of the tenant in which the caller acts; only its administrators do.
pub(crate) enum ManageTeams {}

impl Need for ManageTeams {
    const PERMISSION: &'static str = "teams:manage";
    // What a tenant's administrator may, no role of the platform says; a key with scopes has to name it.
    const OF_EVERYBODY: bool = true;
}

/// To read the teams and domains of the tenant in which the caller acts.
pub(crate) enum ReadTeams {}

impl Need for ReadTeams {
    const PERMISSION: &'static str = "teams:read";
    // Whoever belongs to a tenant may; a key with scopes has to name it.
    const OF_EVERYBODY: bool = true;
}

/// A team.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Team {
    id: Uuid,
    name: String,
    /// What another system calls it.
    external_ref: Option<String>,
    /// As what the caller belongs to it; `null`: the caller does not.
    role: Option<String>,
    /// Is it in use?
    is_active: bool,
}

/// A domain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Domain {
    id: Uuid,
    /// What programs call it.
    key: String,
    name: String,
    /// The domain in which it lies.
    parent_domain_id: Option<Uuid>,
    /// Is it in use?
    is_active: bool,
}

/// Somebody who belongs to a team.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TeamMember {
    account_id: Uuid,
    email: String,
    name: Option<String>,
    role: String,
    since: DateTime<Utc>,
}

/// Somebody who is assigned to a domain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainMember {
    account_id: Uuid,
    email: String,
    name: Option<String>,
    since: DateTime<Utc>,
}

impl From<store::Team> for Team {
    fn from(team: store::Team) -> Self {
        let store::Team { id, name, external_ref, is_active, role } = team;
        Self { id, name, external_ref, role, is_active }
    }
}

impl From<store::Domain> for Domain {
    fn from(domain: store::Domain) -> Self {
        let store::Domain { id, key, name, parent_domain_id, is_active } = domain;
        Self { id, key, name, parent_domain_id, is_active }
    }
}

impl From<store::TeamMember> for TeamMember {
    fn from(member: store::TeamMember) -> Self {
        let store::TeamMember { account_id, email, name, role, created_at } = member;
        Self { account_id, email, name, role, since: created_at }
    }
}

impl From<store::DomainMember> for DomainMember {
    fn from(member: store::DomainMember) -> Self {
        let store::DomainMember { account_id, email, name, created_at } = member;
        Self { account_id, email, name, since: created_at }
    }
}

/// Every endpoint about teams and domains.
pub(crate) fn endpoints() -> OpenApiRouter<Arc<Office>> {
    OpenApiRouter::new()
        .routes(routes!(routes::list_own_teams::list_own_teams))
        .routes(routes!(routes::list_teams::list_teams))
        .routes(routes!(routes::create_team::create_team))
        .routes(routes!(routes::read_team::read_team))
        .routes(routes!(routes::change_team::change_team))
        .routes(routes!(routes::delete_team::delete_team))
        .routes(routes!(routes::list_team_members::list_team_members))
        .routes(routes!(routes::add_team_member::add_team_member))
        .routes(routes!(routes::change_team_member::change_team_member))
        .routes(routes!(routes::remove_team_member::remove_team_member))
        .routes(routes!(routes::list_own_domains::list_own_domains))
        .routes(routes!(routes::list_domains::list_domains))
        .routes(routes!(routes::create_domain::create_domain))
        .routes(routes!(routes::read_domain::read_domain))
        .routes(routes!(routes::change_domain::change_domain))
        .routes(routes!(routes::delete_domain::delete_domain))
        .routes(routes!(routes::list_domain_members::list_domain_members))
        .routes(routes!(routes::add_domain_member::add_domain_member))
        .routes(routes!(routes::remove_domain_member::remove_domain_member))
}

/// The id that a path names; what is none names nothing.
pub(crate) fn id_in_path(what: &'static str, id: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(id).map_err(|_| ApiError::NotFound(what))
}

/// The account that a path names.
pub(crate) fn account_in_path(id: &str) -> Result<AccountId, ApiError> {
    id_in_path("member", id).map(AccountId::new)
}

/// What is not the tenant's is not there.
pub(crate) fn missing(what: &'static str) -> impl Fn(StoreError) -> ApiError {
    move |error| match error {
        StoreError::NotFound => ApiError::NotFound(what),
        error => error.into(),
    }
}

// === impl Form ===

impl Form {
    /// An id of a record of ours.
    pub(crate) fn id(&mut self, field: &str, text: &str) -> Option<Uuid> {
        let id = Uuid::try_parse(text).ok();
        if id.is_none() {
            self.fault(field, "must be an id");
        }
        id
    }

    /// What somebody is in a team: a word of the platform's own.
    pub(crate) fn team_role(&mut self, text: &str) -> Option<String> {
        let fits = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"_-".contains(&letter);
        if (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(fits) {
            return Some(text.to_owned());
        }
        self.fault("role", format!("must be 1 to {MAX_WORD} of a-z, 0-9, _ and -"));
        None
    }

    /// What programs call a domain.
    pub(crate) fn domain_key(&mut self, text: &str) -> Option<String> {
        let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"_-.".contains(&letter);
        if (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(fits) {
            return Some(text.to_owned());
        }
        self.fault("key", format!("must be 1 to {MAX_WORD} letters of ASCII, digits, _, - and ."));
        None
    }

    /// What another system calls something.
    pub(crate) fn external_ref(&mut self, text: &str) -> Option<String> {
        self.parsed("external_ref", foreign_name(text)).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use identity::MAX_NAME;

    use super::*;

    #[test]
    fn what_another_system_calls_something_stays_as_it_is_and_is_read_as_it_is_written() {
        let mut form = Form::default();
        assert_eq!(form.external_ref(" grp-1 ").as_deref(), Some(" grp-1 "));
        assert!(form.finish(Some(())).is_ok());
        for bad in ["", "\u{200b}", "a\n", "a\u{2028}b", "\u{202e}1-prg", &"x".repeat(MAX_NAME + 1)] {
            let mut form = Form::default();
            assert_eq!(form.external_ref(bad), None, "{bad:?}");
            assert!(form.finish(Some(())).is_err(), "{bad:?}");
        }
    }
}
