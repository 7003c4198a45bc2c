//! A timer that is set more often than it rings.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::{
    task::coop::has_budget_remaining,
    time::{Sleep, sleep_until},
};

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
            // Whose turn is used up is put off before the timer has heard whom to wake.
            let is_asked = has_budget_remaining();
            if sleep.as_mut().poll(cx).is_pending() {
                *heard_by = is_asked.then(|| cx.waker().clone());
                return Poll::Pending;
            }
            if sleep.deadline() == until {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin, time::Duration};

    use tokio::{
        task::coop::consume_budget,
        time::{sleep, timeout},
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    /// Asks for an alarm when the turn of the task is used up.
    fn put_off(alarm: &mut Alarm, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        while pin!(consume_budget()).poll(cx).is_ready() {}
        assert!(alarm.poll(until, cx).is_pending());
        Poll::Ready(())
    }

    #[tokio::test]
    async fn it_rings_for_who_has_set_it_when_their_turn_was_used_up() {
        for rings_early in [true, false] {
            let mut alarm = Alarm::default();
            if rings_early {
                let until = Instant::now() + SOON;
                poll_fn(|cx| Poll::Ready(alarm.poll(until, cx).is_pending())).await;
                sleep(2 * SOON).await;
            }
            let until = Instant::now() + SOON;
            poll_fn(|cx| put_off(&mut alarm, until, cx)).await;
            tokio::task::yield_now().await;
            let (began, late) = (Instant::now(), Duration::from_secs(30));
            assert!(timeout(late, poll_fn(|cx| alarm.poll(until, cx))).await.is_ok());
            assert!(began.elapsed() < late / 2, "it is another alarm that has rung: {:?}", began.elapsed());
        }
    }
}
