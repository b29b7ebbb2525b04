//! Calls of the client from a thread that waits for them, and the values that they take.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::{ToSql, Type};

use super::super::JournalError;

pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

pub(super) fn runtime() -> Result<Runtime, JournalError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| JournalError::Failed(format!("the system refuses a resource for a connection: {e}")))
}

/// Runs `work` on this thread, for at most `patience`.
pub(super) fn run<T>(
    rt: &Runtime,
    patience: Duration,
    work: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, JournalError> {
    let late = || {
        let seconds = patience.as_secs();
        Err(JournalError::Failed(format!("the database has not answered within {seconds} s")))
    };
    rt.block_on(async { tokio::time::timeout(patience, work).await }).unwrap_or_else(|_| late())
}

/// The error text of the server or the connection.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

pub(super) fn failed(error: tokio_postgres::Error) -> JournalError {
    JournalError::Failed(said(&error))
}

pub(super) fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
