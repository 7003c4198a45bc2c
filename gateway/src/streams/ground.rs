//! What an open stream stands on beside its caller: the thing that its path names, where the route demands that it is the caller's, and
//! the key that the provider was shown.

use std::sync::Arc;

use identity::Principal;
use policies::{Permit, Possession, Refusal, ResourceKind, Route};
use uuid::Uuid;

use crate::{
    directory::{Directory, Provided},
    journey::Journey,
    stamps::Moment,
};

/// What would end the stream if it went.
pub(super) struct Ground {
    thing: Option<(ResourceKind, Uuid, Possession)>,
    shown: Option<(Provided, Arc<Route>)>,
}

// === impl Ground ===

impl Ground {
    /// `None`, as for most requests: nothing but the caller.
    pub(super) fn of(journey: &Journey, route: &Arc<Route>) -> Option<Arc<Self>> {
        if route.demand.owner.is_none() && route.inject_credential.is_none() {
            return None;
        }
        let whose = journey.permit.as_ref().and_then(Permit::whose);
        let demand = route.demand.owner.as_ref().zip(journey.inbound.as_ref());
        let named = demand.and_then(|(demand, inbound)| Some((demand.kind, demand.named_in(&inbound.path)?)));
        Some(Arc::new(Self {
            thing: named.zip(whose).map(|((kind, id), whose)| (kind, id, whose)),
            shown: journey.provided.clone().map(|provided| (provided, Arc::clone(route))),
        }))
    }

    /// Has nothing of it changed since?
    pub(super) fn is_unchanged(&self, directory: &Directory, principal: &Principal, learnt: Moment) -> bool {
        self.thing.is_none_or(|(_, id, _)| directory.is_thing_unchanged(id, learnt))
            && (self.shown.is_none() || directory.are_integrations_unchanged(principal, learnt))
    }

    /// Is the thing still whose it was, and the key the one that would be shown now?
    pub(super) async fn look_again(&self, directory: &Directory, principal: &Principal) -> Result<(), Refusal> {
        if let Some((kind, id, was)) = self.thing
            && directory.whose(kind, id).await? != Some(was)
        {
            return Err(Refusal::Revoked);
        }
        if let Some((shown, route)) = &self.shown
            && let Some(injection) = &route.inject_credential
            && !directory.provided(principal, injection).await?.is(shown)
        {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }
}
