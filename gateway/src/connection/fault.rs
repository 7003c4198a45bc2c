//! What can be wrong with a request's body, told through Pingora, which knows nothing but that reading has failed.

use std::io;

use policies::Refusal;

/// Why a body that came too slowly ends in an error.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(crate) struct TooSlow;

/// Why a body that cannot be read ends in an error.
#[derive(Debug, thiserror::Error)]
#[error("the body cannot be read: {0:?}")]
pub(crate) struct Unreadable(pub(crate) Refusal);

/// What a guarded connection has found wrong with a request's body, if that is why reading it failed.
pub(crate) fn refusal_of(error: &(dyn std::error::Error + 'static)) -> Option<Refusal> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    let unreadable = || inner.downcast_ref::<Unreadable>().map(|unreadable| unreadable.0.clone());
    if inner.is::<TooSlow>() { Some(Refusal::RequestTimeout) } else { unreadable() }
}
