//! `portcullis backup` and `portcullis restore`: everything that is stored, into one file and back. The master key stays out.

use std::path::{Path, PathBuf};

use chrono::Utc;
use store::{BackupError, Receipt};

use super::{block_on, read_config, say, shown};
use crate::{
    cli::{Failure, Place},
    config::{MasterKeySource, Settings},
    foundation, logging,
};

pub(crate) fn save(to: &Path, place: &Place) -> Result<(), Failure> {
    let settings = read_config(place)?.settings;
    foundation::must_exist(&settings.store, &place.data)?;
    // It may have to wait for others, and tells of it there.
    logging::start(&settings.log);
    block_on(1, async {
        let store = foundation::connect(&settings.store, &place.data).await?;
        let file = if to.is_dir() { to.join(name()) } else { to.to_owned() };
        let receipt = store.back_up(&file).await.map_err(failure)?;
        say(&format!("{}: {}", shown(&file), told(&receipt)));
        say(&format!(
            "The master key is not in it, and nothing that is sealed opens without: keep {} apart from this file.",
            master_key(&settings, &place.data)
        ));
        Ok(())
    })
}

pub(crate) fn restore(from: &Path, place: &Place) -> Result<(), Failure> {
    let settings = read_config(place)?.settings;
    block_on(1, async {
        let (url, pool) = foundation::address(&settings.store, &place.data)?;
        let receipt = store::restore(&url, pool, from).await.map_err(failure)?;
        say(&format!("{} is restored: {}", shown(from), told(&receipt)));
        say(&format!(
            "Put the master key of that time where it belongs before you serve: {}.",
            master_key(&settings, &place.data)
        ));
        say("What was revoked after the backup was taken is good again: revoke it once more.");
        Ok(())
    })
}

/// What a backup is called where only its folder is given.
fn name() -> PathBuf {
    format!("portcullis-{}.backup", Utc::now().format("%Y%m%dT%H%M%SZ")).into()
}

fn told(receipt: &Receipt) -> String {
    format!("{}, {} bytes, tables as of step {}", receipt.engine, receipt.bytes, receipt.last_step)
}

fn master_key(settings: &Settings, data: &Path) -> String {
    let MasterKeySource { env, file } = &settings.master_key;
    format!("the variable {env}, or {}", shown(&data.join(file)))
}

fn failure(error: BackupError) -> Failure {
    match error {
        BackupError::Store(error) => foundation::failure(&error),
        BackupError::File { .. } => Failure::Unavailable(error.to_string()),
        BackupError::Damaged { .. } | BackupError::OtherVersion(_) | BackupError::NotEmpty(_) => {
            Failure::Data(error.to_string())
        }
    }
}
