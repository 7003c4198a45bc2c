//! How a file looks, so that it is read again when it looks different, and not each time.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// When its content, its name or its rights last changed, in seconds and nanoseconds, and its length.
pub(crate) type Looks = (i64, i64, u64);

/// `None`: there is no such file, or nobody may ask.
pub(crate) fn looks(path: &Path) -> Option<Looks> {
    let file = fs::metadata(path).ok()?;
    Some((file.ctime(), file.ctime_nsec(), file.len()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_file_that_others_may_read_from_now_on_looks_different() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        assert_eq!(looks(&file), None);
        fs::write(&file, "a").unwrap();
        let before = looks(&file).unwrap();
        assert_eq!(looks(&file), Some(before));
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        assert_ne!(looks(&file), Some(before));
    }
}
