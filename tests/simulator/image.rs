//! The files of the SQLite journal as a crash may leave them: the image of the last sync, and any part of
//! the later writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use squelch::journal::{Journal, JournalError, SqliteJournal};
use tempfile::TempDir;

use crate::rng::Rng;

const SECTOR: usize = 512;
/// The shared-memory index is no file of the disk: SQLite builds it anew.
const PARTS: [&str; 2] = ["squelch.db", "squelch.db-wal"];

type Image = BTreeMap<&'static str, Vec<u8>>;

/// A directory with a journal in it, replaced by another one at each crash.
pub struct Files {
    dir: TempDir,
    /// The content of the directory before the write under way. All of it was synced.
    last: Image,
    /// The files that the next start finds, if the process is dead.
    crashed: Option<Image>,
}

impl Files {
    pub fn new() -> Files {
        Files { dir: directory(), last: Image::new(), crashed: None }
    }

    /// Opens the files. After a crash it uses a new directory, since the dead process' handle lives on.
    pub fn open(&mut self) -> Result<Box<dyn Journal>, JournalError> {
        if let Some(image) = self.crashed.take() {
            self.dir = directory();
            for (name, bytes) in &image {
                let _ = std::fs::write(self.dir.path().join(name), bytes);
            }
        }
        Ok(Box::new(SqliteJournal::open(self.dir.path())?))
    }

    /// A write that will be torn is about to begin.
    pub fn before(&mut self) {
        self.last = image(self.dir.path());
    }

    /// The machine died in the write that has just been made: of its sectors some are there.
    pub fn tear(&mut self, rng: &mut Rng) {
        let after = image(self.dir.path());
        let mut torn = self.last.clone();
        for (name, new) in after {
            let old = torn.entry(name).or_default();
            let length = if rng.once_in(4) { old.len() } else { new.len() };
            let was = old.len();
            old.resize(was.max(new.len()), 0);
            let sectors = new.chunks(SECTOR).enumerate().map(|(n, sector)| (n * SECTOR, sector));
            let changed: Vec<(usize, &[u8])> =
                sectors.filter(|(at, sector)| old[*at..*at + sector.len()] != **sector).collect();
            // All of a prefix, and of the rest nothing, or each sector or not: disks reorder unsynced
            // writes.
            let (prefix, reorders) = (rng.index(changed.len() + 1), rng.once_in(2));
            for (n, (at, sector)) in changed.into_iter().enumerate() {
                if n < prefix || (reorders && rng.once_in(2)) {
                    old[at..at + sector.len()].copy_from_slice(sector);
                }
            }
            old.truncate(length.max(was));
        }
        torn.retain(|_, bytes| !bytes.is_empty());
        self.crashed = Some(torn);
    }

    /// The process died and the machine did not: the files are as they were written.
    pub fn killed(&mut self) {
        if self.crashed.is_none() {
            self.crashed = Some(image(self.dir.path()));
        }
    }
}

fn directory() -> TempDir {
    // Syncs cost nothing in memory. The images play their promise.
    let memory = PathBuf::from("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    dir.unwrap_or_else(|e| panic!("no directory for a journal: {e}"))
}

fn image(dir: &Path) -> Image {
    PARTS.iter().filter_map(|name| Some((*name, std::fs::read(dir.join(name)).ok()?))).collect()
}
