//! `portcullis check`: every error with its place, then certificates that could not be shown, then the cases, then the table of who may call what.

use policies::matrix;

use super::{say, shown};
use crate::{
    cli::{Failure, Folder},
    config::{ConfigFolder, load},
    serving::tls_server,
};

pub(crate) fn run(folder: &Folder) -> Result<(), Failure> {
    let folder = folder.open();
    let config = load(&folder).map_err(|wrong| Failure::Config(wrong.iter().map(ToString::to_string).collect()))?;
    if config.settings.listen.https.is_some() {
        tls_server(&config.settings.tls)?;
    }
    config.try_cases().map_err(Failure::Config)?;
    say(&matrix::table(&config.policy));
    let name = match &folder {
        ConfigFolder::Embedded => "the built-in configuration".to_owned(),
        ConfigFolder::Path(path) => shown(path),
    };
    say(&format!("{name}: no error, {} cases hold", config.cases.len()));
    Ok(())
}
