//! Hears that the files of a configuration change, and in whose place others are put.

use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::mpsc;

use crate::config::files_of;

/// A folder that is watched, and files to which links in it lead: their folders, since orchestrators and editors replace files by renaming.
pub(super) struct Watched<'a> {
    path: &'a Path,
    notice: mpsc::Sender<()>,
    /// The folder and its files, as they were.
    there: Vec<Option<There>>,
    /// Of what was there last, or before: of that it is still told if the rest cannot be watched.
    watcher: Option<RecommendedWatcher>,
    /// Could what is there now not be watched?
    is_deaf: bool,
}

/// Where something is, wherever links lead, and which one that is, by device and number.
#[derive(PartialEq, Eq)]
struct There {
    path: PathBuf,
    number: (u64, u64),
}

// === impl Watched ===

impl<'a> Watched<'a> {
    pub(super) fn new(path: &'a Path, notice: mpsc::Sender<()>) -> Self {
        let mut watched = Self { path, notice, there: Vec::new(), watcher: None, is_deaf: false };
        watched.begin();
        watched
    }

    /// Watches what is there now. What was watched before is let go only then: between them nothing is missed.
    pub(super) fn begin(&mut self) {
        self.there = self.look();
        let paths = self.there.iter().flatten().map(|there| there.path.clone()).collect();
        let was_deaf = self.is_deaf;
        match watch(paths, self.notice.clone()) {
            Ok(watcher) => (self.watcher, self.is_deaf) = (Some(watcher), false),
            Err(error) => {
                self.is_deaf = true;
                if !was_deaf {
                    tracing::error!(%error, "the configuration folder cannot be watched; it is tried every second");
                }
            }
        }
    }

    /// Can it be watched now, where it could not? Who knows what happened meanwhile.
    pub(super) fn hears_again(&mut self) -> bool {
        let was_deaf = self.is_deaf;
        if was_deaf {
            self.begin();
        }
        was_deaf && !self.is_deaf
    }

    /// Is there another folder or file than what is watched? Between two there may be none for a moment.
    pub(super) fn is_replaced(&self) -> bool {
        self.look().iter().zip(&self.there).any(|(now, before)| now.is_some() && now != before)
    }

    fn look(&self) -> Vec<Option<There>> {
        [self.path.to_owned()].into_iter().chain(files_of(self.path)).map(|path| There::at(&path)).collect()
    }
}

// === impl There ===

impl There {
    fn at(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let found = path.metadata().ok()?;
        Some(Self { path, number: (found.dev(), found.ino()) })
    }
}

/// Watches a folder, the first of these, with all that is in it, and of what is elsewhere these files alone.
fn watch(paths: Vec<PathBuf>, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let folder = paths.first().cloned().ok_or_else(notify::Error::path_not_found)?;
    let linked: BTreeSet<PathBuf> = paths.iter().skip(1).filter_map(|file| Some(file.parent()?.to_owned())).collect();
    let is_ours = {
        let folder = folder.clone();
        move |path: &PathBuf| path.parent() == Some(folder.as_path()) || paths.contains(path)
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An event of no path: some were lost.
        let is_ours = |event: &notify::Event| event.paths.is_empty() || event.paths.iter().any(&is_ours);
        if event.is_ok_and(|event| is_whole(event.kind) && is_ours(&event)) {
            // A change that is waiting already stands for this one too.
            let _ = changed.try_send(());
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    for linked in linked.iter().filter(|linked| **linked != folder) {
        if let Err(error) = watcher.watch(linked, RecursiveMode::NonRecursive) {
            tracing::error!(%error, "a folder that links of the configuration lead to cannot be watched");
        }
    }
    Ok(watcher)
}

/// Is there something to read? Half a file may be a valid one that demands less. On Linux it is told when who has written it closes it.
fn is_whole(change: EventKind) -> bool {
    match change {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => !cfg!(target_os = "linux"),
        _ => true,
    }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use std::{fs::File, io::Write};

    use super::*;

    /// What the system tells of the folder, up to the end of what is done in it.
    fn told(done: impl FnOnce(&Path)) -> Vec<EventKind> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), "begin").unwrap();
        let (sender, events) = std::sync::mpsc::channel();
        let mut watcher = notify::recommended_watcher(move |event| drop(sender.send(event))).unwrap();
        watcher.watch(folder.path(), RecursiveMode::NonRecursive).unwrap();
        done(folder.path());
        std::fs::create_dir(folder.path().join("end")).unwrap();
        let kinds = events.iter().map(|event: notify::Result<notify::Event>| event.unwrap());
        kinds
            .take_while(|event| !event.paths.iter().any(|path| path.ends_with("end")))
            .map(|event| event.kind)
            .collect()
    }

    #[test]
    fn a_file_is_whole_when_its_writer_closes_it_or_another_takes_its_place() {
        let half = told(|folder| {
            let mut file = File::options().write(true).truncate(true).open(folder.join("gateway.toml")).unwrap();
            file.write_all(b"half").unwrap();
            // Its writer goes on after the test.
            std::mem::forget(file);
        });
        assert!(!half.is_empty() && !half.iter().any(|kind| is_whole(*kind)), "{half:?}");
        let written = told(|folder| std::fs::write(folder.join("gateway.toml"), "whole").unwrap());
        assert_eq!(written.iter().filter(|kind| is_whole(**kind)).count(), 1, "{written:?}");
        let renamed = told(|folder| std::fs::rename(folder.join("gateway.toml"), folder.join("other.toml")).unwrap());
        assert!(renamed.iter().any(|kind| is_whole(*kind)), "{renamed:?}");
    }
}
