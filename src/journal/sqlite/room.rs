//! The size of the data directory on disk, its bound, and the parts of that bound.
//!
//! `storage.max_size` bounds all files together: the journal, the decision log, damaged files that are
//! kept, and the reserve. A file system with less room than that lowers the bound. The decision log may
//! take half of it, and the journal whatever the other files leave.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rustix::fs::statvfs;

/// An eighth of the file system's space for this directory stays free, and at most this much. The writes
/// between two measurements must fit.
const SPARE_MOST: u64 = 64 << 20;

/// The file that is deleted to make room on a full disk.
pub(super) const RESERVE: &str = "reserve";

/// The reserve has so many bytes at most.
const RESERVE_MOST: u64 = 4 << 20;

/// A WAL is copied into its file when it has more bytes than this, on an ordinary disk.
const WAL_MOST: u64 = 4 << 20;

/// Data that leaves the data directory before its time because of `storage.max_size`. The first goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Damaged files that were kept, the oldest set first.
    Damaged,
    /// Events that the newest snapshot contains.
    Events,
    /// Decisions in the journal that the decision log has.
    Decisions,
    /// Notifications that were delivered.
    Notifications,
}

impl Part {
    /// All of them, in the order in which they leave.
    pub const ALL: [Part; 4] = [Part::Damaged, Part::Events, Part::Decisions, Part::Notifications];

    /// Its label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Damaged => "damaged",
            Part::Events => "events",
            Part::Decisions => "decisions",
            Part::Notifications => "notifications",
        }
    }
}

/// The sizes of the files in the data directory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// `squelch.db` with the files that SQLite keeps beside it.
    pub journal: u64,
    /// `decisions.db` with the files that SQLite keeps beside it.
    pub decision_log: u64,
    /// Damaged files that are kept.
    pub damaged: u64,
    /// The reserve.
    pub reserve: u64,
}

impl Usage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.journal + self.decision_log + self.damaged + self.reserve
    }
}

/// The measured room of one data directory. The threads that write there share it.
#[derive(Debug)]
pub(super) struct Room {
    max: AtomicU64,
    limit: AtomicU64,
    journal: AtomicU64,
    decision_log: AtomicU64,
    indexed: AtomicI64,
    trimmed: [AtomicU64; Part::ALL.len()],
}

impl Default for Room {
    /// Without a bound, and without an index of the decisions.
    fn default() -> Self {
        let unbounded = || AtomicU64::new(u64::MAX);
        Room {
            max: unbounded(),
            limit: unbounded(),
            journal: unbounded(),
            decision_log: unbounded(),
            indexed: AtomicI64::new(i64::MAX),
            trimmed: Default::default(),
        }
    }
}

impl Room {
    /// `storage.max_size`, in bytes.
    pub fn allow(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Records the sizes of the files, and the free space of the file system.
    pub fn measured(&self, usage: &Usage, free: u64) {
        let there = usage.total().saturating_add(free);
        let fits = there - (there / 8).min(SPARE_MOST);
        let limit = self.max.load(Ordering::Relaxed).min(fits);
        self.limit.store(limit, Ordering::Relaxed);
        // The writes until the next measurement must fit too.
        let aim = limit - limit / 16;
        let beside = usage.decision_log + usage.damaged + usage.reserve;
        self.journal.store(aim.saturating_sub(beside).max(aim / 4), Ordering::Relaxed);
        let left = aim.saturating_sub(usage.journal + usage.damaged + usage.reserve);
        self.decision_log.store(left.clamp(aim / 8, aim / 2), Ordering::Relaxed);
    }

    /// The bound of all files together, in bytes.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The bound of the journal's files, in bytes.
    pub fn journal(&self) -> u64 {
        self.journal.load(Ordering::Relaxed)
    }

    /// The bound of the decision log's files, in bytes.
    pub fn decision_log(&self) -> u64 {
        self.decision_log.load(Ordering::Relaxed)
    }

    /// How many bytes a WAL may have before it is copied into its file.
    pub fn wal(&self) -> u64 {
        (self.limit() / 32).clamp(WAL_MOST / 16, WAL_MOST)
    }

    /// How large the reserve is.
    pub fn reserve(&self) -> u64 {
        (self.limit() / 32).min(RESERVE_MOST)
    }

    /// The last row of decisions that may leave before its time.
    pub fn indexed(&self) -> i64 {
        self.indexed.load(Ordering::Relaxed)
    }

    /// Decisions up to this row are in the decision log.
    pub fn index(&self, row: i64) {
        self.indexed.store(row, Ordering::Relaxed);
    }

    /// So many of `part` left before their time.
    pub fn trimmed(&self, part: Part, count: u64) {
        if let Some(known) = self.trimmed.get(part as usize) {
            known.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many of `part` have left before their time.
    pub fn trimmed_total(&self, part: Part) -> u64 {
        self.trimmed.get(part as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// Adds up the sizes of the files in `dir`.
pub(super) fn usage(dir: &Path) -> io::Result<Usage> {
    let mut usage = Usage::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let part = match name {
            name if name.starts_with("squelch.db.corrupt-") => &mut usage.damaged,
            name if name.starts_with("squelch.db") => &mut usage.journal,
            name if name.starts_with("decisions.db") => &mut usage.decision_log,
            RESERVE => &mut usage.reserve,
            // Files of other programs. They only use space of the file system, and do not count here.
            _ => continue,
        };
        match entry.metadata() {
            Ok(meta) => *part += meta.len(),
            // SQLite removes its files beside a database when the last connection closes.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(usage)
}

/// How many bytes the file system of `dir` has free for this process.
pub(super) fn free(dir: &Path) -> io::Result<u64> {
    let there = statvfs(dir)?;
    Ok(there.f_bavail.saturating_mul(there.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(max: u64, usage: Usage, free: u64) -> Room {
        let room = Room::default();
        room.allow(max);
        room.measured(&usage, free);
        room
    }

    #[test]
    fn a_small_file_system_lowers_the_bound() {
        let usage = Usage { journal: 20 * MIB, ..Usage::default() };
        assert_eq!(room(2 << 30, usage, 100 << 30).limit(), 2 << 30);
        assert_eq!(room(2 << 30, usage, 124 * MIB).limit(), 126 * MIB, "of 144 an eighth stays free");
        assert_eq!(room(2 << 30, usage, 0).limit(), 20 * MIB - 20 * MIB / 8, "somebody else filled it");
    }

    #[test]
    fn all_files_share_one_bound() {
        let full = Usage { journal: 8 * MIB, decision_log: 7 * MIB, damaged: 0, reserve: MIB };
        let room = room(16 * MIB, full, 1 << 30);
        assert_eq!(room.journal(), 7 * MIB, "what the decision log and the reserve leave of fifteen");
        assert_eq!(room.decision_log(), 6 * MIB, "what the journal and the reserve leave of fifteen");
        let quiet = Usage::default();
        room.measured(&quiet, 1 << 30);
        assert_eq!((room.journal(), room.decision_log()), (15 * MIB, 15 * MIB / 2));
        let huge = Usage { damaged: 100 * MIB, ..quiet };
        room.measured(&huge, 1 << 30);
        assert!(room.journal() > 0 && room.decision_log() > 0, "there is always some room");
    }
}
