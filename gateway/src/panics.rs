//! A panic of ours costs the request that meets it, and nothing else: it is answered 500, and counted. There ought to be none.

use std::{
    future::Future,
    panic::{self, AssertUnwindSafe, catch_unwind},
};

use futures_util::FutureExt;
use http::HeaderMap;
use pingora::{Error, ErrorType, Result};
use policies::Refusal;
use prometheus::IntCounter;

/// Counts every panic of the process from now on, whoever catches it.
pub(crate) fn count(panics: IntCounter) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        panics.inc();
        before(what);
    }));
}

/// Asks a request in. What it holds gives back what it has when it is dropped, so what a panic leaves half done is nobody else's.
pub(crate) async fn caught<T>(admit: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    AssertUnwindSafe(admit).catch_unwind().await.unwrap_or(Err(Refusal::Internal))
}

/// Takes a step with a request that has been let in.
pub(crate) fn caught_in<T>(step: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_| Error::explain(ErrorType::InternalError, "a panic"))
}

/// Panics where a request or an answer wishes it, if the process was started for that, and only in builds for tests: what is said here
/// has to be seen.
pub(crate) fn rehearse(place: &str, headers: &HeaderMap) {
    if cfg!(debug_assertions)
        && headers.get("test-panic").is_some_and(|wanted| wanted == place)
        && std::env::var_os("PORTCULLIS_TEST_PANIC").is_some()
    {
        #[expect(clippy::panic, reason = "it is what is tested")]
        {
            panic!("as it was wished");
        }
    }
}
