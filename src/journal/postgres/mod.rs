//! The durable journal on a PostgreSQL that several processes share. One of them owns it at a time.
//!
//! # The tables
//! They stand in the first schema of the user's `search_path`. `squelch_version` has one row, the version of
//! the format: a newer one is refused. The others are those of the SQLite journal, with `squelch_` before
//! their names: `squelch_input`, `squelch_decision`, `squelch_notification` and `squelch_snapshot`.
//! `squelch_owner` has one row, which says who decides: see `lease.rs`. Standbys write into `squelch_handed`,
//! the inbox of the owner (`inbox.rs`), and each process has a row in `squelch_replica` (`replicas.rs`).
//!
//! # Who may write
//! Each open takes ownership and raises the epoch. The first statement of each transaction that writes names
//! the epoch of its handle and locks the row of the owner. If another handle has taken ownership since, it
//! changes no row, and nothing of the transaction is written ([`JournalError::Fenced`]). A commit whose end
//! is unknown, because the connection broke, is settled in the same way: the next open waits for its lock.
//!
//! # How it runs
//! The trait is synchronous, and the client is not. Each handle has a runtime of its own, which runs on the
//! thread that calls it: the engine's thread, or that of the decision log. No other task can then delay a
//! commit, and a commit borrows what it writes. The renewal of the lease has its own thread and connection,
//! so that a long commit does not delay it.
//!
//! # How it fails
//! A call that has no answer in time drops its connection, and the handle is poisoned. Squelch never cancels
//! a statement: a server that waits for its own standby would keep the commit all the same. A row that does
//! not match its checksum keeps the journal from opening. The backup of the database is the remedy.

mod calls;
mod connect;
mod copy;
mod decided;
mod inbox;
mod lease;
mod past;
mod read;
mod replicas;
mod schema;
mod write;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smol_str::SmolStr;
use tokio::runtime::Runtime;
use tokio_postgres::Client;

pub use connect::wrong_url;
pub(super) use copy::HeldDatabase;
pub use decided::PostgresDecisions;
pub use lease::Ownership;
pub(super) use past::PastDatabase;
pub use replicas::{Advertised, Cluster, Replica, wrong_address};

use super::batch::Tail;
use super::batch::int;
use super::{Commit, DeadLetter, Handed, Journal, JournalError, JournalSource, LetterQuery, Recovered, Seq};
use crate::model::{self, Timestamp};
use crate::settings::Secret;
use calls::{failed, number, run, runtime, said};
use connect::DatabasePlace;
use lease::Lease;

/// How long a write may take.
const WRITE_PATIENCE: Duration = Duration::from_secs(8);
/// How long it may take to connect, and to take ownership.
const OPEN_PATIENCE: Duration = Duration::from_secs(8);
/// How often the owner looks into the inbox: alerts that come in at a standby wait so long at most.
const INBOX_EVERY: model::Duration = model::Duration::from_millis(100);
/// How long it may take to read all that a start needs, or to write a snapshot.
const LONG_PATIENCE: Duration = Duration::from_secs(120);

/// A database, as this process reaches it. It outlives each journal in it.
pub struct Postgres {
    place: Arc<DatabasePlace>,
    lease: Arc<Lease>,
    /// The connection on which a standby asks whether it may take over.
    waiting: Mutex<Option<(Runtime, Client)>>,
}

impl Postgres {
    /// The database whose URL `url` holds. It connects to nothing yet. `lost` is called, from any thread,
    /// when another process has taken ownership. `own` says where this process answers the others.
    pub fn new(url: Secret, own: Advertised, lost: impl Fn() + Send + Sync + 'static) -> Arc<Postgres> {
        let place = Arc::new(DatabasePlace::new(url));
        let lease = Lease::new(place.clone(), own, Box::new(lost));
        Arc::new(Postgres { place, lease, waiting: Mutex::default() })
    }

    /// Takes ownership and opens the journal.
    ///
    /// # Errors
    /// [`JournalError::Standby`] if another process owns it, [`JournalError::Fenced`] if this process owned
    /// it and another one took over, [`JournalError::Unusable`] if the database cannot be used.
    pub fn open(&self) -> Result<PostgresJournal, JournalError> {
        let place = &self.place;
        let (rt, client) = self.connection().inspect_err(|_| self.lease.journal_failed())?;
        let epoch = match run(&rt, OPEN_PATIENCE, self.lease.take(&client)) {
            Err(owned @ JournalError::Standby(_)) => {
                *self.waiting() = Some((rt, client));
                return Err(owned);
            }
            taken => taken.inspect_err(|_| self.lease.journal_failed())?,
        };
        self.lease.keep()?;
        let found = run(&rt, LONG_PATIENCE, read::load(place, &client))
            .inspect_err(|_| self.lease.journal_failed())?;
        self.lease.journal_works();
        Ok(PostgresJournal {
            rt,
            client: Some(client),
            lease: self.lease.clone(),
            epoch,
            tail: found.tail,
            snapshot: found.recovered.snapshot.as_ref().map(|(seq, _)| *seq),
            recovered: Some(found.recovered),
            ready: false,
        })
    }

    /// The connection of a standby, or a new one.
    fn connection(&self) -> Result<(Runtime, Client), JournalError> {
        if let Some(waiting) = self.waiting().take() {
            return Ok(waiting);
        }
        let (rt, place) = (runtime()?, &self.place);
        let client = run(&rt, OPEN_PATIENCE, async {
            let client = place.connect().await?;
            schema::migrate(place, &client).await?;
            Ok(client)
        })?;
        Ok((rt, client))
    }

    /// Puts alerts into the inbox of the owner: JSON of a list of batches. It takes no ownership.
    ///
    /// # Errors
    /// The inbox is full ([`JournalError::Refused`]), or the database cannot be used.
    pub fn hand_over(&self, batches: &str) -> Result<(), JournalError> {
        let (rt, client) = self.connection()?;
        let done = run(&rt, WRITE_PATIENCE, inbox::hand_over(&client, batches));
        if matches!(done, Ok(()) | Err(JournalError::Refused(_))) {
            *self.waiting() = Some((rt, client));
        }
        done
    }

    fn waiting(&self) -> MutexGuard<'_, Option<(Runtime, Client)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The decisions in it, for an index of them. It takes no ownership.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn decisions(&self) -> Result<PostgresDecisions, JournalError> {
        PostgresDecisions::open(&self.place)
    }

    /// The certificate that this process shows to other replicas from now on: its SHA-256 in hexadecimal
    /// digits. `None`: plain HTTP. `config` is the hash of its configuration, as [`Advertised`] has it.
    pub fn shows(&self, pin: Option<String>, config: String) {
        self.lease.shows(pin, config);
    }

    /// Whether a delivery may begin. An owner that slept beyond its lease asks the database first. It sends
    /// if the database does not answer: in doubt, page.
    pub fn may_send(&self) -> bool {
        self.lease.may_send()
    }

    /// When this process took over from an owner that had not given the journal back.
    pub fn took_over(&self) -> Option<Instant> {
        self.lease.took_over()
    }

    /// The ownership, as far as this process knows.
    pub fn ownership(&self) -> Ownership {
        self.lease.ownership()
    }
}

impl JournalSource for Arc<Postgres> {
    fn open(&mut self) -> Result<Box<dyn Journal>, JournalError> {
        Ok(Box::new(Postgres::open(self)?))
    }

    fn hand_over(&mut self, batches: &str) -> Result<(), JournalError> {
        Postgres::hand_over(self, batches)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.lease.end();
        if let Some((rt, client)) = self.waiting().take() {
            drop(client);
            // This may be a thread that serves, which must not wait.
            rt.shutdown_background();
        }
    }
}

/// The journal in a database, for its owner.
pub struct PostgresJournal {
    // Before the runtime, whose end closes the connection.
    client: Option<Client>,
    rt: Runtime,
    lease: Arc<Lease>,
    epoch: i64,
    tail: Tail,
    /// The newest snapshot.
    snapshot: Option<Seq>,
    recovered: Option<Recovered>,
    ready: bool,
}

impl PostgresJournal {
    fn writable(&self) -> Result<(), JournalError> {
        if self.client.is_none() {
            return Err(JournalError::Failed("an earlier write failed: open it anew".into()));
        }
        if !self.ready {
            return Err(JournalError::Refused("recover must come before the first write".into()));
        }
        Ok(())
    }

    /// Runs one call. A failure drops the connection, and poisons the handle.
    fn run<T>(
        &mut self,
        patience: Duration,
        work: impl AsyncFnOnce(&mut Client, i64) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let Some(mut client) = self.client.take() else {
            return Err(JournalError::Failed("an earlier call failed: open it anew".into()));
        };
        let done = run(&self.rt, patience, work(&mut client, self.epoch));
        if let Err(JournalError::Fenced(_)) = &done {
            if self.lease.fenced() {
                let counted = async {
                    lease::count(&client).await;
                    Ok(())
                };
                let _ = run(&self.rt, WRITE_PATIENCE, counted);
            }
            return Err(self.lease.fence());
        }
        match done {
            Ok(_) | Err(JournalError::Refused(_)) => self.client = Some(client),
            Err(_) => self.lease.journal_failed(),
        }
        done
    }
}

impl Journal for PostgresJournal {
    fn recover(&mut self) -> Result<Recovered, JournalError> {
        self.ready = true;
        match self.recovered.take() {
            Some(recovered) => Ok(recovered),
            None => {
                let place = self.lease.place();
                self.run(LONG_PATIENCE, async |client, _| Ok(read::load(&place, client).await?.recovered))
            }
        }
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), JournalError> {
        self.writable()?;
        if commit.is_empty() {
            return Ok(());
        }
        let tail = self.tail.after(commit)?;
        let rows = write::Rows::of(commit, tail)?;
        self.run(WRITE_PATIENCE, async |client, epoch| write::commit(client, epoch, &rows).await)?;
        self.tail = tail;
        Ok(())
    }

    fn snapshot(&mut self, seq: Seq, body: &[u8]) -> Result<(), JournalError> {
        self.writable()?;
        self.tail.allows_snapshot(seq, self.snapshot)?;
        let at = self.tail.now;
        self.run(LONG_PATIENCE, async |client, epoch| write::snapshot(client, epoch, seq, at, body).await)?;
        self.snapshot = Some(seq);
        Ok(())
    }

    fn dead_letters(&mut self, wanted: &LetterQuery) -> Result<Vec<DeadLetter>, JournalError> {
        self.run(WRITE_PATIENCE, async |client, _| read::dead_letters(client, wanted).await)
    }

    fn dead_letter_counts(&mut self) -> Result<BTreeMap<SmolStr, u64>, JournalError> {
        self.run(WRITE_PATIENCE, async |client, _| read::dead_letter_counts(client).await)
    }

    fn prune(&mut self, before: Timestamp) -> Result<bool, JournalError> {
        self.writable()?;
        self.run(WRITE_PATIENCE, async |client, epoch| write::prune(client, epoch, before).await)
    }

    fn check(&self) -> Result<(), JournalError> {
        self.lease.check()
    }

    fn may_decide(&self) -> Result<(), JournalError> {
        self.lease.may_decide()
    }

    fn inbox(&mut self) -> Result<Vec<Handed>, JournalError> {
        self.run(WRITE_PATIENCE, async |client, _| inbox::waiting(client).await)
    }

    fn inbox_every(&self) -> Option<model::Duration> {
        Some(INBOX_EVERY)
    }

    fn release(&mut self) {
        self.lease.end();
        let process = self.lease.process();
        let given = self.run(WRITE_PATIENCE, async |client, epoch| {
            lease::give_back(client, epoch, process.as_deref().unwrap_or_default()).await
        });
        match given {
            Ok(()) => tracing::info!("the ownership of the database is given back"),
            Err(error) => tracing::warn!(%error, "the ownership of the database ends with its lease"),
        }
    }
}
