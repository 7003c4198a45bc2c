//! Looking at chains again: to verify them all, to name them in the next one, and before old events are deleted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write,
};

use chrono::{DateTime, Utc};
use identity::SecretDigest;
use uuid::Uuid;

use super::{
    AT_ONCE, Audit, AuditFault, AuditReport, ChainRow,
    chain::{Base, Kind, Mark, Opened},
};
use crate::StoreError;

const CUT: &str = "is missing";
const ALTERED: &str = "was altered";

/// What all chains say of each other: the places that each was seen at by others.
#[derive(Default)]
struct Named(HashMap<Uuid, BTreeMap<i64, [u8; 32]>>);

/// How far the events of a chain are what was written, and what is wrong with the next.
struct Walk {
    end: Mark,
    fault: Option<(i64, &'static str)>,
}

// === impl Audit ===

impl Audit {
    /// Looks at every event of every chain.
    pub async fn verify(&self) -> Result<AuditReport, StoreError> {
        let rows = self.store.chains().await?;
        let (mut report, mut all, mut chains) = (AuditReport::default(), Vec::new(), Vec::new());
        for row in &rows {
            report.chains += 1;
            match self.opened(row) {
                Ok(chain) => chains.push(chain),
                Err(wrong) => report.fault(row.id, 0, wrong),
            }
        }
        let (named, known) = (Named::by(&chains), rows.iter().map(|row| row.id).collect::<HashSet<_>>());
        for missing in named.0.keys().filter(|chain| !known.contains(chain)) {
            report.fault(*missing, 0, "all of it is missing");
        }
        for chain in chains {
            report.unkeyed += u64::from(matches!(chain.base.kind, Kind::Plain));
            all.extend(self.look_at(chain, &named, &mut report).await?.bytes());
        }
        self.look_for_strays(&known, &mut report).await?;
        for byte in SecretDigest::of(&all).as_bytes() {
            // A string takes whatever is written to it.
            let _ = write!(report.digest, "{byte:02x}");
        }
        Ok(report)
    }

    /// Deletes events from before then, from the beginning of each chain on, in small batches; says how many. A chain that is not whole up to
    /// there is left as it is: what an event says of its age counts only where nobody else has written it.
    pub async fn forget(&self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let (mut forgotten, rows) = (0, self.store.chains().await?);
        let chains: Vec<_> = rows.iter().map(|row| self.opened(row).ok()).collect();
        let named = Named::by(chains.iter().flatten());
        for (row, chain) in rows.iter().zip(chains) {
            let Some(chain) = chain.filter(|chain| chain.last.is_some()) else { continue };
            let Some(last) = self.store.last_event_before(row.id, before).await? else { continue };
            let mut ends = Vec::new();
            let end_batch = |at: Mark| ends.extend((at.position % AT_ONCE == 0 || at.position == last).then_some(at));
            let walk = self.walk(&chain, chain.base.at, Some(last), &named, end_batch).await?;
            if walk.fault.is_some() || walk.end.position != last {
                // Or another node was here first.
                if self.shortened(&chain).await?.is_none() {
                    tracing::error!(chain = %row.id, "old events of the audit trail are not what was written, and are kept");
                }
                continue;
            }
            forgotten += self.forget_up_to(&ends, row, chain.base).await?;
        }
        Ok(forgotten)
    }

    /// Moves the beginning of a chain from one of its places to the next.
    async fn forget_up_to(&self, ends: &[Mark], row: &ChainRow, mut base: Base) -> Result<u64, StoreError> {
        let (mut forgotten, mut sealed) = (0, row.base.clone());
        for end in ends {
            base.at = *end;
            let next = self.sealed("base", row.id, &base.bytes());
            match self.store.forget_events(row.id, end.position, (&sealed, &next)).await? {
                0 => break,
                some => forgotten += some,
            }
            sealed = next;
        }
        Ok(forgotten)
    }

    /// How far each chain has come, where no other has named that yet.
    pub(super) async fn unnamed(&self) -> Result<Vec<(Uuid, Mark)>, StoreError> {
        let chains: Vec<_> = self.store.chains().await?.iter().filter_map(|row| self.opened(row).ok()).collect();
        let (named, mut to_name) = (Named::by(&chains), Vec::new());
        for chain in &chains {
            let (known, marked) = (chain.known(&named), named.last_of(chain.id));
            // What follows the end of an older release's chain anybody can have put there, once somebody has named that.
            let is_closed = matches!(chain.base.kind, Kind::Plain) && marked.is_some();
            let end = match chain.last {
                Some(last) if last > known.position && !is_closed => {
                    self.walk(chain, known, None, &named, |_| ()).await?.end
                }
                _ => known,
            };
            if marked.is_none_or(|marked| marked.position < end.position) {
                to_name.push((chain.id, end));
            }
        }
        Ok(to_name)
    }

    /// Everything of one chain; says how far it is whole. What has been deleted since its row was read is not missing: it is looked at again from
    /// where it begins then, unless what is wrong is behind that.
    async fn look_at(&self, mut chain: Opened, named: &Named, report: &mut AuditReport) -> Result<Mark, StoreError> {
        loop {
            let mut seen = AuditReport::default();
            let end = self.look_once(&chain, named, &mut seen).await?;
            let shortened = if seen.faults.is_empty() { None } else { self.shortened(&chain).await? };
            let is_deleted = |now: &Opened| seen.faults.iter().any(|fault| fault.position <= now.base.at.position);
            let Some(shortened) = shortened.filter(is_deleted) else {
                report.events += seen.events;
                report.faults.append(&mut seen.faults);
                return Ok(end);
            };
            chain = shortened;
        }
    }

    /// The chain as it is now, if old events of it have been deleted since its row was read.
    async fn shortened(&self, chain: &Opened) -> Result<Option<Opened>, StoreError> {
        let rows = self.store.chains().await?;
        let now = rows.iter().find(|row| row.id == chain.id).and_then(|row| self.opened(row).ok());
        Ok(now.filter(|now| now.base.at.position > chain.base.at.position))
    }

    async fn look_once(&self, chain: &Opened, named: &Named, report: &mut AuditReport) -> Result<Mark, StoreError> {
        if let Some(first) = chain.first.filter(|first| *first <= chain.base.at.position) {
            report.fault(chain.id, first, "was added before the beginning");
        }
        let walk = self.walk(chain, chain.base.at, None, named, |_| report.events += 1).await?;
        let (end, known) = (walk.end, chain.known(named));
        let is_closed = matches!(chain.base.kind, Kind::Plain) && named.last_of(chain.id).is_some();
        match walk.fault {
            Some((position, wrong)) => report.fault(chain.id, position, wrong),
            None if end.position < known.position => report.fault(chain.id, end.position + 1, CUT),
            None if is_closed && end.position > known.position => {
                report.fault(chain.id, known.position + 1, "was added after the end");
            }
            None => {}
        }
        Ok(end)
    }

    /// Events of chains that nobody has begun.
    async fn look_for_strays(&self, known: &HashSet<Uuid>, report: &mut AuditReport) -> Result<(), StoreError> {
        let (mut strays, mut after) = (Vec::new(), Uuid::nil());
        while let Some(chain) = self.store.chain_with_events_after(after).await? {
            after = chain;
            if !known.contains(&chain) && !report.faults.iter().any(|fault| fault.chain == chain) {
                strays.push(chain);
            }
        }
        if strays.is_empty() {
            return Ok(());
        }
        // Some may have been begun meanwhile.
        let begun: HashSet<_> = self.store.chains().await?.into_iter().map(|row| row.id).collect();
        for stray in strays.into_iter().filter(|stray| !begun.contains(stray)) {
            report.fault(stray, 0, "is no chain that was begun, and has events");
        }
        Ok(())
    }

    /// Follows a chain from one of its places to another or its end; `tell` hears of each event's place before it is looked at.
    async fn walk(
        &self,
        chain: &Opened,
        from: Mark,
        to: Option<i64>,
        named: &Named,
        mut tell: impl FnMut(Mark),
    ) -> Result<Walk, StoreError> {
        let mut end = from;
        loop {
            let rows = self.store.events_after(chain.id, end.position).await?;
            let is_last = rows.len() < AT_ONCE as usize;
            for row in rows.into_iter().take_while(|row| to.is_none_or(|to| row.position <= to)) {
                let next = end.after(&chain.base.kind, chain.id, &row.event);
                tell(next);
                let fault = if row.position != next.position {
                    Some(CUT)
                } else if row.digest != next.digest || !chain.fits(named, next) {
                    Some(ALTERED)
                } else {
                    None
                };
                if let Some(wrong) = fault {
                    return Ok(Walk { end, fault: Some((next.position, wrong)) });
                }
                end = next;
            }
            if is_last || to.is_some_and(|to| end.position >= to) {
                return Ok(Walk { end, fault: None });
            }
        }
    }
}

// === impl Named ===

impl Named {
    fn by<'a>(chains: impl IntoIterator<Item = &'a Opened>) -> Self {
        let mut named = Self::default();
        for chain in chains {
            if let Some(after) = chain.after {
                named.0.entry(after).or_default();
            }
            for (other, at) in &chain.base.names {
                named.0.entry(*other).or_default().insert(at.position, at.digest);
            }
        }
        named
    }

    /// The farthest place that another chain has seen it at.
    fn last_of(&self, chain: Uuid) -> Option<Mark> {
        let (position, digest) = self.0.get(&chain)?.last_key_value()?;
        Some(Mark { position: *position, digest: *digest })
    }
}

// === impl Opened ===

impl Opened {
    /// The farthest place that is sealed, here or by another chain.
    fn known(&self, named: &Named) -> Mark {
        let places = [Some(self.base.at), Some(self.head), named.last_of(self.id)];
        places.into_iter().flatten().max_by_key(|at| at.position).unwrap_or(self.base.at)
    }

    /// Whether a place is what was sealed of it.
    fn fits(&self, named: &Named, at: Mark) -> bool {
        let seen = named.0.get(&self.id).and_then(|seen| seen.get(&at.position));
        seen.is_none_or(|seen| *seen == at.digest) && (self.head.position != at.position || self.head == at)
    }
}

// === impl AuditReport ===

impl AuditReport {
    fn fault(&mut self, chain: Uuid, position: i64, wrong: &'static str) {
        self.faults.push(AuditFault { chain, position, wrong });
    }
}
