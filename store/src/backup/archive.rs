//! The file that a backup is: what it is of, then the tables, then the digest of all before it.
//!
//! ```text
//! portcullis backup 1
//! engine postgres
//! taken 2026-11-28T12:00:00Z
//! step 1 9f86d081…                  one line for each step of the migrations, with its checksum
//!                                   an empty line
//! sections: u16 length of its name, its name, then pieces: u32 length and so many bytes; a piece of length 0 ends it
//! u16 0, and the SHA-256 of all before it
//! ```
//! Numbers are big-endian. The digest finds what was cut off or changed by chance; whoever can write the file can make another.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, SecondsFormat, Utc};

use super::BackupError;

const TITLE: &str = "portcullis backup 1";
const DIGEST_LENGTH: u64 = 32;
/// Of a piece that is written at once.
const PIECE: usize = 1 << 20;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) engine: String,
    pub(super) taken_at: DateTime<Utc>,
    /// Versions and checksums of the steps that made the tables.
    pub(super) steps: Vec<(i64, String)>,
}

/// Writes a backup beside its place, and puts it there when it is whole.
pub(super) struct Writer {
    to: PathBuf,
    draft: PathBuf,
    file: BufWriter<File>,
    digest: Context,
    bytes: u64,
}

/// Reads a backup that was found to be whole.
pub(super) struct Reader {
    pub(super) head: Head,
    path: PathBuf,
    file: BufReader<File>,
    bytes: u64,
}

// === impl Writer ===

impl Writer {
    pub(super) fn create(to: &Path, head: &Head) -> Result<Self, BackupError> {
        if to.exists() {
            let error = io::Error::new(io::ErrorKind::AlreadyExists, "it is there already; nothing was written");
            return Err(BackupError::File { path: to.to_owned(), error });
        }
        let draft = beside(to, ".part");
        let file = new_private_file(&draft).map_err(|error| match error {
            // Nobody has asked for the draft, unless one is left that is in the way.
            BackupError::File { error, .. } if error.kind() != io::ErrorKind::AlreadyExists => {
                BackupError::File { path: to.to_owned(), error }
            }
            other => other,
        })?;
        let (file, digest) = (BufWriter::new(file), Context::new(&SHA256));
        let mut writer = Self { to: to.to_owned(), draft, file, digest, bytes: 0 };
        let taken = head.taken_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        writer.write(format!("{TITLE}\nengine {}\ntaken {taken}\n", head.engine).as_bytes())?;
        for (version, sum) in &head.steps {
            writer.write(format!("step {version} {sum}\n").as_bytes())?;
        }
        writer.write(b"\n")?;
        Ok(writer)
    }

    /// Where a section's content may be made before it is copied in.
    pub(super) fn scratch(&self) -> PathBuf {
        beside(&self.to, ".scratch")
    }

    /// Begins a section. Names are ours, and short.
    pub(super) fn begin(&mut self, name: &str) -> Result<(), BackupError> {
        self.write(&(name.len() as u16).to_be_bytes())?;
        self.write(name.as_bytes())
    }

    pub(super) fn piece(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        for piece in bytes.chunks(PIECE) {
            self.write(&(piece.len() as u32).to_be_bytes())?;
            self.write(piece)?;
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), BackupError> {
        self.write(&0_u32.to_be_bytes())
    }

    /// On the disk and in its place, or not there at all; gives its size.
    pub(super) fn finish(mut self) -> Result<u64, BackupError> {
        self.write(&0_u16.to_be_bytes())?;
        let digest = self.digest.clone().finish();
        let placed = (|| {
            self.file.write_all(digest.as_ref())?;
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            // Unlike a renaming this takes nobody's place.
            fs::hard_link(&self.draft, &self.to)?;
            sync_folder(&self.to)
        })();
        placed.map_err(|error| BackupError::File { path: self.to.clone(), error })?;
        Ok(self.bytes + DIGEST_LENGTH)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| BackupError::File { path: self.to.clone(), error })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.draft));
    }
}

// === impl Reader ===

impl Reader {
    /// Reads the whole file once, to know that nothing is missing before anything is done with it.
    pub(super) fn open(path: &Path) -> Result<Self, BackupError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|error| BackupError::File { path: path.to_owned(), error })?;
        let damaged = |what| BackupError::Damaged { path: path.to_owned(), what };
        let mut file = BufReader::with_capacity(PIECE, file);
        let whole = bytes.checked_sub(DIGEST_LENGTH).ok_or(damaged("this is no backup"))?;
        let head = read_head(&mut file).ok_or(damaged("this is no backup that this version can read"))?;
        let at = file.stream_position().and_then(|at| file.rewind().map(|()| at));
        let is_whole =
            is_whole(&mut file, whole).map_err(|error| BackupError::File { path: path.to_owned(), error })?;
        if !is_whole {
            return Err(damaged("the backup is not what it was when it was made: its digest is another"));
        }
        let back = at.and_then(|at| file.seek(io::SeekFrom::Start(at)));
        back.map_err(|error| BackupError::File { path: path.to_owned(), error })?;
        Ok(Self { head, path: path.to_owned(), file, bytes })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The name of the next section; `None` after the last.
    pub(super) fn section(&mut self) -> Result<Option<String>, BackupError> {
        let length = u16::from_be_bytes(self.take()?);
        let mut name = vec![0; length.into()];
        self.file.read_exact(&mut name).map_err(|_| self.damaged("it ends too early"))?;
        let name = String::from_utf8(name).map_err(|_| self.damaged("a section has no name"))?;
        Ok((length > 0).then_some(name))
    }

    /// The next piece of the section; `None` after the last.
    pub(super) fn piece(&mut self) -> Result<Option<Vec<u8>>, BackupError> {
        let length = u32::from_be_bytes(self.take()?) as usize;
        if length > PIECE {
            return Err(self.damaged("a piece is too long"));
        }
        let mut piece = vec![0; length];
        self.file.read_exact(&mut piece).map_err(|_| self.damaged("it ends too early"))?;
        Ok((length > 0).then_some(piece))
    }

    pub(super) fn damaged(&self, what: &'static str) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), what }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|_| self.damaged("it ends too early"))?;
        Ok(bytes)
    }
}

fn is_whole(file: &mut BufReader<File>, whole: u64) -> io::Result<bool> {
    let mut digest = Context::new(&SHA256);
    let mut content = Read::take(&mut *file, whole);
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece)? {
            0 => break,
            read => digest.update(&piece[..read]),
        }
    }
    let mut said = Vec::new();
    file.read_to_end(&mut said)?;
    Ok(digest.finish().as_ref() == said)
}

/// `None` if it is not what we write.
fn read_head(file: &mut impl BufRead) -> Option<Head> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        // No line of ours is longer, and no head has more of them.
        Read::take(&mut *file, 512).read_line(&mut line).ok()?;
        match line.strip_suffix('\n')? {
            "" => break,
            line if lines.len() < 10_000 => lines.push(line.to_owned()),
            _ => return None,
        }
    }
    let [title, engine, taken, steps @ ..] = lines.as_slice() else { return None };
    let step = |line: &String| {
        let (version, sum) = line.strip_prefix("step ")?.split_once(' ')?;
        Some((version.parse().ok()?, sum.to_owned()))
    };
    (title == TITLE).then_some(())?;
    Some(Head {
        engine: engine.strip_prefix("engine ")?.to_owned(),
        taken_at: taken.strip_prefix("taken ")?.parse().ok()?,
        steps: steps.iter().map(step).collect::<Option<_>>()?,
    })
}

/// A file that was not there, for us alone.
pub(super) fn new_private_file(path: &Path) -> Result<File, BackupError> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| BackupError::File { path: path.to_owned(), error })
}

/// A name has reached the disk when its folder has.
pub(super) fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
