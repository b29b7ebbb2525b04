//! The write-ahead log: keeping it small, and noticing that it is broken before its end.
//!
//! The writer checkpoints by itself, right after a commit that leaves the WAL large. SQLite's own
//! `wal_autocheckpoint` would do it at the same moment but drops the error, and a failed fsync must poison
//! the handle. A second connection on its own thread was not worth it. Under steady writing it never
//! catches up, so that the writer has to help in any case to bound the file. The gain would show in the p99
//! only, far below a sender's patience. `benches/journal.rs` measured it on a disk whose fsync takes 4 ms.
//! It was 18 ms beside 12 ms for a raw append at 32 events a commit, and 32 beside 20 at 256.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use rusqlite::Connection;

use super::super::batch::int;

/// Bytes of a page.
pub(super) const PAGE: u64 = 4_096;

/// A WAL with more pages than this is not being reused: 64 MiB.
pub(super) const WARN_PAGES: i64 = 16_384;

/// The length of a WAL that SQLite keeps when it starts it over, as a multiple of `large`. The space of a
/// large commit is given back.
const KEEP: u64 = 2;

/// Checkpoints if the WAL has more than `large` bytes. It returns how many pages are still only in the WAL.
pub(super) fn checkpoint_if_large(conn: &Connection, large: u64) -> Result<i64, rusqlite::Error> {
    let (_, pages, copied) = run(conn, "NOOP")?;
    if pages <= int(large / PAGE) {
        return Ok(pages - copied);
    }
    conn.pragma_update_and_check(None, "journal_size_limit", int(large * KEEP), |_| Ok(()))?;
    let (_, pages, copied) = run(conn, "PASSIVE")?;
    Ok(pages - copied)
}

/// Copies all of the WAL into the file and empties it.
pub(super) fn checkpoint(conn: &Connection) -> Result<(), rusqlite::Error> {
    run(conn, "TRUNCATE").map(drop)
}

/// Busy or not, pages in the WAL, pages of these that are in the file.
fn run(conn: &Connection, mode: &str) -> Result<(i64, i64, i64), rusqlite::Error> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    conn.prepare_cached(&sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Why the WAL at `path` cannot be trusted to hold all that was committed, if so.
///
/// SQLite ends a WAL at the first frame whose checksum fails. This is right after a power cut: the last
/// transaction was not synced, so it was never acknowledged. But a transaction begins only after the one
/// before it was synced. Whole transactions behind a broken frame, each chained to the one before it,
/// therefore mean that durable ones are lost. Frames that a torn write left behind a later torn one are not
/// chained to it. Damage within the very last transaction cannot be told from a power cut. Format:
/// <https://sqlite.org/fileformat2.html#the_write_ahead_log>
pub(super) fn broken(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut wal = BufReader::with_capacity(1 << 18, file);
    let mut header = [0; HEADER];
    if !fill(&mut wal, &mut header)? {
        return Ok(None);
    }
    let little = match word(&header, 0) {
        0x377f_0682 => true,
        0x377f_0683 => false,
        // Never written, or broken in its first word: a WAL that was never synced looks so too.
        _ => return Ok(None),
    };
    let page_size = word(&header, 8);
    if !(512..=65_536).contains(&page_size) {
        return Ok(None);
    }
    let mut sum = add((0, 0), &header[..24], little);
    let mut sound = sum == (word(&header, 24), word(&header, 28));
    let salt = (word(&header, 16), word(&header, 20));
    let mut frame = vec![0; FRAME_HEADER + page_size as usize];
    let (mut number, mut at, mut behind, mut lost) = (0u64, 0, 0, false);
    while fill(&mut wal, &mut frame)? {
        number += 1;
        let ours = (word(&frame, 8), word(&frame, 12)) == salt;
        let computed = add(add(sum, &frame[..8], little), &frame[FRAME_HEADER..], little);
        let stored = (word(&frame, 16), word(&frame, 20));
        let commits = ours && word(&frame, 4) != 0;
        let matches = ours && computed == stored;
        if !matches {
            at = if sound { number } else { at };
            // If this frame was to end a transaction, a single one behind it is proof enough.
            (sound, behind) = (false, u32::from(commits));
        } else if !sound {
            behind += u32::from(commits);
            lost |= behind >= 2;
        }
        // The sums are chained. Behind a broken frame the chain goes on from the stored sums.
        sum = stored;
    }
    Ok(lost.then(|| format!("the WAL is broken at frame {at} of {number}: commits after it are lost")))
}

/// Fills `buffer`. It returns false at the end of the file, even if the file ends within `buffer`.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// SQLite's checksum of a WAL, continued over `bytes`.
fn add((mut a, mut b): (u32, u32), bytes: &[u8], little: bool) -> (u32, u32) {
    let read = |at| match little {
        true => word(bytes, at).swap_bytes(),
        false => word(bytes, at),
    };
    for at in (0..bytes.len()).step_by(8) {
        a = a.wrapping_add(read(at)).wrapping_add(b);
        b = b.wrapping_add(read(at + 4)).wrapping_add(a);
    }
    (a, b)
}
