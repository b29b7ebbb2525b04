//! The data directory: its owner, whether it is still the one that was opened, the names in it, and how
//! damaged files are put aside.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::io::Errno;

use super::room::{self, Part, Room, Usage};

use crate::journal::JournalError;

/// The files that SQLite keeps beside a database, and the database itself.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// How many sets of damaged files are kept. The oldest go first.
const QUARANTINE_KEPT: usize = 5;

/// Takes a lock, if it is free within a second. A child that its owner started holds a copy of it until the
/// child has become another program.
fn lock_soon(lock: &File) -> rustix::io::Result<()> {
    for _ in 0..20 {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(50)),
            answer => return answer,
        }
    }
    flock(lock, FlockOperation::NonBlockingLockExclusive)
}

/// Device and number of a file: two paths that have the same lead to one file.
type Id = (u64, u64);

fn id(meta: &fs::Metadata) -> Id {
    (meta.dev(), meta.ino())
}

fn id_at(path: &Path) -> io::Result<Id> {
    fs::metadata(path).map(|meta| id(&meta))
}

/// The locks on one directory.
///
/// The lock on the directory itself counts. It holds even if its files change, and against processes that
/// come by another path. The lock on the file `lock` names the owner, and holds where the file system
/// cannot lock a directory.
#[derive(Debug)]
struct Claim {
    folder: File,
    folder_id: Id,
    lock: File,
    lock_id: Id,
}

impl Drop for Claim {
    /// Gives the locks up by name. Closing a file would leave its lock with a child that was forked at this
    /// very moment and still holds a copy.
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
        let _ = flock(&self.folder, FlockOperation::Unlock);
    }
}

impl Claim {
    /// Locks the directory at `dir`.
    fn take(dir: &Path) -> Result<Claim, JournalError> {
        let unusable = |reason: String| JournalError::Unusable { path: dir.display().to_string(), reason };
        let folder = File::open(dir).map_err(|e| unusable(format!("the directory cannot be opened: {e}")))?;
        let folder_id = folder.metadata().map(|meta| id(&meta)).map_err(|e| unusable(e.to_string()))?;
        match lock_soon(&folder) {
            Err(Errno::WOULDBLOCK) => return Err(unusable(used_by(&dir.join("lock")))),
            // Where directories cannot be locked the file has to do.
            Err(error) => tracing::debug!(%error, path = %dir.display(), "the directory cannot be locked"),
            Ok(()) => {}
        }
        let (lock, lock_id) = lock_file(dir)?;
        Ok(Claim { folder, folder_id, lock, lock_id })
    }
}

/// Opens and locks the file `lock` in `dir`, and writes the owner's process id into it.
fn lock_file(dir: &Path) -> Result<(File, Id), JournalError> {
    let path = dir.join("lock");
    let unusable = |reason: String| JournalError::Unusable { path: dir.display().to_string(), reason };
    let mut lock = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| unusable(format!("{} cannot be written: {e}", path.display())))?;
    match lock_soon(&lock) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(unusable(used_by(&path))),
        Err(e) => return Err(unusable(format!("{} cannot be locked: {e}", path.display()))),
    }
    // Only a help for people, and a full disk must not keep the program from starting.
    let named =
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    match named {
        Err(e) if e.kind() != io::ErrorKind::StorageFull => {
            return Err(unusable(format!("{} cannot be written: {e}", path.display())));
        }
        _ => {}
    }
    let lock_id = lock.metadata().map(|meta| id(&meta)).map_err(|e| unusable(e.to_string()))?;
    Ok((lock, lock_id))
}

/// Why a directory that is locked cannot be used. `lock` names the owner, if it is there.
fn used_by(lock: &Path) -> String {
    let mut pid = String::new();
    let _ = File::open(lock).and_then(|file| file.take(20).read_to_string(&mut pid));
    let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() };
    format!("another process (pid {pid}) uses it: stop that one, or use another --storage.path")
}

/// A directory that this process owns until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    dir: PathBuf,
    claim: Mutex<Claim>,
    /// Database, WAL and shared memory as the open journal has them.
    open: Mutex<Option<[Id; 3]>>,
    /// The database that was written anew, in place of the open one.
    saved: Mutex<Option<Id>>,
    room: Room,
}

impl DataDir {
    /// Creates `dir` if need be and takes its lock.
    ///
    /// # Errors
    /// [`JournalError::Unusable`] if the directory cannot be used, or another process owns it.
    pub fn claim(dir: &Path) -> Result<Arc<DataDir>, JournalError> {
        create(dir)?;
        let claim = Mutex::new(Claim::take(dir)?);
        Ok(Arc::new(DataDir {
            dir: dir.into(),
            claim,
            open: Mutex::default(),
            saved: Mutex::default(),
            room: Room::default(),
        }))
    }

    /// The bytes that the files take. It records them, and drops damaged files for which there is no room
    /// any more.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn measure(&self) -> io::Result<Usage> {
        let (mut usage, free) = (room::usage(&self.dir)?, room::free(&self.dir)?);
        self.room.measured(&usage, free);
        if usage.damaged > 0 && usage.total() > self.room.limit() && self.drop_oldest_damaged()? {
            self.room.trimmed(Part::Damaged, 1);
            usage = room::usage(&self.dir)?;
            self.room.measured(&usage, free);
        }
        Ok(usage)
    }

    /// Keeps a file that can be deleted once the disk is full, where there is room for it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_reserve(&self) -> io::Result<()> {
        let (path, wanted) = (self.dir.join(room::RESERVE), self.room.reserve());
        if path.exists() || room::free(&self.dir)? < wanted.saturating_mul(4) {
            return Ok(());
        }
        let file = File::create(&path)?;
        let done = fallocate(&file, FallocateFlags::empty(), 0, wanted);
        if done.is_err() {
            fs::remove_file(&path)?;
        }
        // A file system that cannot set space aside has no reserve.
        done.or_else(|e| if e == Errno::OPNOTSUPP { Ok(()) } else { Err(e.into()) })
    }

    /// Deletes the reserve if the disk is full, since the removal of old data has to write too.
    pub(super) fn make_room(&self) {
        let reserve = self.dir.join(room::RESERVE);
        if room::free(&self.dir).is_ok_and(|free| free < self.room.reserve())
            && fs::remove_file(&reserve).is_ok()
        {
            tracing::warn!(path = %reserve.display(), "the disk is full: the reserve is given up");
        }
        if let Err(error) = self.measure() {
            tracing::warn!(%error, path = %self.dir.display(), "the data directory cannot be measured");
        }
    }

    /// How much the files may take together: `storage.max_size`, in bytes.
    pub fn allow(&self, max_size: u64) {
        self.room.allow(max_size);
    }

    /// How much the files may take, in bytes: `storage.max_size`, or less where the file system is small.
    pub fn limit(&self) -> u64 {
        self.room.limit()
    }

    /// How much of that the decision log may take, in bytes.
    pub fn decision_log_room(&self) -> u64 {
        self.room.decision_log()
    }

    /// Decisions up to this row of the journal are in the decision log, and may leave the journal early.
    /// Before the first call all of them may.
    pub fn indexed(&self, row: i64) {
        self.room.index(row);
    }

    /// How many of `part` left before their time.
    pub fn trimmed(&self, part: Part) -> u64 {
        self.room.trimmed_total(part)
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Makes sure that this process owns the directory to which the path leads now: it may be another one
    /// than at the start. It gives the old one up only then.
    pub(super) fn hold_on(&self) -> Result<(), JournalError> {
        let mut claim = self.locked();
        if id_at(&self.dir).ok() != Some(claim.folder_id) {
            create(&self.dir)?;
            *claim = Claim::take(&self.dir)?;
        } else if id_at(&self.dir.join("lock")).ok() != Some(claim.lock_id) {
            (claim.lock, claim.lock_id) = lock_file(&self.dir)?;
        }
        Ok(())
    }

    /// The journal is open on the files that are there now.
    pub(super) fn opened(&self) -> Result<(), JournalError> {
        let ids = PARTS.map(|part| id_at(&with_suffix(&self.db(), part)));
        let [Ok(db), Ok(wal), Ok(shm)] = ids else {
            return Err(self.unusable("the files that were opened are not there any more"));
        };
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some([db, wal, shm]);
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// No journal is open.
    pub(super) fn closed(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Puts the draft, which holds all data of the open files, in the place of the current files.
    pub(super) fn replace_by_draft(&self) -> io::Result<()> {
        let db = self.db();
        let open = *self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Ok(there), Some([open, ..])) = (id_at(&db), open)
            && there == open
        {
            // The draft has all of it. It would be taken for a damaged one.
            self.ready_draft()?;
            for part in PARTS {
                match fs::remove_file(with_suffix(&db, part)) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            self.finish_repair()?;
        } else {
            self.install_draft()?;
        }
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(id_at(&db)?);
        Ok(())
    }

    /// Whether the database that was written anew is there.
    pub(super) fn is_saved(&self) -> bool {
        let saved = *self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        saved.is_some() && id_at(&self.db()).ok() == saved
    }

    /// Whether the names still lead to the files of the open journal. A commit into other files is not
    /// durable.
    ///
    /// # Errors
    /// [`JournalError::Gone`] says which one is not.
    pub fn check(&self) -> Result<(), JournalError> {
        let open = *self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (part, id) in PARTS.iter().zip(open.iter().flatten()) {
            let path = with_suffix(&self.db(), part);
            let reason = match id_at(&path) {
                Ok(found) if found == *id => continue,
                Ok(_) => "is another file than the one that is open".to_owned(),
                Err(e) => format!("is not there any more: {e}"),
            };
            return Err(JournalError::Gone(format!("{} {reason}", path.display())));
        }
        Ok(())
    }

    /// Bytes of the journal's WAL.
    pub(super) fn wal_size(&self) -> u64 {
        fs::metadata(with_suffix(&self.db(), "-wal")).map_or(0, |meta| meta.len())
    }

    fn locked(&self) -> MutexGuard<'_, Claim> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database.
    pub fn db(&self) -> PathBuf {
        self.dir.join("squelch.db")
    }

    /// A new database while it is being filled. It is worth nothing until then.
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

    /// Removes the rest of an interrupted repair's draft.
    pub fn clear_draft(&self) -> io::Result<()> {
        for part in PARTS {
            match fs::remove_file(with_suffix(&self.draft(), part)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the draft, closed and without a WAL, in the place of the damaged files, and returns the new
    /// place of those. After a crash on the way, `finish_repair` completes it at the next start.
    pub fn install_draft(&self) -> io::Result<PathBuf> {
        self.ready_draft()?;
        self.finish_repair()?.ok_or_else(|| io::Error::other("the rebuilt file has vanished"))
    }

    /// Whether there is a journal, or the rest of one.
    pub(super) fn has_journal(&self) -> bool {
        let there = |path: PathBuf| fs::symlink_metadata(path).is_ok();
        // A process that only reads a journal leaves an empty WAL.
        there(self.rebuilt()) || there(self.db()) || self.wal_size() > 0
    }

    /// Gives the draft, closed and without a WAL, its name where there is no journal.
    pub(super) fn install_new(&self) -> io::Result<()> {
        self.ready_draft()?;
        for part in ["-wal", "-shm"] {
            match fs::remove_file(with_suffix(&self.db(), part)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        fs::rename(self.rebuilt(), self.db())?;
        sync_dir(&self.dir)
    }

    /// Makes the draft durable under the name that says that it is complete.
    fn ready_draft(&self) -> io::Result<()> {
        File::open(self.draft())?.sync_all()?;
        fs::rename(self.draft(), self.rebuilt())?;
        sync_dir(&self.dir)
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

    /// Keeps a copy of the files, before SQLite drops the parts that it does not trust.
    pub fn copy_aside(&self) -> io::Result<PathBuf> {
        let aside = self.set_aside(|from, to| fs::copy(from, to).map(drop))?;
        sync_dir(&self.dir)?;
        Ok(aside)
    }

    fn set_aside(&self, put: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<PathBuf> {
        let taken = self.damaged()?;
        let aside = self.damaged_at(taken.last().map_or(1, |n| n.saturating_add(1)));
        for part in PARTS {
            let from = with_suffix(&self.db(), part);
            if from.exists() {
                put(&from, &with_suffix(&aside, part))?;
            }
        }
        let surplus = (taken.len() + 1).saturating_sub(QUARANTINE_KEPT);
        for old in taken.iter().take(surplus) {
            self.drop_damaged(*old);
        }
        Ok(aside)
    }

    /// The numbers of the damaged files that are kept, oldest first.
    fn damaged(&self) -> io::Result<Vec<u64>> {
        let mut taken: Vec<u64> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("squelch.db.corrupt-"));
            taken.extend(number.and_then(|n| n.split('-').next()).and_then(|n| n.parse::<u64>().ok()));
        }
        taken.sort_unstable();
        taken.dedup();
        Ok(taken)
    }

    fn damaged_at(&self, number: u64) -> PathBuf {
        self.dir.join(format!("squelch.db.corrupt-{number}"))
    }

    fn drop_damaged(&self, number: u64) {
        let path = self.damaged_at(number);
        tracing::warn!(path = %path.display(), "removing the oldest damaged files that were kept");
        for part in PARTS {
            let _ = fs::remove_file(with_suffix(&path, part));
        }
    }

    /// False if there are none.
    fn drop_oldest_damaged(&self) -> io::Result<bool> {
        let oldest = self.damaged()?.first().copied();
        oldest.into_iter().for_each(|number| self.drop_damaged(number));
        Ok(oldest.is_some())
    }
}

/// Creates the directory if it is missing.
fn create(dir: &Path) -> Result<(), JournalError> {
    let unusable = |reason: String| JournalError::Unusable { path: dir.display().to_string(), reason };
    let new = !dir.exists();
    // Alerts name hosts and customers, so other users of the machine must not read them.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .map_err(|e| unusable(format!("the directory cannot be created: {e}")))?;
    if new && let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        sync_dir(parent).map_err(|e| unusable(format!("the directory above cannot be synced: {e}")))?;
    }
    Ok(())
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
