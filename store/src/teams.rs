//! Teams of a tenant, and who belongs to them. Only members of the tenant do: that is what the tables say, not a query.

use chrono::{DateTime, Utc};
use identity::{AccountId, TenantId, folded};
use sqlx_macros::FromRow;
use uuid::Uuid;

use crate::{
    Cursor, Page, Store, StoreError, Subject,
    db::{on, on_tx, stored},
    groups::{Held, MOST},
};

/// A team.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Team {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What others call it.
    pub external_ref: Option<String>,
    /// Is it in use?
    pub is_active: bool,
    /// As what the account that was asked about belongs to it.
    pub role: Option<String>,
}

/// A team to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTeam {
    /// What it is called.
    pub name: String,
    /// What others call it.
    pub external_ref: Option<String>,
    /// Is it in use?
    pub is_active: bool,
}

/// What of a team is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamChange {
    /// A new name.
    pub name: Option<String>,
    /// What others call it now, if anything.
    pub external_ref: Option<Option<String>>,
    /// Is it in use?
    pub is_active: Option<bool>,
}

/// Somebody who belongs to a team.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct TeamMember {
    /// Whose account.
    pub account_id: Uuid,
    /// The address as its owner writes it.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// As what.
    pub role: String,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

const NAME_TAKEN: StoreError = StoreError::Conflict("there is a team of this name already");

// === impl Store ===

impl Store {
    /// A page of a tenant's teams in the order of their making, each with what `account` is in it.
    pub async fn list_teams(
        &self,
        tenant: TenantId,
        account: AccountId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Team>, StoreError> {
        const Q: &str = "SELECT t.id, t.name, t.external_ref, t.is_active, m.role FROM teams t \
                         LEFT JOIN team_memberships m ON m.tenant_id = t.tenant_id AND m.team_id = t.id AND m.account_id = $2 \
                         WHERE t.tenant_id = $1 AND t.id > $3 ORDER BY t.id LIMIT $4";
        self.page_of_teams(Q, tenant, account, after, limit).await
    }

    /// A page of the teams to which an account belongs in a tenant, in the order of their making.
    pub async fn teams_of(
        &self,
        tenant: TenantId,
        account: AccountId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Team>, StoreError> {
        const Q: &str = "SELECT t.id, t.name, t.external_ref, t.is_active, m.role FROM team_memberships m \
                         JOIN teams t ON t.tenant_id = m.tenant_id AND t.id = m.team_id \
                         WHERE m.tenant_id = $1 AND m.account_id = $2 AND m.team_id > $3 ORDER BY m.team_id LIMIT $4";
        self.page_of_teams(Q, tenant, account, after, limit).await
    }

    async fn page_of_teams(
        &self,
        query: &'static str,
        tenant: TenantId,
        account: AccountId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Team>, StoreError> {
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        let teams: Vec<Team> = self
            .bounded(async {
                on!(scoped, |pool| sqlx::query_as(query)
                    .bind(tenant.uuid())
                    .bind(account.uuid())
                    .bind(after)
                    .bind(i64::from(limit) + 1)
                    .fetch_all(pool)
                    .await)
            })
            .await?;
        Ok(Page::cut(teams, limit, |team| team.id))
    }

    /// A team, with what `account` is in it; `None`: the tenant has none of that id.
    pub async fn team(&self, tenant: TenantId, account: AccountId, id: Uuid) -> Result<Option<Team>, StoreError> {
        const Q: &str = "SELECT t.id, t.name, t.external_ref, t.is_active, m.role FROM teams t \
                         LEFT JOIN team_memberships m ON m.tenant_id = t.tenant_id AND m.team_id = t.id AND m.account_id = $2 \
                         WHERE t.tenant_id = $1 AND t.id = $3";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            on!(scoped, |pool| sqlx::query_as(Q)
                .bind(tenant.uuid())
                .bind(account.uuid())
                .bind(id)
                .fetch_optional(pool)
                .await)
        })
        .await
    }

    /// Makes a team; [`StoreError::Conflict`] if the tenant has one of that name, however it is written.
    pub async fn create_team(&self, tenant: TenantId, new: NewTeam, now: DateTime<Utc>) -> Result<Team, StoreError> {
        const Q: &str = "INSERT INTO teams (tenant_id, id, name, name_folded, external_ref, is_active, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, name_folded) DO NOTHING";
        let NewTeam { name, external_ref, is_active } = new;
        let (id, scoped) = (Uuid::now_v7(), self.of_tenant(tenant));
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let made = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(&name)
                .bind(folded(&name))
                .bind(&external_ref)
                .bind(is_active)
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if made == 0 {
                return Err(NAME_TAKEN);
            }
            self.commit(tx).await
        })
        .await?;
        Ok(Team { id, name, external_ref, is_active, role: None })
    }

    /// Changes a team. [`StoreError::NotFound`] if the tenant has none of that id; [`StoreError::Conflict`] if another one has the name.
    pub async fn change_team(
        &self,
        tenant: TenantId,
        id: Uuid,
        change: TeamChange,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const OTHER: &str = "SELECT COUNT(*) FROM teams WHERE tenant_id = $1 AND name_folded = $2 AND id <> $3";
        const Q: &str = "UPDATE teams SET name = COALESCE($3, name), name_folded = COALESCE($4, name_folded), \
                         external_ref = CASE WHEN $5 THEN $6 ELSE external_ref END, is_active = COALESCE($7, is_active) \
                         WHERE tenant_id = $1 AND id = $2";
        let name_folded = change.name.as_deref().map(folded);
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            if let Some(name) = &name_folded {
                tx.lock_tenant(tenant).await?;
                let others: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(OTHER)
                    .bind(tenant.uuid())
                    .bind(name)
                    .bind(id)
                    .fetch_one(c)
                    .await)?;
                if others > 0 {
                    return Err(NAME_TAKEN);
                }
            }
            let changed = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(change.name)
                .bind(name_folded)
                .bind(change.external_ref.is_some())
                .bind(change.external_ref.flatten())
                .bind(change.is_active)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if changed == 0 {
                return Err(StoreError::NotFound);
            }
            // Upstreams are told its name.
            self.commit_and_tell(tx, &[Subject::Groups(tenant)], now).await
        })
        .await
    }

    /// Deletes a team. [`StoreError::Conflict`] if somebody belongs to it, unless `cascade` takes them out.
    pub async fn delete_team(
        &self,
        tenant: TenantId,
        id: Uuid,
        cascade: bool,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const HOLD: Held = Held {
            postgres: "SELECT id FROM teams WHERE tenant_id = $1 AND id = $2 FOR UPDATE",
            sqlite: "SELECT id FROM teams WHERE tenant_id = $1 AND id = $2",
        };
        const MEMBERS: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM team_memberships WHERE tenant_id = $1 AND team_id = $2 \
                               LIMIT 1) AS found";
        const Q: &str = "DELETE FROM teams WHERE tenant_id = $1 AND id = $2";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            // Whoever is added meanwhile waits, and then finds no team.
            if tx.hold(&HOLD, tenant, id).await?.is_empty() {
                return Err(StoreError::NotFound);
            }
            let members: i64 =
                on_tx!(&mut tx, |c| sqlx::query_scalar(MEMBERS).bind(tenant.uuid()).bind(id).fetch_one(c).await)?;
            if members > 0 && !cascade {
                return Err(StoreError::Conflict("the team has members; take them out, or say ?cascade=true"));
            }
            on_tx!(&mut tx, |c| sqlx::query(Q).bind(tenant.uuid()).bind(id).execute(c).await.map(drop))?;
            let heard = if members > 0 { &[Subject::Groups(tenant)][..] } else { &[] };
            self.commit_and_tell(tx, heard, now).await
        })
        .await
    }

    /// A page of those who belong to a team, in the order in which their accounts were made; [`StoreError::NotFound`] if the tenant has
    /// no such team.
    pub async fn list_team_members(
        &self,
        tenant: TenantId,
        id: Uuid,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<TeamMember>, StoreError> {
        const TEAM: &str = "SELECT COUNT(*) FROM teams WHERE tenant_id = $1 AND id = $2";
        const Q: &str = "SELECT m.account_id, a.email, a.name, m.role, m.created_at FROM team_memberships m \
                         JOIN accounts a ON a.id = m.account_id \
                         WHERE m.tenant_id = $1 AND m.team_id = $2 AND m.account_id > $3 ORDER BY m.account_id LIMIT $4";
        let after = after.map_or(Uuid::nil(), Cursor::uuid);
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let found: i64 =
                on!(scoped, |pool| sqlx::query_scalar(TEAM).bind(tenant.uuid()).bind(id).fetch_one(pool).await)?;
            if found == 0 {
                return Err(StoreError::NotFound);
            }
            let members: Vec<TeamMember> = on!(scoped, |pool| sqlx::query_as(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(after)
                .bind(i64::from(limit) + 1)
                .fetch_all(pool)
                .await)?;
            Ok(Page::cut(members, limit, |member| member.account_id))
        })
        .await
    }

    /// Puts a member of the tenant into a team. [`StoreError::NotFound`] if the tenant has no such team or no such member;
    /// [`StoreError::Conflict`] if the account belongs to it already, or to too many.
    pub async fn add_team_member(
        &self,
        tenant: TenantId,
        id: Uuid,
        account: AccountId,
        role: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const COUNT: &str = "SELECT COUNT(*) FROM team_memberships WHERE tenant_id = $1 AND account_id = $2";
        const Q: &str = "INSERT INTO team_memberships (tenant_id, team_id, account_id, role, created_at) \
                         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, team_id, account_id) DO NOTHING";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            tx.hold_member(tenant, account).await?;
            let teams: i64 = on_tx!(&mut tx, |c| sqlx::query_scalar(COUNT)
                .bind(tenant.uuid())
                .bind(account.uuid())
                .fetch_one(c)
                .await)?;
            if teams >= MOST {
                return Err(StoreError::Conflict("the account belongs to 100 teams already"));
            }
            let added = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(account.uuid())
                .bind(role)
                .bind(stored(now))
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if added == 0 {
                return Err(StoreError::Conflict("the account belongs to the team already"));
            }
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await
        })
        .await
    }

    /// Makes somebody something else in a team; [`StoreError::NotFound`] if the account does not belong to it.
    pub async fn change_team_member(
        &self,
        tenant: TenantId,
        id: Uuid,
        account: AccountId,
        role: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str =
            "UPDATE team_memberships SET role = $4 WHERE tenant_id = $1 AND team_id = $2 AND account_id = $3";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let changed = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(account.uuid())
                .bind(role)
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if changed == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await
        })
        .await
    }

    /// Takes somebody out of a team; [`StoreError::NotFound`] if the account does not belong to it.
    pub async fn remove_team_member(
        &self,
        tenant: TenantId,
        id: Uuid,
        account: AccountId,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        const Q: &str = "DELETE FROM team_memberships WHERE tenant_id = $1 AND team_id = $2 AND account_id = $3";
        let scoped = self.of_tenant(tenant);
        self.bounded(async {
            let mut tx = scoped.begin().await?;
            let gone = on_tx!(&mut tx, |c| sqlx::query(Q)
                .bind(tenant.uuid())
                .bind(id)
                .bind(account.uuid())
                .execute(c)
                .await
                .map(|done| done.rows_affected()))?;
            if gone == 0 {
                return Err(StoreError::NotFound);
            }
            self.commit_and_tell(tx, &[Subject::Account(account)], now).await
        })
        .await
    }
}
