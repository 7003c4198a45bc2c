//! Lines that are no accounts: what each may hold. Of what was used and billed that is in `history`.

mod history;

use chrono::{DateTime, Utc};
use identity::{ExternalId, IntegrationId, SecretText, TenantId, TenantRole, foreign_name, is_service, readable_name};
use policies::Policy;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use store::{
    Audience, ImportedAgent, ImportedInstance, ImportedIntegration, ImportedThing, NewDomain, NewTeam, Thing,
    imported_id,
};
use uuid::Uuid;

use super::{lines::parsed, old_keys::OldKeys, when::When};

const LONGEST_ID: usize = 255;
/// As admin-api has it.
const MAX_WORD: usize = 64;
const MAX_DESCRIPTION: usize = 2000;
const MAX_CONFIG: usize = 16 * 1024;

const TENANTS: &str = "tenants";
const TEAMS: &str = "teams";
const DOMAINS: &str = "domains";
const AGENTS: &str = "agents";

/// An id of the older system.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Text(String),
    Number(u64),
}

/// What the lines of a file are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tenants,
    /// Lines of accounts, read for the tenants that they name.
    Users,
    Members,
    Teams,
    TeamMembers,
    Domains,
    DomainMembers,
    Agents,
    Instances,
    Integrations,
    Usage,
    Statements,
    Keys,
}

/// What lines are read by.
pub(super) struct Reader<'a> {
    pub(super) system: &'a str,
    pub(super) policy: &'a Policy,
    /// Are there tenants, or is all of it one?
    pub(super) has_tenants: bool,
    /// What opens integrations.
    pub(super) old_keys: Option<OldKeys>,
    pub(super) now: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantLine {
    id: Id,
    name: String,
    tier: Option<String>,
    is_active: Option<bool>,
    created_at: Option<When>,
}

/// The rest was read with the account.
#[derive(Deserialize)]
struct UserLine {
    id: Option<Id>,
    tenant_id: Option<Id>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberLine {
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    tenant_id: Option<Id>,
    user_id: Id,
    role: Option<String>,
    created_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamLine {
    id: Id,
    tenant_id: Option<Id>,
    name: String,
    external_ref: Option<String>,
    is_active: Option<bool>,
    created_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamMemberLine {
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    tenant_id: Option<Id>,
    team_id: Id,
    user_id: Id,
    role: Option<String>,
    created_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainLine {
    id: Id,
    tenant_id: Option<Id>,
    key: String,
    name: Option<String>,
    parent_domain_id: Option<Id>,
    is_active: Option<bool>,
    created_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DomainMemberLine {
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    tenant_id: Option<Id>,
    domain_id: Id,
    user_id: Id,
    created_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentLine {
    id: Id,
    tenant_id: Option<Id>,
    developer_id: Option<Id>,
    name: String,
    description: Option<String>,
    is_published: Option<bool>,
    audience: Option<String>,
    created_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstanceLine {
    id: Id,
    tenant_id: Option<Id>,
    agent_id: Id,
    user_id: Id,
    name: String,
    config: Option<Box<RawValue>>,
    created_at: Option<When>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IntegrationLine {
    id: Id,
    user_id: Id,
    #[serde(alias = "service")]
    service_name: String,
    name: Option<String>,
    api_key_encrypted: String,
    status: Option<String>,
    created_at: Option<When>,
}

/// What a line holds, and when it was made there.
type Read = (Thing, Option<When>);

// === impl Id ===

impl Id {
    pub(super) fn text(self) -> Result<String, String> {
        let id = match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        };
        if id.is_empty() || id.len() > LONGEST_ID {
            return Err(format!("an `id` has 1 to {LONGEST_ID} bytes"));
        }
        Ok(id)
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// The tenant to which all belongs that names none.
    pub(super) fn only_tenant(&self) -> ImportedThing {
        // No id there is empty.
        let id = TenantId::new(imported_id(self.system, TENANTS, ""));
        let thing = Thing::Tenant { id, name: self.system.to_owned(), tier: None, is_active: true };
        ImportedThing { thing, created_at: self.now }
    }

    /// The thing that a line is; `None`: it says nothing of any.
    pub(super) fn read(&self, kind: Kind, text: &[u8]) -> Result<Option<ImportedThing>, String> {
        let read = match kind {
            Kind::Tenants => self.tenant(parsed(text)?),
            Kind::Users => return self.user(parsed(text)?),
            Kind::Members => self.member(parsed(text)?),
            Kind::Teams => self.team(parsed(text)?),
            Kind::TeamMembers => self.team_member(parsed(text)?),
            Kind::Domains => self.domain(parsed(text)?),
            Kind::DomainMembers => self.domain_member(parsed(text)?),
            Kind::Agents => self.agent(parsed(text)?),
            Kind::Instances => self.instance(parsed(text)?),
            Kind::Integrations => self.integration(parsed(text)?),
            Kind::Usage => self.usage(parsed(text)?),
            Kind::Statements => self.statement(parsed(text)?),
            Kind::Keys => return Err(history::NO_KEYS.to_owned()),
        };
        let (thing, created_at) = read?;
        Ok(Some(ImportedThing { thing, created_at: created_at.map_or(self.now, |when| when.0.min(self.now)) }))
    }

    fn id(&self, kind: &str, id: Id) -> Result<Uuid, String> {
        Ok(imported_id(self.system, kind, &id.text()?))
    }

    fn who(&self, id: Id) -> Result<ExternalId, String> {
        Ok(ExternalId::of(self.system, &id.text()?))
    }

    fn owner(&self, id: Option<Id>) -> Result<TenantId, String> {
        match id {
            Some(id) => self.id(TENANTS, id).map(TenantId::new),
            None if self.has_tenants => Err("a `tenant_id` is needed, as there is a tenants.jsonl".to_owned()),
            None => Ok(TenantId::new(imported_id(self.system, TENANTS, ""))),
        }
    }

    fn tenant(&self, line: TenantLine) -> Result<Read, String> {
        let tier = line.tier.map(|tier| in_our_letters(tier, |tier| self.policy.tiers.contains(tier)));
        if tier.as_deref().is_some_and(|tier| !self.policy.tiers.contains(tier)) {
            return Err("`tier` is none of tiers.toml".to_owned());
        }
        let id = TenantId::new(self.id(TENANTS, line.id)?);
        let (name, is_active) = (name(&line.name)?, line.is_active.unwrap_or(true));
        Ok((Thing::Tenant { id, name, tier, is_active }, line.created_at))
    }

    fn user(&self, line: UserLine) -> Result<Option<ImportedThing>, String> {
        let Some(id) = line.id else { return Ok(None) };
        if line.tenant_id.is_none() && self.has_tenants {
            return Ok(None);
        }
        let (tenant, user) = (self.owner(line.tenant_id)?, self.who(id)?);
        let thing = Thing::Member { tenant, user, role: TenantRole::Member };
        Ok(Some(ImportedThing { thing, created_at: self.now }))
    }

    fn member(&self, line: MemberLine) -> Result<Read, String> {
        let role = line.role.map(|role| role.to_lowercase());
        let role = role.as_deref().map_or(Some(TenantRole::Member), TenantRole::read);
        let role = role.ok_or("`role` is `owner`, `admin` or `member`")?;
        let (tenant, user) = (self.owner(line.tenant_id)?, self.who(line.user_id)?);
        Ok((Thing::Member { tenant, user, role }, line.created_at))
    }

    fn team(&self, line: TeamLine) -> Result<Read, String> {
        let (tenant, id) = (self.owner(line.tenant_id)?, self.id(TEAMS, line.id)?);
        let external_ref = line.external_ref.filter(|text| !text.is_empty());
        if let Some(text) = &external_ref {
            foreign_name(text).map_err(|fault| format!("an `external_ref` {fault}"))?;
        }
        let team = NewTeam { name: name(&line.name)?, external_ref, is_active: line.is_active.unwrap_or(true) };
        Ok((Thing::Team { tenant, id, team }, line.created_at))
    }

    fn team_member(&self, line: TeamMemberLine) -> Result<Read, String> {
        let (tenant, user) = (self.owner(line.tenant_id)?, self.who(line.user_id)?);
        let role = line.role.unwrap_or_else(|| "member".to_owned()).to_lowercase();
        let is_word = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"_-".contains(&letter);
        if !(1..=MAX_WORD).contains(&role.len()) || !role.bytes().all(is_word) {
            return Err(format!("a `role` in a team is 1 to {MAX_WORD} of a-z, 0-9, _ and -"));
        }
        Ok((Thing::TeamMember { tenant, team: self.id(TEAMS, line.team_id)?, user, role }, line.created_at))
    }

    fn domain(&self, line: DomainLine) -> Result<Read, String> {
        let (tenant, id) = (self.owner(line.tenant_id)?, self.id(DOMAINS, line.id)?);
        let is_word = |letter: u8| letter.is_ascii_alphanumeric() || b"_-.".contains(&letter);
        if !(1..=MAX_WORD).contains(&line.key.len()) || !line.key.bytes().all(is_word) {
            return Err(format!("a `key` is 1 to {MAX_WORD} letters of ASCII, digits, _, - and ."));
        }
        let parent = line.parent_domain_id.map(|id| self.id(DOMAINS, id)).transpose()?;
        let name = name(line.name.as_deref().unwrap_or(&line.key))?;
        let domain = NewDomain { key: line.key, name, parent, is_active: line.is_active.unwrap_or(true) };
        Ok((Thing::Domain { tenant, id, domain }, line.created_at))
    }

    fn domain_member(&self, line: DomainMemberLine) -> Result<Read, String> {
        let (tenant, user) = (self.owner(line.tenant_id)?, self.who(line.user_id)?);
        Ok((Thing::DomainMember { tenant, domain: self.id(DOMAINS, line.domain_id)?, user }, line.created_at))
    }

    fn agent(&self, line: AgentLine) -> Result<Read, String> {
        let description = line.description.unwrap_or_default();
        let is_text = |letter: char| !letter.is_control() || letter == '\n' || letter == '\t';
        if description.chars().count() > MAX_DESCRIPTION || !description.chars().all(is_text) {
            return Err(format!("a `description` is text of {MAX_DESCRIPTION} characters at most"));
        }
        let to = match line.audience.as_deref() {
            None | Some("tenant") => Audience::Tenant,
            Some("platform") => Audience::Platform,
            Some(_) => return Err("an `audience` is `tenant` or `platform`".to_owned()),
        };
        let agent = ImportedAgent {
            tenant: self.owner(line.tenant_id)?,
            id: self.id(AGENTS, line.id)?,
            developer: line.developer_id.map(|id| self.who(id)).transpose()?,
            name: name(&line.name)?,
            description,
            audience: if line.is_published.unwrap_or(false) { to } else { Audience::Nobody },
        };
        Ok((Thing::Agent(agent), line.created_at))
    }

    fn instance(&self, line: InstanceLine) -> Result<Read, String> {
        // To the letter: numbers of twenty digits stay what they are.
        let config = line.config.map_or_else(|| "{}".to_owned(), |config| String::from(Box::<str>::from(config)));
        if !config.starts_with('{') {
            return Err("a `config` is an object".to_owned());
        }
        let config = SecretText::from(config);
        if config.expose().len() > MAX_CONFIG {
            return Err(format!("a `config` has {MAX_CONFIG} bytes at most"));
        }
        let instance = ImportedInstance {
            tenant: self.owner(line.tenant_id)?,
            id: self.id("agent_instances", line.id)?,
            agent: self.id(AGENTS, line.agent_id)?,
            user: self.who(line.user_id)?,
            name: name(&line.name)?,
            config,
        };
        Ok((Thing::Instance(instance), line.created_at))
    }

    fn integration(&self, line: IntegrationLine) -> Result<Read, String> {
        let service = line.service_name.to_ascii_lowercase();
        if !is_service(&service) {
            return Err("a `service_name` is 1 to 64 of a-z, 0-9, _ and -".to_owned());
        }
        let is_active = match line.status.as_deref() {
            None | Some("active") => true,
            Some("disabled" | "inactive") => false,
            Some(_) => return Err("a `status` is `active`, `inactive` or `disabled`".to_owned()),
        };
        let keys = self.old_keys.as_ref().ok_or("there is no key of the older system")?;
        let integration = ImportedIntegration {
            id: IntegrationId::new(self.id("integrations", line.id)?),
            user: self.who(line.user_id)?,
            service,
            name: line.name.as_deref().map(name).transpose()?,
            key: keys.open(&line.api_key_encrypted)?,
            is_active,
        };
        Ok((Thing::Integration(integration), line.created_at))
    }
}

/// A word of a configuration as that writes it: enumerations of older systems are written in capitals.
pub(super) fn in_our_letters(word: String, is_known: impl Fn(&str) -> bool) -> String {
    if is_known(&word) { word } else { word.to_lowercase() }
}

/// As people read it.
fn name(text: &str) -> Result<String, String> {
    readable_name(text).map(str::to_owned).map_err(|fault| format!("a `name` {fault}"))
}
