//! SQLite: its own copy of the whole file (`VACUUM INTO`), which is read as of one moment while others write.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sqlx::{ConnectOptions, SqlitePool, sqlite::SqliteConnectOptions};

use super::{
    BackupError,
    archive::{Reader, Writer, beside, new_private_file, sync_folder},
};
use crate::{StoreError, db::sqlite_options, migrate::lock_beside};

const SECTION: &str = "database";

/// A file that goes when nobody needs it any more.
struct Scratch(PathBuf);

pub(super) async fn save(pool: &SqlitePool, archive: &mut Writer) -> Result<(), BackupError> {
    let scratch = Scratch::new(archive.scratch())?;
    let copy = sqlx::query("VACUUM INTO $1").bind(scratch.0.to_string_lossy().into_owned());
    copy.execute(pool).await.map_err(StoreError::from)?;
    archive.begin(SECTION)?;
    let wrong = |error| BackupError::File { path: scratch.0.clone(), error };
    let mut file = File::open(&scratch.0).map_err(wrong)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).map_err(wrong)? {
            0 => break,
            read => archive.piece(&piece[..read])?,
        }
    }
    archive.end()
}

/// Writes the file beside its place, looks whether SQLite finds it good, and puts it there.
pub(super) async fn restore(url: &str, archive: &mut Reader) -> Result<(), BackupError> {
    let options = sqlite_options(url)?;
    let place = options.get_filename().to_path_buf();
    if url.contains(":memory:") {
        return Err(BackupError::NotEmpty("a database in memory is gone when this command is".to_owned()));
    }
    let _alone = lock_beside(&place).await?;
    for file in [place.clone(), beside(&place, "-wal")] {
        if fs::metadata(&file).is_ok_and(|there| there.len() > 0) {
            return Err(BackupError::NotEmpty(format!("{} is there", file.display())));
        }
    }
    let scratch = Scratch::new(beside(&place, ".restoring"))?;
    write_out(&scratch.0, archive)?;
    let is_good = is_good(&scratch.0).await.map_err(StoreError::from)?;
    if !is_good {
        return Err(archive.damaged("SQLite finds the database in it damaged"));
    }
    let placed = fs::rename(&scratch.0, &place).and_then(|()| sync_folder(&place));
    placed.map_err(|error| BackupError::File { path: place, error })
}

fn write_out(to: &Path, archive: &mut Reader) -> Result<(), BackupError> {
    if archive.section()?.as_deref() != Some(SECTION) {
        return Err(archive.damaged("it holds no database"));
    }
    let wrong = |error: io::Error| BackupError::File { path: to.to_owned(), error };
    let mut file = fs::OpenOptions::new().write(true).open(to).map_err(wrong)?;
    while let Some(piece) = archive.piece()? {
        file.write_all(&piece).map_err(wrong)?;
    }
    file.sync_all().map_err(wrong)
}

async fn is_good(file: &Path) -> Result<bool, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await?;
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await?;
    Ok(found == ["ok"])
}

// === impl Scratch ===

impl Scratch {
    fn new(path: PathBuf) -> Result<Self, BackupError> {
        new_private_file(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
