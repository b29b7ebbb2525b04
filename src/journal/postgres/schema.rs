//! Tables and versions.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::connect::DatabasePlace;
use super::{failed, said};
use crate::journal::JournalError;

/// The steps from one version to the next. Step n leads to version n + 1. A released step never changes.
const STEPS: [&str; 1] = ["
CREATE TABLE squelch_owner (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint NOT NULL,
    process text NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    lease_until timestamptz NOT NULL,
    fenced bigint NOT NULL,
    head bigint NOT NULL,
    secret text NOT NULL
) WITH (fillfactor = 50);
INSERT INTO squelch_owner (epoch, process, name, url, lease_until, fenced, head, secret)
    VALUES (0, '', '', '', '-infinity', 0, 0, gen_random_uuid()::text || gen_random_uuid()::text);
CREATE TABLE squelch_replica (
    process text PRIMARY KEY,
    name text NOT NULL,
    url text NOT NULL,
    seen_at timestamptz NOT NULL
);
CREATE TABLE squelch_inbox (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    head bigint NOT NULL,
    bytes bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO squelch_inbox (head, bytes) VALUES (0, 0);
CREATE TABLE squelch_handed (
    row bigint PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sha256 bytea NOT NULL,
    body text NOT NULL
);
CREATE TABLE squelch_input (
    first_seq bigint PRIMARY KEY,
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    sha256 bytea NOT NULL,
    body text NOT NULL
);
CREATE TABLE squelch_decision (
    id bigserial PRIMARY KEY,
    seq bigint NOT NULL,
    at bigint NOT NULL,
    sha256 bytea NOT NULL,
    body text NOT NULL
);
CREATE TABLE squelch_notification (
    id bigint PRIMARY KEY,
    seq bigint NOT NULL,
    at bigint NOT NULL,
    receiver text NOT NULL,
    kind text NOT NULL,
    dedup_key text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'accepted', 'dead')),
    ended_at bigint,
    report text,
    sha256 bytea NOT NULL,
    body text NOT NULL
);
CREATE INDEX squelch_notification_state ON squelch_notification (state, ended_at, id);
CREATE TABLE squelch_snapshot (
    seq bigint PRIMARY KEY,
    at bigint NOT NULL,
    sha256 bytea NOT NULL,
    body bytea NOT NULL
);
"];

/// Columns that a program of the same version may not know. It leaves them empty, so they need no new
/// version, and the replicas of both programs work together.
const COLUMNS: &str = "ALTER TABLE squelch_replica
    ADD COLUMN IF NOT EXISTS config text, ADD COLUMN IF NOT EXISTS clock_ms bigint";
const HAS_COLUMNS: &str = "SELECT count(*) = 2 FROM pg_attribute
    WHERE attrelid = 'squelch_replica'::regclass AND attname IN ('config', 'clock_ms') AND NOT attisdropped";

/// Creates the tables and columns that are missing, one process at a time. It refuses those of a newer
/// version.
pub(super) async fn migrate(place: &DatabasePlace, client: &Client) -> Result<(), JournalError> {
    match found(client).await? {
        Some(version) if version == STEPS.len() => {}
        Some(version) if version > STEPS.len() => return Err(newer(place, version)),
        _ => create(place, client).await?,
    }
    if !client.query_typed_one(HAS_COLUMNS, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        client.batch_execute(COLUMNS).await.map_err(|e| refused(place, &e))?;
    }
    Ok(())
}

/// An error unless the tables are there and have this program's format.
pub(super) async fn exact(place: &DatabasePlace, client: &Client) -> Result<(), JournalError> {
    match found(client).await? {
        Some(version) if version == STEPS.len() => Ok(()),
        Some(version) if version > STEPS.len() => Err(newer(place, version)),
        Some(version) => Err(place.unusable(format!(
            "its tables have format {version}, which is older than this program's {}: let `squelch serve` \
             migrate them",
            STEPS.len()
        ))),
        None => Err(place.unusable("no journal here: it has no tables of Squelch")),
    }
}

/// The version of the tables, if there are some.
async fn found(client: &Client) -> Result<Option<usize>, JournalError> {
    let there = client.query_typed_one("SELECT to_regclass('squelch_version') IS NOT NULL", &[]);
    if !there.await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = client.query_typed_one("SELECT version FROM squelch_version", &[]).await.map_err(failed)?;
    Ok(Some(usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX)))
}

/// An error if tables of this version are not this program's.
pub(super) fn fits(place: &DatabasePlace, version: i32) -> Result<(), JournalError> {
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > STEPS.len() { Err(newer(place, version)) } else { Ok(()) }
}

fn newer(place: &DatabasePlace, version: usize) -> JournalError {
    place.unusable(format!(
        "its tables have format {version}, and this program knows {} at most: run the newer program",
        STEPS.len()
    ))
}

async fn create(place: &DatabasePlace, client: &Client) -> Result<(), JournalError> {
    // Of several processes that start at once, one makes the tables, and the others wait for it.
    let begin = "BEGIN; SELECT pg_advisory_xact_lock(1397836867);
                 CREATE TABLE IF NOT EXISTS squelch_version (version integer NOT NULL)";
    let done = async {
        client.batch_execute(begin).await.map_err(|e| refused(place, &e))?;
        let from =
            client.query_typed_opt("SELECT version FROM squelch_version", &[]).await.map_err(failed)?;
        let from = from.map_or(0, |row| usize::try_from(row.get::<_, i32>(0)).unwrap_or(usize::MAX));
        if from > STEPS.len() {
            return Err(newer(place, from));
        }
        for step in &STEPS[from..] {
            client.batch_execute(step).await.map_err(|e| refused(place, &e))?;
        }
        let to = STEPS.len();
        let written =
            format!("DELETE FROM squelch_version; INSERT INTO squelch_version VALUES ({to}); COMMIT");
        client.batch_execute(&written).await.map_err(failed)
    };
    let done = done.await;
    if done.is_err() {
        // The connection is dropped after an error. This only ends the transaction at once.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    done
}

fn refused(place: &DatabasePlace, error: &tokio_postgres::Error) -> JournalError {
    match error.code() {
        Some(code) if *code == SqlState::INVALID_SCHEMA_NAME => place.unusable(format!(
            "the user may not create tables: {}; its search_path names no schema that exists and that it may \
             use. CREATE SCHEMA, GRANT USAGE, CREATE ON SCHEMA to it, or correct search_path",
            said(error)
        )),
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => place.unusable(format!(
            "the user may not create tables: {}; make it the owner of the database \
                 (ALTER DATABASE … OWNER TO …), or GRANT CREATE ON SCHEMA public to it",
            said(error)
        )),
        _ => JournalError::Failed(said(error)),
    }
}
