//! A token of somebody else's that a service was handed and asks about (`POST /auth/validate`): judged as it would be at the door.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use policies::Refusal;
use store::GrantFacts;

use super::{Directory, foreign::Failed, wanted::Wanted};

impl Directory {
    /// Whose it is, if its issuer has signed it and there is an account for its subject, which may be made now as at the door; `None`: it
    /// does not say that it is somebody else's. `client`: who asks.
    pub(crate) async fn vouched(
        &self,
        token: &str,
        client: IpAddr,
        now: DateTime<Utc>,
    ) -> Option<Result<GrantFacts, Refusal>> {
        let vouched = match self.outside.prove(token, client, now).await? {
            Ok(vouched) => vouched,
            Err(refusal) => return Some(Err(refusal)),
        };
        let facts = self.outside.facts(&self.store, &self.limiter, &vouched, client, now).await;
        let judged = facts.map_err(|Failed(refusal)| refusal);
        Some(judged.and_then(|facts| Wanted::Vouched(vouched).judge(facts, now).map_err(|(refusal, _)| refusal)))
    }
}
