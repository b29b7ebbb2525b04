//! The directory: its lock, the names in it, and how damaged files are put aside.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::journal::JournalError;

/// What SQLite keeps beside a database, and the database itself.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// How many sets of damaged files are kept; the oldest give way.
const QUARANTINE_KEPT: usize = 5;

/// Takes the lock, if it is free within a second: a child that its owner started holds a copy of it for
/// as long as it takes to become another program.
fn lock_soon(lock: &File) -> rustix::io::Result<()> {
    for _ in 0..20 {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(50)),
            answer => return answer,
        }
    }
    flock(lock, FlockOperation::NonBlockingLockExclusive)
}

/// A directory that this process owns until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    lock: File,
}

impl Drop for Place {
    /// Gives the lock up by name: closing the file leaves it with a child that was forked at this
    /// very moment and still holds a copy.
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl Place {
    /// Creates `dir` if need be and takes its lock.
    pub fn take(dir: &Path) -> Result<Place, JournalError> {
        let unusable = |reason: String| JournalError::Unusable { path: dir.display().to_string(), reason };
        let new = !dir.exists();
        // Alerts name hosts and customers: nobody else's business.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(|e| unusable(format!("the directory cannot be created: {e}")))?;
        if new && let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent).map_err(|e| unusable(format!("the directory above cannot be synced: {e}")))?;
        }
        let path = dir.join("lock");
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| unusable(format!("{} cannot be written: {e}", path.display())))?;
        if let Err(e) = lock_soon(&lock) {
            if e != rustix::io::Errno::WOULDBLOCK {
                return Err(unusable(format!("{} cannot be locked: {e}", path.display())));
            }
            let mut pid = String::new();
            let _ = (&lock).take(20).read_to_string(&mut pid);
            return Err(unusable(format!(
                "another process (pid {}) uses it: stop that one, or use another --storage.path",
                if pid.trim().is_empty() { "unknown" } else { pid.trim() }
            )));
        }
        // Only a help for people: the lock is what counts.
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(|e| unusable(format!("{} cannot be written: {e}", path.display())))?;
        Ok(Place { dir: dir.into(), lock })
    }

    /// The database.
    pub fn db(&self) -> PathBuf {
        self.dir.join("squelch.db")
    }

    /// A new database while it is being filled; worth nothing.
    pub fn draft(&self) -> PathBuf {
        self.dir.join("squelch.db.draft")
    }

    /// A new database, complete, that has yet to take the place of the damaged one.
    fn rebuilt(&self) -> PathBuf {
        self.dir.join("squelch.db.rebuilt")
    }

    /// An error about this place.
    pub fn unusable(&self, reason: impl Into<String>) -> JournalError {
        JournalError::Unusable { path: self.db().display().to_string(), reason: reason.into() }
    }

    /// Removes what an interrupted repair left of its draft.
    pub fn clear_draft(&self) -> io::Result<()> {
        for part in PARTS {
            match fs::remove_file(with_suffix(&self.draft(), part)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the draft, closed and without a WAL, in the place of the damaged files; gives where those
    /// are now. A crash on the way is made good by [`Place::finish_repair`] at the next start.
    pub fn install_draft(&self) -> io::Result<PathBuf> {
        File::open(self.draft())?.sync_all()?;
        fs::rename(self.draft(), self.rebuilt())?;
        sync_dir(&self.dir)?;
        self.finish_repair()?.ok_or_else(|| io::Error::other("the rebuilt file has vanished"))
    }

    /// Ends a repair whose new file is complete, if there is one.
    ///
    /// The old WAL must be gone before the new file takes its name: SQLite would replay it into it.
    pub fn finish_repair(&self) -> io::Result<Option<PathBuf>> {
        if !self.rebuilt().exists() {
            return Ok(None);
        }
        let aside = self.set_aside(|from, to| fs::rename(from, to))?;
        sync_dir(&self.dir)?;
        fs::rename(self.rebuilt(), self.db())?;
        sync_dir(&self.dir)?;
        Ok(Some(aside))
    }

    /// Keeps a copy of the files as they are, before SQLite drops what it does not trust.
    pub fn copy_aside(&self) -> io::Result<PathBuf> {
        let aside = self.set_aside(|from, to| fs::copy(from, to).map(drop))?;
        sync_dir(&self.dir)?;
        Ok(aside)
    }

    fn set_aside(&self, put: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<PathBuf> {
        let mut taken: Vec<u64> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("squelch.db.corrupt-"));
            taken.extend(number.and_then(|n| n.split('-').next()).and_then(|n| n.parse::<u64>().ok()));
        }
        taken.sort_unstable();
        taken.dedup();
        let name = |n: u64| self.dir.join(format!("squelch.db.corrupt-{n}"));
        let aside = name(taken.last().map_or(1, |n| n.saturating_add(1)));
        for part in PARTS {
            let from = with_suffix(&self.db(), part);
            if from.exists() {
                put(&from, &with_suffix(&aside, part))?;
            }
        }
        let surplus = (taken.len() + 1).saturating_sub(QUARANTINE_KEPT);
        for old in taken.iter().take(surplus) {
            tracing::warn!(path = %name(*old).display(), "removing the oldest quarantined store");
            for part in PARTS {
                let _ = fs::remove_file(with_suffix(&name(*old), part));
            }
        }
        Ok(aside)
    }
}

/// `path` with `suffix` added to its name, as SQLite names its side files.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes names in `dir` durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
