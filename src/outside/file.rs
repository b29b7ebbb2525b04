//! Reads files that may hang: on a network file system, a named pipe, a terminal.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::apart::{Apart, Broke};

/// How long a file may take where no attempt has a timeout: at the start, at a reload, in a check. The answer
/// to `POST /-/reload` may take longer than that.
pub const PATIENCE: Duration = Duration::from_secs(5);

static READS: Apart<(PathBuf, u64), Content> = Apart::new("file");

type Content = Result<Arc<[u8]>, FileError>;

/// Why a file was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is not there, or not for us.
    #[error("cannot be opened: {0}")]
    Open(String),
    /// It is there, and its content is not.
    #[error("cannot be read: {0}")]
    Read(String),
    /// It has more than so many bytes.
    #[error("is larger than {0} bytes. Make it smaller")]
    Large(u64),
    /// Its file system, or the writer of a pipe, does not answer.
    #[error("cannot be read: no answer from its file system or the writer of the pipe for {} s", .0.as_secs())]
    Hangs(Duration),
}

/// Reads a file of at most `most` bytes. Blocks the thread, for at most [`PATIENCE`].
///
/// # Errors
/// The file cannot be read, is larger, or is not there in time.
pub fn read(path: &Path, most: u64) -> Result<Arc<[u8]>, FileError> {
    let (key, of) = ((path.to_owned(), most), path.to_owned());
    READS.wait(&key, PATIENCE, move || read_now(&of, most, PATIENCE)).unwrap_or_else(|e| Err(broke(&e)))
}

/// Reads a file of at most `most` bytes within `patience`, and blocks nothing.
///
/// # Errors
/// The file cannot be read, is larger, or is not there in time.
pub async fn read_apart(path: &Path, most: u64, patience: Duration) -> Result<Arc<[u8]>, FileError> {
    let key = (path.to_owned(), most);
    let answered = tokio::time::timeout(patience, async {
        loop {
            let of = path.to_owned();
            match READS.ask(&key, move || read_now(&of, most, patience)).await {
                // The caller that began to read had less time than this one has.
                Ok(Err(FileError::Hangs(_))) => {}
                outcome => return outcome.unwrap_or_else(|e| Err(broke(&e))),
            }
        }
    });
    answered.await.unwrap_or(Err(FileError::Hangs(patience)))
}

pub(super) fn broke(error: &Broke) -> FileError {
    match error {
        Broke::Hangs(time) => FileError::Hangs(*time),
        other => FileError::Read(other.to_string()),
    }
}

/// Only a file system can make this hang longer than `patience`: a pipe or a terminal cannot.
fn read_now(path: &Path, most: u64, patience: Duration) -> Result<Arc<[u8]>, FileError> {
    let until = Instant::now() + patience;
    let unreadable = |error: std::io::Error| FileError::Read(error.to_string());
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let mut file = opened.map_err(|error| FileError::Open(error.to_string()))?;
    let (mut bytes, mut part) = (Vec::new(), [0; 8192]);
    loop {
        if !readable(&file, until.saturating_duration_since(Instant::now())).map_err(unreadable)? {
            return Err(FileError::Hangs(patience));
        }
        match file.read(&mut part) {
            Ok(0) => return Ok(bytes.into()),
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(unreadable(error)),
        }
        if bytes.len() as u64 > most {
            return Err(FileError::Large(most));
        }
    }
}

/// Whether there is something to read, or the end, within `patience`. A pipe without a writer has neither.
fn readable(file: &File, patience: Duration) -> std::io::Result<bool> {
    let patience = Timespec::try_from(patience).ok();
    match poll(&mut [PollFd::new(file, PollFlags::IN)], patience.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        path
    }

    #[tokio::test]
    async fn a_file_is_read_whole_and_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let second = "x".repeat(20_000);
        for text in ["", "first", &second] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(&*read(&path, 20_000).unwrap(), text.as_bytes());
            assert_eq!(&*read_apart(&path, 20_000, PATIENCE).await.unwrap(), text.as_bytes());
        }
        assert_eq!(read(&path, 19_999), Err(FileError::Large(19_999)));
        assert!(matches!(read(folder.path(), 9), Err(FileError::Read(_))));
        assert!(matches!(read(&folder.path().join("none"), 9), Err(FileError::Open(_))));
        assert_eq!(read(Path::new("/dev/zero"), 9), Err(FileError::Large(9)), "a file without an end");
    }

    #[tokio::test]
    async fn a_pipe_without_a_writer_costs_the_caller_its_patience_and_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(&folder);
        let patience = Duration::from_millis(20);
        for _ in 0..3 {
            let outcome = read_apart(&path, 9, patience).await;
            assert_eq!(outcome, Err(FileError::Hangs(patience)));
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "file").unwrap();
        // The last reader of the pipe may need a moment to see that its time is over.
        assert_eq!(&*read_apart(&path, 9, PATIENCE).await.unwrap(), b"file");
    }

    #[tokio::test]
    async fn a_pipe_is_read_to_the_end_that_its_writer_makes() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(&folder);
        let to = path.clone();
        let writer = std::thread::spawn(move || std::fs::write(to, "said").unwrap());
        assert_eq!(&*read_apart(&path, 9, PATIENCE).await.unwrap(), b"said");
        writer.join().unwrap();
    }
}
