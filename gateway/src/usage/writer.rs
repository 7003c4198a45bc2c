//! Takes what requests have handed over, adds it up, and writes it into the spool.
//!
//! Two threads, so that a slow disk holds nothing up: one writes at every interval, after which a process that is killed loses nothing
//! of it; the other asks the disk to keep what is written, after which a machine that loses its power does not either.
//!
//! When the disk takes nothing, what requests have used is kept here and added up until it does. Records that may have been written in
//! part keep their ids, so that writing them again counts nothing twice. What a service has reported is not kept: it hears so.

use std::{
    collections::HashMap,
    fs::File,
    mem,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use chrono::DateTime;
use identity::Grant;
use store::UsageEvent;
use uuid::Uuid;

use super::{Counted, Usage, meter::Metered, reports::Kept, spool::Spool};
use crate::{config::UsageSettings, metrics::UsageMetrics};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// What is counted as one: one caller, route, day and kind of answer.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    account: Uuid,
    key: Option<Uuid>,
    tenant: Option<Uuid>,
    route: Arc<str>,
    day: i64,
    service: Option<Box<str>>,
    model: Option<Box<str>>,
    request_type: Option<Box<str>>,
}

/// How much of it there was, and since when.
struct Sum {
    at: i64,
    requests: i64,
    tokens: i64,
    cost: i64,
}

/// What was written, and who waits for the disk to keep it.
struct Written {
    file: Arc<File>,
    waiting: Vec<Kept>,
}

pub(super) struct Writer {
    usage: Arc<Usage>,
    spool: Spool,
    flush: Duration,
    carry: Duration,
    metrics: UsageMetrics,
    /// What is taken from each thread; empty in between.
    hands: Vec<Vec<Counted>>,
    sums: HashMap<Kind, Sum>,
    /// What has an id and is not known to be written.
    pending: Vec<UsageEvent>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(usage: Arc<Usage>, spool: Spool, settings: &UsageSettings, metrics: UsageMetrics) -> Self {
        let (flush, carry) = (settings.flush, settings.carry);
        Self { usage, spool, flush, carry, metrics, hands: Vec::new(), sums: HashMap::new(), pending: Vec::new() }
    }

    /// Writes until everything is closed, and then what is left.
    pub(super) fn write(mut self) {
        let (to_sync, written) = mpsc::channel::<Written>();
        let metrics = self.metrics.clone();
        let syncing = thread::spawn(move || sync(&written, &metrics));
        loop {
            let (began, is_last) = (Instant::now(), self.usage.is_closing());
            if let Some(written) = self.write_once() {
                // It ends after us.
                drop(to_sync.send(written));
            }
            self.spool.close_if_due(self.carry);
            if is_last {
                break;
            }
            thread::park_timeout(self.flush.saturating_sub(began.elapsed()));
        }
        self.usage.reports.close();
        drop(to_sync);
        self.spool.close();
        drop(syncing.join());
    }

    /// One interval's work; gives the file if something was written.
    fn write_once(&mut self) -> Option<Written> {
        self.add_up();
        // What could not be written before comes first, and alone: it may be there already.
        if self.pending.is_empty() {
            self.pending = mem::take(&mut self.sums).into_iter().map(|(kind, sum)| event(&kind, &sum)).collect();
        }
        let (reports, waiting) = self.usage.reports.take();
        let own = self.pending.len();
        self.pending.extend(reports);
        if self.pending.is_empty() {
            return None;
        }
        match self.spool.add(&self.pending) {
            Ok(file) => {
                self.pending.clear();
                self.metrics.stuck.set(0);
                Some(Written { file, waiting })
            }
            Err(error) => {
                self.pending.truncate(own);
                if self.metrics.stuck.get() == 0 {
                    tracing::error!(%error, "usage cannot be written into its spool; it is kept in memory and tried again");
                }
                self.metrics.stuck.set(1);
                self.metrics.failures.with_label_values(&["write"]).inc();
                None
            }
        }
    }

    fn add_up(&mut self) {
        self.usage.take(&mut self.hands);
        for one in self.hands.iter_mut().flat_map(|hand| hand.drain(..)) {
            if let Some(faults) = one.metered.as_ref().map(|metered| metered.faults).filter(|faults| *faults > 0) {
                self.metrics.malformed.inc_by(faults.into());
                tracing::warn!(route = %one.route.name, faults, "a backend reports usage that cannot be counted");
            }
            let (kind, sum) = taken_apart(one);
            let sums = self.sums.entry(kind).or_insert(Sum { at: sum.at, requests: 0, tokens: 0, cost: 0 });
            sums.requests += sum.requests;
            // What one answer may say is bounded, so this takes nine million of them within an interval.
            sums.tokens = sums.tokens.saturating_add(sum.tokens);
            sums.cost = sums.cost.saturating_add(sum.cost);
        }
    }
}

fn taken_apart(counted: Counted) -> (Kind, Sum) {
    let Metered { tokens, cost, model, service, request_type, .. } =
        counted.metered.map(|metered| *metered).unwrap_or_default();
    let (tokens, cost) = (tokens.unwrap_or(0), cost.unwrap_or(0));
    let principal = &counted.known.principal;
    let kind = Kind {
        account: principal.account.uuid(),
        key: if let Grant::Key(key) = principal.grant { Some(key.uuid()) } else { None },
        tenant: principal.tenant.map(|tenant| tenant.uuid()),
        route: Arc::clone(&counted.route.name),
        day: counted.at.div_euclid(DAY),
        service,
        model,
        request_type,
    };
    (kind, Sum { at: counted.at, requests: 1, tokens, cost })
}

fn event(kind: &Kind, sum: &Sum) -> UsageEvent {
    let text = |name: &Option<Box<str>>| name.as_deref().unwrap_or_default().to_owned();
    UsageEvent {
        id: Uuid::now_v7(),
        tenant: kind.tenant.map(Into::into),
        account: kind.account.into(),
        key: kind.key.map(Into::into),
        at: DateTime::from_timestamp(sum.at, 0).unwrap_or_default(),
        route: kind.route.to_string(),
        service: text(&kind.service),
        model: text(&kind.model),
        request_type: text(&kind.request_type),
        requests: sum.requests,
        tokens: sum.tokens,
        cost: sum.cost,
        is_claim: false,
    }
}

/// Asks the disk to keep what was written, and tells who waits for it. What was written several times meanwhile is synced once.
fn sync(written: &mpsc::Receiver<Written>, metrics: &UsageMetrics) {
    while let Ok(first) = written.recv() {
        let mut next = [first].into_iter().chain(written.try_iter()).peekable();
        while let Some(Written { file, mut waiting }) = next.next() {
            while let Some(more) = next.next_if(|more| Arc::ptr_eq(&more.file, &file)) {
                waiting.extend(more.waiting);
            }
            match file.sync_data() {
                Ok(()) => {
                    for kept in waiting {
                        // Who has gone meanwhile need not hear it.
                        let _ = kept.send(());
                    }
                }
                Err(error) => {
                    // What is carried to SQL is read from memory all the same; only a power cut before that would lose it.
                    metrics.failures.with_label_values(&["sync"]).inc();
                    tracing::error!(%error, "the disk does not keep what was used");
                }
            }
            // The carrier may have it from now on, if it is finished.
            drop(file);
        }
    }
}
