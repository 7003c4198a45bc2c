//! Passwords that were stolen from others (OWASP ASVS 6.2.12): a file of their SHA-1s in order, as Pwned Passwords is downloaded ("ordered by
//! hash"), in which a password is looked up by bisection. Such a file has some 40 GB; nothing of it is kept in memory, and nobody is asked.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use identity::{Password, PasswordError};

/// Hexadecimal digits of a SHA-1.
const DIGITS: usize = 40;
/// The longest line: a hash, a colon, how often it was seen, and an end (CR LF).
const LINE: usize = 64;

/// A file of stolen passwords. Cheap to clone; equal to another one of the same path.
#[derive(Clone, Debug)]
pub struct Breached(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    length: u64,
}

// === impl Breached ===

impl Breached {
    /// Opens the file. [`io::ErrorKind::InvalidData`] unless it begins and ends with hashes, the lower one first.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let this = Self(Arc::new(Inner { path: path.to_owned(), file, length }));
        let (_, first) = this.line_from(0)?.ok_or_else(no_hashes)?;
        let (_, last) = this.line_from(length.saturating_sub(LINE as u64))?.ok_or_else(no_hashes)?;
        if first <= last { Ok(this) } else { Err(no_hashes()) }
    }

    /// Is the password, as it was typed, none of them? Blocks, for some forty short reads.
    pub fn check(&self, password: &Password) -> io::Result<Result<(), PasswordError>> {
        let found = self.holds(&password.sha1())?;
        Ok(if found { Err(PasswordError::Breached) } else { Ok(()) })
    }

    fn holds(&self, wanted: &[u8; DIGITS]) -> io::Result<bool> {
        // The line, if it is there, begins within these.
        let (mut from, mut to) = (0, self.0.length);
        while from < to {
            let middle = from + (to - from) / 2;
            match self.line_from(middle)? {
                Some((begin, hash)) if begin < to => match hash.cmp(wanted) {
                    std::cmp::Ordering::Equal => return Ok(true),
                    std::cmp::Ordering::Less => from = begin + 1,
                    std::cmp::Ordering::Greater => to = middle,
                },
                _ => to = middle,
            }
        }
        Ok(false)
    }

    /// The first line that begins at `place` or after it: where it begins, and its hash. `None`: there is none.
    fn line_from(&self, place: u64) -> io::Result<Option<(u64, [u8; DIGITS])>> {
        // From the byte before, which ends the line before if one begins here.
        let start = place.saturating_sub(1);
        let mut bytes = [0; 2 * LINE];
        let read = self.read(&mut bytes, start)?;
        let bytes = &bytes[..read];
        let skipped = match (place, bytes.iter().position(|byte| *byte == b'\n')) {
            (0, _) => 0,
            (_, Some(end)) => end + 1,
            (_, None) if start + read as u64 == self.0.length => return Ok(None),
            (_, None) => return Err(no_hashes()),
        };
        let begin = start + skipped as u64;
        if begin >= self.0.length {
            return Ok(None);
        }
        let line = &bytes[skipped..];
        let is_over = matches!(line.get(DIGITS), None | Some(b':' | b'\r' | b'\n'));
        let hash = line.get(..DIGITS).filter(|hash| is_over && hash.iter().all(u8::is_ascii_hexdigit));
        let hash: [u8; DIGITS] = hash.and_then(|hash| hash.try_into().ok()).ok_or_else(no_hashes)?;
        Ok(Some((begin, hash.map(|digit| digit.to_ascii_uppercase()))))
    }

    fn read(&self, bytes: &mut [u8], mut place: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match self.0.file.read_at(&mut bytes[read..], place)? {
                0 => break,
                some => (read, place) = (read + some, place + some as u64),
            }
        }
        Ok(read)
    }
}

impl PartialEq for Breached {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for Breached {}

fn no_hashes() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its lines are not SHA-1s in order, such as Pwned Passwords has them")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap()
    }

    fn file(text: &str) -> (tempfile::TempDir, io::Result<Breached>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("breached");
        std::fs::write(&path, text).unwrap();
        let opened = Breached::open(&path);
        (folder, opened)
    }

    #[test]
    fn each_password_of_the_file_is_found_and_no_other() {
        for end in ["\r\n", "\n"] {
            let stolen: Vec<String> = (0..400).map(|number| format!("stolen password {number}")).collect();
            let mut lines: Vec<String> = stolen
                .iter()
                .enumerate()
                .map(|(number, one)| {
                    format!("{}:{}", String::from_utf8_lossy(&password(one).sha1()), 10_u64.pow(number as u32 % 9))
                })
                .collect();
            lines.sort_unstable();
            for text in [lines.join(end) + end, lines.join(end)] {
                let (_folder, breached) = file(&text);
                let breached = breached.unwrap();
                for one in &stolen {
                    assert_eq!(breached.check(&password(one)).unwrap(), Err(PasswordError::Breached), "{one}");
                }
                for number in 400..800 {
                    let other = format!("stolen password {number}");
                    assert_eq!(breached.check(&password(&other)).unwrap(), Ok(()), "{other}");
                }
            }
        }
    }

    #[test]
    fn the_hash_is_that_of_the_published_lists() {
        // SHA-1 of "password", the best known line of all.
        assert_eq!(&password("password").sha1(), b"5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
        let (_folder, one) = file("5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8\n");
        assert_eq!(one.unwrap().check(&password("password")).unwrap(), Err(PasswordError::Breached));
    }

    #[test]
    fn what_is_no_such_file_is_refused_when_it_is_opened() {
        let low = "00000000A8DAE4228F821FB418F59826079BF368:3";
        let high = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:3";
        assert!(file(&format!("{low}\n{high}\n")).1.is_ok());
        for wrong in ["", "password\n", "5BAA61E4C9B93F3F:3\n", &format!("{high}\n{low}\n"), &low.replace(":3", "x")] {
            assert_eq!(file(wrong).1.unwrap_err().kind(), io::ErrorKind::InvalidData, "{wrong}");
        }
    }
}
