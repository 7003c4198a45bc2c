//! `portcullis check`: every error with its place; then certificates that could not be shown and cases that fail; then the table of who may call what.

use policies::matrix;

use super::{say, shown};
use crate::{
    cli::{Failure, Folder},
    config::{ConfigFolder, load},
    serving::must_hold,
};

pub(crate) fn run(folder: &Folder) -> Result<(), Failure> {
    let folder = folder.open();
    let config = load(&folder).map_err(|wrong| Failure::Config(wrong.iter().map(ToString::to_string).collect()))?;
    must_hold(&config)?;
    say(&matrix::table(&config.policy));
    let name = match &folder {
        ConfigFolder::Embedded => "the built-in configuration".to_owned(),
        ConfigFolder::Path(path) => shown(path),
    };
    say(&format!("{name}: no error, {} cases hold", config.cases.len()));
    Ok(())
}
