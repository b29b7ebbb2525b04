//! `squelch storage`: moves the content of a storage to another one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::{failed, wrote};
use crate::config::database_url;
use crate::journal::{Copied, CopyStep, JournalPlace, copy};

/// How often progress is shown.
const SHOW: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
A directory is a storage in a file, as in --storage.path. A file holds the URL of a PostgreSQL, as in
storage.postgres.url_file. Stop every process that uses either of them first.

Examples:
  To PostgreSQL:
    squelch storage copy --from=data/ --to=database-url
  Back into a file:
    squelch storage copy --from=database-url --to=data-new/

The copy has the open incidents, the notifications that wait for a receiver, the dead letters and the decisions. All
keep their keys.
It appears at the end, after all of it was read back and compared. The source stays as it is: move it away, so
that no process starts on it by mistake.";

/// Options of `squelch storage`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Copy a storage from a file to PostgreSQL, or back, and verify the copy.
    #[command(after_help = EXAMPLES)]
    Copy(CopyArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct CopyArgs {
    /// The storage to copy: a data directory, or a file with the URL of a PostgreSQL.
    #[arg(long, value_name = "DIR|URL_FILE")]
    from: PathBuf,
    /// Where to copy it: a data directory without a journal, or a file with the URL of an empty PostgreSQL.
    #[arg(long, value_name = "DIR|URL_FILE")]
    to: PathBuf,
}

/// Copies: 0 if the copy is there and verified, 1 if not.
pub async fn run(args: Args) -> ExitCode {
    let Action::Copy(args) = args.action;
    // A database has a runtime of its own, which must not run on a thread of this one.
    let done = tokio::task::spawn_blocking(move || copied(&args)).await;
    match done {
        Ok(Ok(text)) => wrote(io::stdout().write_all(text.as_bytes())),
        Ok(Err(why)) => failed(&why),
        Err(error) => failed(&format!("the copy ended: {error}")),
    }
}

fn copied(args: &CopyArgs) -> Result<String, String> {
    let (from, to) = (place(&args.from, "--from")?, place(&args.to, "--to")?);
    match (&from, &to) {
        (JournalPlace::Sqlite(_), JournalPlace::Sqlite(_)) if !args.from.exists() => {
            return Err(format!("--from={} does not exist", args.from.display()));
        }
        (JournalPlace::Sqlite(_), JournalPlace::Sqlite(_)) => {
            return Err(format!(
                "{} and {} are both data directories. One of them must be a file that holds the URL of a \
                 PostgreSQL. To move a directory, stop the server and use mv",
                args.from.display(),
                args.to.display()
            ));
        }
        (JournalPlace::Postgres(_), JournalPlace::Postgres(_)) => {
            return Err(
                "both name a PostgreSQL. One of them must be a data directory. Between databases, use \
                        pg_dump"
                    .into(),
            );
        }
        _ => {}
    }
    let mut shown = Instant::now();
    let done = copy(&from, &to, |step, done, all| {
        if shown.elapsed() >= SHOW {
            shown = Instant::now();
            let step = match step {
                CopyStep::Copying => "copied",
                CopyStep::Verifying => "verified",
            };
            // The copy goes on if this cannot be written.
            let _ = writeln!(io::stderr(), "{step} {done} of {all} rows");
        }
    });
    let done = done.map_err(|e| e.to_string())?;
    Ok(told(&done, &args.from, &args.to))
}

/// The place that a path of the command line names: a data directory, or a file with the URL of a PostgreSQL.
pub(super) fn place(path: &Path, flag: &str) -> Result<JournalPlace, String> {
    let text = path.to_string_lossy();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Err(format!(
            "{flag} names a file that holds the URL, not the URL itself, which would show the password to \
             everybody on this machine"
        ));
    }
    if !path.is_file() {
        return Ok(JournalPlace::Sqlite(path.to_owned()));
    }
    if path.extension().is_some_and(|end| end == "db") {
        return Err(format!("{flag}: {text} is a database in a file. Name the directory that it is in"));
    }
    // As a configuration reads it.
    Ok(JournalPlace::Postgres(database_url(path.to_owned(), flag, 1)))
}

fn told(copied: &Copied, from: &Path, to: &Path) -> String {
    let Copied { snapshots, events, decisions, notifications, queued, dead, head, hash } = copied;
    format!(
        "Copied {} to {}, and read it back: both are the same.
  {snapshots} snapshots, {events} commits of events up to event {head}
  {decisions} commits of decisions
  {notifications} notifications: {queued} wait for their receiver, {dead} are dead letters
  SHA-256 of all rows: {hash}
Move the source away now: a process that starts on it pages what it finds there.
",
        from.display(),
        to.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_storage_is_told_what_would_be_right() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("url"), "postgres://a:b@127.0.0.1:1/c\n").unwrap();
        std::fs::write(path("squelch.db"), "").unwrap();
        for (from, to, said) in [
            (path("data"), "postgres://a:hunter2@b/c".into(), "--to names a file that holds the URL"),
            (path("data"), path("ulr"), "does not exist"),
            (dir.path().into(), path("ulr"), "are both data directories. One of them must be a file"),
            (path("url"), path("url"), "both name a PostgreSQL"),
            (path("squelch.db"), path("url"), "Name the directory that it is in"),
            (path("data"), path("url"), "no journal here"),
        ] {
            let why = copied(&CopyArgs { from, to }).unwrap_err();
            assert!(why.contains(said) && !why.contains("hunter2"), "{why}");
        }
        assert!(!path("data").exists(), "nothing is made");
    }
}
