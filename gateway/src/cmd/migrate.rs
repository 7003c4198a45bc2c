//! `portcullis migrate up|status|revert`.

use store::StoreError;

use super::{block_on, read_config, say};
use crate::{
    cli::{Failure, MigrateStep, Place},
    foundation, logging,
};

pub(crate) fn run(step: MigrateStep, place: &Place) -> Result<(), Failure> {
    let config = read_config(place)?;
    if !matches!(step, MigrateStep::Up) {
        foundation::must_exist(&config.settings.store, &place.data)?;
    }
    // It may have to wait for others, and tells of it there.
    logging::start(&config.settings.log);
    block_on(1, async {
        let store = foundation::connect(&config.settings.store, &place.data).await?;
        match step {
            MigrateStep::Up => store.migrate().await.map_err(refused)?,
            MigrateStep::Revert => store.revert_last().await.map_err(refused)?,
            MigrateStep::Status => {}
        }
        for step in store.migrations_status().await.map_err(refused)? {
            let when = step
                .applied_at
                .map_or_else(|| "not applied".to_owned(), |at| format!("applied {}", at.format("%F %T UTC")));
            say(&format!("{:04}  {:<40} {when}", step.version, step.description));
        }
        Ok(())
    })
}

fn refused(error: StoreError) -> Failure {
    match error {
        StoreError::Forbidden(_) | StoreError::Unavailable(_) => foundation::failure(&error),
        other => Failure::Other(other.into()),
    }
}
