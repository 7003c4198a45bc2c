//! `portcullis audit verify`.

use anyhow::anyhow;

use super::{block_on, open_existing, say, say_error};
use crate::{
    cli::{Failure, Place},
    foundation,
};

/// Looks at every chain up to its first fault, and says what is wrong.
pub(crate) fn verify(place: &Place) -> Result<(), Failure> {
    block_on(1, async {
        let (_, opened) = open_existing(place).await?;
        let report = opened.audit.verify().await.map_err(|error| foundation::failure(&error))?;
        for fault in &report.faults {
            say_error(&fault.to_string());
        }
        let of_old = match report.unkeyed {
            0 => String::new(),
            some => format!(" ({some} by an older release, without a key)"),
        };
        say(&format!("{} events in {} chains{of_old}, digest {}", report.events, report.chains, report.digest));
        match report.faults.len() {
            0 => Ok(()),
            wrong => Err(Failure::Other(anyhow!("the audit trail has {wrong} faults"))),
        }
    })
}
