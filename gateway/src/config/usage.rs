//! What `[usage]` says, parsed.

use std::{path::PathBuf, time::Duration};

/// `[usage]`.
#[derive(Clone, PartialEq, Eq)]
pub struct UsageSettings {
    /// Is it counted what callers use?
    pub enabled: bool,
    /// The spool's folder, in the data folder.
    pub folder: PathBuf,
    /// How often the spool is written.
    pub flush: Duration,
    /// How often it is carried to the database.
    pub carry: Duration,
    /// How long single events are kept in the database.
    pub retention: Duration,
}
