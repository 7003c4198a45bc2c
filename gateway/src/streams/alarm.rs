//! A timer that is set more often than it rings.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// Wakes its task. Setting a timer takes longer than to be woken once in a while for nothing, so one that rings too early is
/// left as it is: a connection of HTTP/1 sets it for one request in thousands.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

// === impl Alarm ===

impl Alarm {
    pub(super) fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let until = until.into();
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            if sleep.is_elapsed() || sleep.deadline() > until {
                sleep.as_mut().reset(until);
            }
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() == until {
                return Poll::Ready(());
            }
        }
    }
}
