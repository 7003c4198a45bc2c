//! Everything, as it is sent: what is kept of somebody may be a great deal, and is read while the rest is on its way, some of it at a time.

use std::{collections::VecDeque, sync::Arc};

use futures_util::stream::{Stream, try_unfold};
use identity::{TenantId, TenantRole};
use serde::Serialize;
use store::{AgentsWanted, Cursor, Tenant, UsageAsked};

use crate::{
    agent::{Agent, Instance, ManageInstances},
    caller::{Caller, Need},
    error::ApiError,
    office::Office,
    routes::list_usage::{all_of, next_of},
};

/// Agents that are read at once.
const AGENTS: u32 = 200;
/// Instances that are read at once: each is configured with 16 KiB at most.
const INSTANCES: u32 = 50;

/// The organisations to which somebody belongs, and those in which something was used.
pub(crate) struct Belonging {
    pub(crate) tenants: Vec<(Tenant, TenantRole)>,
    pub(crate) used_in: Vec<Option<TenantId>>,
}

/// What is still to be written.
struct Writing {
    office: Arc<Office>,
    caller: Caller,
    parts: VecDeque<Part>,
    /// Does the list that was last begun hold something?
    has_items: bool,
}

/// Of what is to be written.
enum Part {
    Text(Vec<u8>),
    /// An organisation up to the agents in it, which follow.
    Organisation(Tenant, TenantRole),
    /// The caller's agents in an organisation, from here on.
    Agents(TenantId, Option<Cursor>),
    /// The caller's instances in an organisation, from here on.
    Instances(TenantId, Option<Cursor>),
    /// What the caller has used, from here on.
    Usage(UsageAsked),
}

/// The whole, whose last members are empty lists, `organisations` and `usage`, with all that belongs in these. Where that cannot be read any more the
/// answer breaks off, so that nobody takes it for the whole.
pub(crate) fn written<T: Serialize>(
    office: Arc<Office>,
    whole: &T,
    caller: Caller,
    belonging: Belonging,
) -> Result<impl Stream<Item = Result<Vec<u8>, ApiError>> + use<T>, ApiError> {
    let mut parts = VecDeque::from([Part::Text(begun(whole, r#""organisations":[],"usage":[]}"#)?)]);
    for (number, (tenant, role)) in belonging.tenants.into_iter().enumerate() {
        if number > 0 {
            parts.push_back(Part::text(","));
        }
        parts.push_back(Part::Organisation(tenant, role));
    }
    parts.push_back(Part::text(r#"],"usage":["#));
    let account = caller.0.account;
    parts.extend(belonging.used_in.into_iter().map(|tenant| Part::Usage(all_of(tenant, account))));
    parts.push_back(Part::text("]}"));
    let writing = Writing { office, caller, parts, has_items: false };
    Ok(try_unfold(writing, async |mut writing| {
        let piece = writing.next().await.inspect_err(|error| {
            tracing::warn!(%error, account = %writing.caller.0.account, "an export has broken off");
        });
        Ok(piece?.map(|piece| (piece, writing)))
    }))
}

/// What ends with these empty lists, up to where the first of them begins.
fn begun<T: Serialize>(whole: &T, lists: &str) -> Result<Vec<u8>, ApiError> {
    let mut text = serde_json::to_vec(whole).map_err(|error| ApiError::Internal(error.to_string()))?;
    let (Some(begins), true) = (lists.find('['), text.ends_with(lists.as_bytes())) else {
        return Err(ApiError::Internal(format!("a part of an export does not end with {lists}")));
    };
    text.truncate(text.len() - lists.len() + begins + 1);
    Ok(text)
}

// === impl Part ===

impl Part {
    fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

// === impl Writing ===

impl Writing {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        while let Some(part) = self.parts.pop_front() {
            let piece = self.piece(part).await?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// A part, or as much of it as is held at once: then what is left of it is the next one.
    async fn piece(&mut self, part: Part) -> Result<Vec<u8>, ApiError> {
        match part {
            Part::Text(text) => {
                self.has_items = false;
                Ok(text)
            }
            Part::Organisation(tenant, role) => {
                let id = tenant.id;
                let belongings = self.office.belongings(&self.caller, tenant, role).await?;
                let rest = [
                    Part::Text(begun(&belongings, r#""agents":[],"instances":[]}"#)?),
                    Part::Agents(id, None),
                    Part::text(r#"],"instances":["#),
                    Part::Instances(id, None),
                    Part::text("]}"),
                ];
                self.parts = rest.into_iter().chain(std::mem::take(&mut self.parts)).collect();
                Ok(Vec::new())
            }
            Part::Agents(tenant, after) => {
                let wanted = AgentsWanted::Of(self.caller.0.account);
                let page = self.office.store.list_agents(tenant, wanted, false, after, AGENTS).await?;
                self.go_on(page.next.map(|next| Part::Agents(tenant, Some(next))));
                self.items(page.items.into_iter().map(Agent::from))
            }
            Part::Instances(tenant, after) => {
                let account = Some(self.caller.0.account);
                let page = self.office.store.list_instances(tenant, account, after, INSTANCES).await?;
                self.go_on(page.next.map(|next| Part::Instances(tenant, Some(next))));
                let (office, may_open) = (Arc::clone(&self.office), self.may_open());
                self.items(page.items.into_iter().map(|instance| office.shown(tenant, instance, may_open)))
            }
            Part::Usage(asked) => {
                let (lines, more) = next_of(&self.office, asked).await?;
                self.go_on(more.map(Part::Usage));
                self.items(lines)
            }
        }
    }

    fn go_on(&mut self, rest: Option<Part>) {
        if let Some(rest) = rest {
            self.parts.push_front(rest);
        }
    }

    fn items<T: Serialize>(&mut self, items: impl IntoIterator<Item = T>) -> Result<Vec<u8>, ApiError> {
        let mut piece = Vec::new();
        for item in items {
            if std::mem::replace(&mut self.has_items, true) {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &item).map_err(|error| ApiError::Internal(error.to_string()))?;
        }
        Ok(piece)
    }

    /// Neither a key that may not have instances nor whoever acts as their owner is told what they are configured with.
    fn may_open(&self) -> bool {
        let reaches = self.caller.demand_scopes(Some(&[ManageInstances::PERMISSION.to_owned()])).is_ok();
        reaches && self.caller.0.actor.is_none()
    }
}

// === impl Office ===

impl Office {
    /// One that cannot be read keeps nobody from the rest.
    fn shown(&self, tenant: TenantId, instance: store::Instance, may_open: bool) -> Instance {
        if !may_open {
            return instance.into();
        }
        self.own_instance(tenant.uuid(), instance.clone()).unwrap_or_else(|_| instance.into())
    }
}
