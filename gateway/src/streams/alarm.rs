//! A timer that is set more often than it rings.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// Wakes its task. Setting a timer takes longer than to be woken once in a while for nothing, so one that rings too early is
/// left as it is: a connection of HTTP/1 sets it for one request in thousands. Nor is it asked again by whom it wakes already.
#[derive(Default)]
pub(super) struct Alarm(Option<Set>);

struct Set {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes.
    heard_by: Option<Waker>,
}

// === impl Alarm ===

impl Alarm {
    pub(super) fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let until = until.into();
        let Set { sleep, heard_by } =
            self.0.get_or_insert_with(|| Set { sleep: Box::pin(sleep_until(until)), heard_by: None });
        loop {
            if sleep.is_elapsed() || sleep.deadline() > until {
                sleep.as_mut().reset(until);
            } else if heard_by.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            *heard_by = None;
            if sleep.as_mut().poll(cx).is_pending() {
                *heard_by = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if sleep.deadline() == until {
                return Poll::Ready(());
            }
        }
    }
}
