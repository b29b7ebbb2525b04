//! The ownership of the journal: one row with an epoch, an owner and a lease.
//!
//! The lease says when another process may take over, by the clock of the database. It protects nothing by
//! itself. The epoch does, which each transaction checks. A thread renews the lease every 3 s. The process
//! counts its own deadline from before the renewal was sent. Its clock cannot be set, and goes on while the
//! machine is suspended. Beyond the deadline, the process decides nothing and asks the database first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::connect::{DatabasePlace, LOGIN_PATIENCE};
use super::replicas::{self, Advertised, Cluster, Replica};
use super::{failed, run, runtime};
use crate::journal::JournalError;
use crate::model::{self, Timestamp};

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// How soon a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one renewal may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The lease, as the database counts it. `TAKE` and `RENEWED` have the same number.
const LEASE: Duration = Duration::from_secs(10);
/// After an outage of the database, a standby leaves the owner so long the first chance. The owner may have
/// paged without the database, and only the owner can store that.
const OWNER_FIRST: Duration = Duration::from_secs(5);
/// An owner that cannot use its journal for so long renews its lease no more, although it could. Another
/// process may take over then.
const GIVES_UP: Duration = Duration::from_secs(20);
/// So much earlier the owner stops.
const MARGIN: Duration = Duration::from_secs(2);

const TAKE: &str = "UPDATE squelch_owner
    SET epoch = epoch + 1, process = $1, name = $2, url = $4,
        lease_until = clock_timestamp() + interval '10 s'
    WHERE process = $1 OR (NOT $3 AND lease_until <= clock_timestamp())
    RETURNING epoch, fenced";
const RENEWED: &str = "UPDATE squelch_owner SET lease_until = clock_timestamp() + interval '10 s', url = $2
    WHERE process = $1 RETURNING fenced";
const OWNER: &str = "SELECT name, epoch, fenced, lease_until <= clock_timestamp(),
        (SELECT version FROM squelch_version), url, secret, process <> '',
        lease_until <= clock_timestamp() - interval '10 s',
        (extract(epoch FROM clock_timestamp()) * 1000)::bigint
    FROM squelch_owner";
const FENCED: &str = "UPDATE squelch_owner SET fenced = fenced + 1";
const GIVEN_BACK: &str = "WITH gone AS (DELETE FROM squelch_replica WHERE process = $2)
    UPDATE squelch_owner SET process = '', lease_until = clock_timestamp()
    WHERE epoch = $1 AND process = $2";

/// The ownership of the journal, as far as this process knows.
#[derive(Debug, Clone, Default)]
pub struct Ownership {
    /// Whether this process does, and its lease lasts.
    pub owner: bool,
    /// The newest epoch that it has seen.
    pub epoch: i64,
    /// How many owners found that another process had taken over, over the life of the database.
    pub fenced: i64,
    /// Where the owner answers, if that is another process.
    pub owner_url: Option<Arc<str>>,
    /// The word by which replicas know each other. The database made it.
    pub secret: Arc<str>,
    /// All replicas and the inbox, as of the last seconds.
    pub cluster: Arc<Cluster>,
}

/// The lease of this process.
pub(super) struct Lease {
    place: Arc<DatabasePlace>,
    own: Mutex<Advertised>,
    state: Mutex<State>,
    lost: Box<dyn Fn() + Send + Sync>,
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    /// The name of this process in the database: a random number.
    process: Option<String>,
    /// The address from which the database sees this process.
    seen: Option<String>,
    /// When this process last reported itself to the others.
    met: Duration,
    /// Whether this process has owned the journal.
    owned: bool,
    /// When it stops to decide, on its own clock.
    deadline: Duration,
    /// When the newest renewal began that failed.
    failed: Duration,
    /// When this process last could not use the database to take ownership.
    away: Option<Duration>,
    /// Since when this process could not use its journal, although it is the owner.
    unusable: Option<Duration>,
    /// How the clock of this machine differs from that of the database, while it does by much.
    clock: Option<String>,
    /// Why the newest renewal failed.
    error: String,
    /// The process that took over.
    fenced: Option<String>,
    ownership: Ownership,
    took_over: Option<Instant>,
    renewing: Option<Thread>,
}

/// The time on a clock that cannot be set, and that goes on while the machine is suspended.
fn now() -> Duration {
    let t = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}

impl Lease {
    pub(super) fn new(
        place: Arc<DatabasePlace>,
        own: Advertised,
        lost: Box<dyn Fn() + Send + Sync>,
    ) -> Arc<Lease> {
        Arc::new(Lease {
            place,
            own: Mutex::new(own),
            state: Mutex::default(),
            lost,
            ended: AtomicBool::new(false),
        })
    }

    pub(super) fn place(&self) -> Arc<DatabasePlace> {
        self.place.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of this process in the database.
    pub(super) fn process(&self) -> Option<String> {
        self.state().process.clone()
    }

    /// Takes ownership if no process has it, or if this process has it already. It returns the new epoch.
    pub(super) async fn take(&self, client: &Client) -> Result<i64, JournalError> {
        self.check()?;
        if self.process().is_none() {
            let sql = "SELECT gen_random_uuid()::text, host(inet_client_addr())";
            let row = client.query_typed_one(sql, &[]).await.map_err(failed)?;
            let mut state = self.state();
            (state.process, state.seen) = (Some(row.get(0)), row.get(1));
        }
        let url = self.url();
        let (process, owned, met) = {
            let state = self.state();
            (state.process.clone().unwrap_or_default(), state.owned, state.met)
        };
        let began = now();
        let owner = client.query_typed_one(OWNER, &[]).await.map_err(failed)?;
        // A newer program may have changed the tables while this one waited.
        super::schema::fits(&self.place, owner.get(4))?;
        let clock = self.compare_clocks(Timestamp::from_millis(owner.get(9)));
        let ownerless = if clock.is_some() { 8 } else { 3 };
        let given_back = !owner.get::<_, bool>(7);
        let waits = !given_back && self.state().away.is_some_and(|away| began < away + OWNER_FIRST);
        // A look takes no lock. Only a process that may take over waits for one.
        if owner.get::<_, bool>(ownerless) && !waits || owned {
            let name = name();
            let taken = client
                .query_typed_opt(
                    TAKE,
                    &[(&process, Type::TEXT), (&name, Type::TEXT), (&owned, Type::BOOL), (&url, Type::TEXT)],
                )
                .await
                .map_err(failed)?;
            if let Some(row) = taken {
                let epoch = row.get(0);
                self.took(epoch, row.get(1), owner.get(6), !owned && owner.get(7), began);
                // Nothing depends on it.
                if let Ok(cluster) = self.meet(client).await {
                    self.state().ownership.cluster = cluster;
                }
                return Ok(epoch);
            }
        }
        if owned {
            if self.fenced() {
                count(client).await;
            }
            return Err(self.fence());
        }
        let (name, epoch): (String, i64) = (owner.get(0), owner.get(1));
        let cluster = match began >= met + RENEW {
            true => Some(self.meet(client).await?),
            false => None,
        };
        let mut state = self.state();
        let cluster = cluster.unwrap_or_else(|| state.ownership.cluster.clone());
        state.ownership = Ownership {
            owner: false,
            epoch,
            fenced: owner.get(2),
            owner_url: Some(owner.get::<_, &str>(5).into()),
            secret: owner.get::<_, &str>(6).into(),
            cluster,
        };
        state.took_over = None;
        drop(state);
        let clock = clock.map(|clock| format!(". {clock}, so other replicas take over first"));
        let clock = clock.unwrap_or_default();
        let owner = match name.as_str() {
            "" => "no replica owns the database yet".to_owned(),
            name => format!("{name} owns the database, by epoch {epoch}"),
        };
        Err(JournalError::Standby(format!("{owner}{clock}")))
    }

    /// The journal could not be opened or written, since the database was away or refused it.
    pub(super) fn journal_failed(&self) {
        let mut state = self.state();
        state.away = Some(now());
        // A standby that takes over long after an outage begins anew.
        if state.owned {
            state.unusable = state.unusable.or(state.away);
        }
    }

    /// The journal is open.
    pub(super) fn journal_works(&self) {
        self.state().unusable = None;
    }

    /// Whether only the lease of this process works, and not its journal. While renewals fail too, the
    /// database is away for every process.
    fn gives_up(&self) -> bool {
        let state = self.state();
        state.unusable.is_some_and(|since| now() >= since.max(state.failed) + GIVES_UP)
    }

    /// The sentence about a clock of this machine that differs much from that of the database. It is logged
    /// once.
    fn compare_clocks(&self, database: Timestamp) -> Option<String> {
        let wall = self.own.lock().unwrap_or_else(PoisonError::into_inner).wall?();
        let clock = apart(wall, database);
        let mut state = self.state();
        if let (Some(clock), None) = (&clock, &state.clock) {
            tracing::error!(
                "{clock}. Set it, and use NTP. Until then other replicas take over first, and this one after \
                 10 s without an owner"
            );
        }
        state.clock.clone_from(&clock);
        clock
    }

    /// This process owns the journal from now on. `over` says that the owner before it had not given it back.
    fn took(&self, epoch: i64, fenced: i64, secret: &str, over: bool, began: Duration) {
        let mut state = self.state();
        state.took_over = over.then(Instant::now).or(state.took_over);
        let cluster = state.ownership.cluster.clone();
        let secret = secret.into();
        state.ownership = Ownership { owner: true, epoch, fenced, owner_url: None, secret, cluster };
        (state.owned, state.deadline) = (true, began + LEASE - MARGIN);
    }

    /// The certificate that this process shows from now on, and the hash of its configuration.
    pub(super) fn shows(&self, pin: Option<String>, config: String) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        (own.pin, own.config) = (pin, config);
    }

    /// Where this process answers the others.
    fn url(&self) -> String {
        let seen = self.state().seen.clone();
        self.own.lock().unwrap_or_else(PoisonError::into_inner).url(seen.as_deref())
    }

    /// Reports this replica to the others, and reads their reports.
    async fn meet(&self, client: &Client) -> Result<Arc<Cluster>, JournalError> {
        let (process, began) = (self.process().unwrap_or_default(), now());
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cluster = Arc::new(replicas::meet(client, &process, &name(), &self.url(), &own).await?);
        self.state().met = began;
        Ok(cluster)
    }

    /// Starts the thread that renews the lease, once.
    pub(super) fn keep(self: &Arc<Self>) -> Result<(), JournalError> {
        let mut state = self.state();
        if state.renewing.is_some() {
            return Ok(());
        }
        let lease = self.clone();
        let thread = std::thread::Builder::new().name("lease".into()).spawn(move || lease.renew_for_ever());
        let thread = thread.map_err(|e| JournalError::Failed(format!("the system refuses a thread: {e}")))?;
        state.renewing = Some(thread.thread().clone());
        Ok(())
    }

    /// Renews nothing any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.state().renewing {
            thread.unpark();
        }
    }

    fn renew_for_ever(&self) {
        let Ok(rt) = runtime() else { return tracing::error!("the system refuses a resource for the lease") };
        // The first login may take most of the lease.
        let (mut client, mut wait, mut gave_up) = (None::<Client>, Duration::ZERO, false);
        loop {
            std::thread::park_timeout(wait);
            if self.ended.load(Ordering::Relaxed) || self.state().fenced.is_some() {
                return;
            }
            if self.gives_up() != gave_up {
                gave_up = !gave_up;
                if gave_up {
                    tracing::error!(
                        "the lease can be renewed and the journal cannot be used: another replica may take over"
                    );
                }
            }
            if gave_up {
                wait = RENEW;
                continue;
            }
            let connected = match client.take() {
                Some(connected) => Ok(connected),
                None => run(&rt, LOGIN_PATIENCE, self.place.connect()),
            };
            let began = now();
            let renewed = connected.and_then(|connected| {
                run(&rt, PATIENCE, async {
                    let renewed = self.renew(&connected).await?;
                    let cluster = self.meet(&connected).await;
                    client = Some(connected);
                    Ok((renewed, cluster))
                })
            });
            wait = AGAIN;
            match renewed {
                Ok((Some(fenced), cluster)) => {
                    let mut state = self.state();
                    (state.deadline, state.ownership.fenced) = (began + LEASE - MARGIN, fenced);
                    if let Ok(cluster) = cluster {
                        state.ownership.cluster = cluster;
                    }
                    state.error.clear();
                    wait = RENEW;
                }
                Ok((None, _)) if self.ended.load(Ordering::Relaxed) => return,
                Ok((None, _)) => {
                    self.fenced();
                    return (self.lost)();
                }
                Err(error) => {
                    let mut state = self.state();
                    if state.error.is_empty() {
                        tracing::warn!(%error, "the lease on the database is not renewed: trying again");
                    }
                    (state.failed, state.error) = (began, error.to_string());
                }
            }
        }
    }

    /// `None` if another process owns it.
    async fn renew(&self, client: &Client) -> Result<Option<i64>, JournalError> {
        let process = self.process().unwrap_or_default();
        let row = client
            .query_typed_opt(RENEWED, &[(&process, Type::TEXT), (&self.url(), Type::TEXT)])
            .await
            .map_err(failed)?;
        if row.is_none() && !self.ended.load(Ordering::Relaxed) {
            count(client).await;
        }
        Ok(row.map(|row| row.get(0)))
    }

    /// Another process has taken over, and all that this one knows is worth nothing. True the first time.
    pub(super) fn fenced(&self) -> bool {
        let mut state = self.state();
        let first = state.fenced.is_none();
        if first {
            let epoch = state.ownership.epoch;
            state.ownership.owner = false;
            state.fenced = Some(format!("another process has taken over the database since epoch {epoch}"));
        }
        first
    }

    /// The error that says so.
    pub(super) fn fence(&self) -> JournalError {
        JournalError::Fenced(self.state().fenced.clone().unwrap_or_default())
    }

    /// An error if another process has taken over.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        if self.state().fenced.is_some() { Err(self.fence()) } else { Ok(()) }
    }

    /// An error if another process has taken over, or may have.
    pub(super) fn may_decide(&self) -> Result<(), JournalError> {
        self.check()?;
        let state = self.state();
        if now() < state.deadline {
            return Ok(());
        }
        let why = if state.error.is_empty() { "this process or the database slept" } else { &state.error };
        Err(JournalError::Failed(format!("the lease on the database has ended: {why}")))
    }

    /// See [`super::Postgres::may_send`].
    pub(super) fn may_send(&self) -> bool {
        let state = self.state();
        state.fenced.is_none() && (now() < state.deadline || state.failed >= state.deadline)
    }

    /// See [`super::Postgres::took_over`].
    pub(super) fn took_over(&self) -> Option<Instant> {
        self.state().took_over
    }

    pub(super) fn ownership(&self) -> Ownership {
        let state = self.state();
        let owner = state.ownership.owner && now() < state.deadline;
        Ownership { owner, ..state.ownership.clone() }
    }
}

/// How a clock differs from that of the database, if by more than [`Replica::CLOCKS_APART`].
fn apart(wall: Timestamp, database: Timestamp) -> Option<String> {
    let (ahead, behind) = (wall.since(database), database.since(wall));
    let (by, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let shown = model::Duration::from_secs(by.as_millis() / 1000);
    (by.to_std() > Replica::CLOCKS_APART)
        .then(|| format!("the clock of this machine is {shown} {word} that of PostgreSQL"))
}

/// Counts an owner that found that another process had taken over. Nothing depends on it.
pub(super) async fn count(client: &Client) {
    if let Err(error) = client.execute_typed(FENCED, &[]).await {
        tracing::debug!(%error, "a fenced owner is not counted");
    }
}

/// Lets another process take over at once.
pub(super) async fn give_back(client: &Client, epoch: i64, process: &str) -> Result<(), JournalError> {
    let given = client.execute_typed(GIVEN_BACK, &[(&epoch, Type::INT8), (&process, Type::TEXT)]).await;
    given.map(drop).map_err(failed)
}

/// How people know this process.
fn name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host} (pid {})", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_a_minute_are_named() {
        let at = |seconds: i64| Timestamp::from_millis(1_800_000_000_000 + seconds * 1000);
        assert_eq!(apart(at(60), at(0)), None);
        assert_eq!(apart(at(0), at(60)), None);
        let ahead = "the clock of this machine is 1h59m ahead of that of PostgreSQL";
        assert_eq!(apart(at(7140), at(0)).as_deref(), Some(ahead));
        let behind = "the clock of this machine is 1m1s behind that of PostgreSQL";
        assert_eq!(apart(at(0), at(61)).as_deref(), Some(behind));
    }
}
