//! A time by which a client must have done something, counted while it keeps us waiting and not while we keep it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use super::http1::Awaited;

/// A time by which something must have come.
#[derive(Default)]
pub(super) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What is waited for, if anything is.
    waits: Option<Wait>,
}

struct Wait {
    until: Instant,
    awaited: Awaited,
    /// Bytes that have come while it was waited.
    came: u64,
    /// When somebody else made us wait.
    paused: Option<Instant>,
}

// === impl Deadline ===

impl Deadline {
    /// A head must have come whole `within` the connection's first seconds.
    pub(super) fn since(began: Instant, within: Duration) -> Self {
        let waits = Wait { until: began + within, awaited: Awaited::Head, came: 0, paused: None };
        Self { sleep: None, waits: Some(waits) }
    }

    pub(super) fn came(&mut self, bytes: usize) {
        if let Some(wait) = &mut self.waits {
            wait.came += bytes as u64;
        }
    }

    /// Nothing is waited for any more.
    pub(super) fn end(&mut self) {
        self.waits = None;
    }

    pub(super) fn is_running(&self) -> bool {
        self.waits.is_some()
    }

    /// What follows until the next [`Self::poll`] is not the client's time.
    pub(super) fn pause(&mut self) {
        if let Some(wait) = &mut self.waits
            && wait.awaited == Awaited::Body
        {
            wait.paused = Some(Instant::now());
        }
    }

    /// Ready when `awaited` has not come `within` the time, counted from when it was first waited for, or from when `enough`
    /// bytes had come.
    pub(super) fn poll(&mut self, awaited: Awaited, within: Duration, enough: u64, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        match &mut self.waits {
            Some(wait) if wait.awaited == awaited && wait.came < enough => {
                if let Some(paused) = wait.paused.take() {
                    wait.until += now - paused;
                }
            }
            waits => *waits = Some(Wait { until: now + within, awaited, came: 0, paused: None }),
        }
        let until = self.waits.as_ref().map_or(now, |wait| wait.until).into();
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx)
    }
}
