//! Builds the node, and ends it in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::Registry;
use rustix::process::{Resource, getrlimit};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::{self, Storage};
use crate::decision_log;
use crate::deliver::{self, Deliverer};
use crate::ingest::InvalidReason;
use crate::journal::{Advertised, DataDir, Journal, Ownership, Postgres, SqliteDecisions};
use crate::model::{Notification, Report};
use crate::spans::Tracer;
use crate::web::{self, Access, Gate};

use super::clock::EngineClock;
use super::core::{Core, Outbox, Parts};
use super::gate::{GateParts, NodeGate};
use super::load::{NodeError, database, hash_of, load_access, log_warnings};
use super::memory;
use super::metrics::NodeMeter;
use super::published::Published;
use super::queue::{Command, Queue, QueueBounds};
use super::recover::RecoverError;
use super::signals::{self, Signals};
use super::storage::{self, StorageMeter};

/// How long requests under way may take to end.
const FINISH_REQUESTS: Duration = Duration::from_secs(5);
/// How long deliveries under way may take to end.
const FINISH_DELIVERIES: Duration = Duration::from_secs(10);

/// Open files that no connection from outside may take: a quarter of all, within these bounds.
const KEPT_FILES_LEAST: u64 = 64;
const KEPT_FILES_MOST: u64 = 512;

/// Bytes of an answer that the system keeps for a client that does not read. The kernel doubles it.
const SEND_BUFFER: u32 = 128 << 10;
/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// The options with which a node starts.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// `squelch.yml`, read at the start and at each reload.
    pub config_file: PathBuf,
    /// Where the journal lives.
    pub storage: PathBuf,
    /// The addresses to listen on. Port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The URL by which people reach this node. It stands in notifications. It may be empty.
    pub external_url: String,
    /// Prefix of all HTTP paths. `/` or empty for none.
    pub route_prefix: String,
    /// `--cluster.advertise-address`: where the other replicas reach this one. Default: the address from
    /// which PostgreSQL sees it.
    pub advertise: Option<String>,
    /// `--web.config.file`: TLS and users of the HTTP surface, read at the start and at each reload.
    pub web_config_file: Option<PathBuf>,
}

/// A running node.
pub struct Node {
    gate: Arc<NodeGate>,
    queue: Queue,
    deliverer: Arc<Deliverer>,
    addresses: Vec<SocketAddr>,
    web: Vec<JoinHandle<()>>,
    stop_web: watch::Sender<bool>,
    forwarder: JoinHandle<()>,
    stop_forwarder: oneshot::Sender<()>,
    memory: JoinHandle<()>,
    /// Sends the report that is due again and again.
    reports: JoinHandle<()>,
    engine: oneshot::Receiver<()>,
    decision_log: decision_log::Following,
    watch: storage::StorageWatch,
}

/// The deliverer, as the engine's thread reaches it: from outside of the runtime.
struct ToDeliverer {
    deliverer: Arc<Deliverer>,
    runtime: tokio::runtime::Handle,
}

impl Outbox for ToDeliverer {
    fn send(&self, notification: Notification, possible_repeat: bool) {
        let _inside = self.runtime.enter();
        self.deliverer.send(notification, possible_repeat);
    }
}

impl Node {
    /// Loads the configuration, reads the storage, resumes deliveries, and listens.
    pub async fn start(options: NodeOptions) -> Result<Node, NodeError> {
        let mut config = config::load(&options.config_file)?;
        log_warnings(&config);
        let access = load_access(&config, options.web_config_file.as_deref())?;
        warn_if_open(&access, &options.listen);
        // Before the storage is touched: a second instance on the same port must change nothing.
        let mut listeners = Vec::new();
        for &address in &options.listen {
            listeners.push(listen(address).map_err(|source| NodeError::Listen { address, source })?);
        }
        let registry = Registry::new();
        let reasons = InvalidReason::ALL.map(InvalidReason::as_str);
        let meter = NodeMeter::register(&registry, &reasons, &web::paths())?;
        let tracer = Tracer::new(&registry)?;
        let published = Arc::new(Published { tracer: tracer.clone(), ..Published::new(meter) });
        let budget = memory::fit(&mut config);
        let shares = memory::Shares::of(budget);
        published.budget(budget);
        let queue = Queue::new(QueueBounds::default());
        let url = database(&config);
        if let (None, Some(address)) = (&url, &options.advertise) {
            tracing::info!(address, "--cluster.advertise-address has no effect without storage.postgres");
        }
        let (told, failures) = (queue.clone(), queue.clone());
        let own = Advertised {
            address: options.advertise.clone(),
            port: listeners.first().and_then(|l| l.local_addr().ok()).map_or(0, |address| address.port()),
            pin: access.certificate_pin(),
            prefix: options.route_prefix.trim_end_matches('/').to_owned(),
            config: hash_of(&config),
            wall: Some(super::clock::wall),
        };
        // The engine's thread looks for itself.
        let postgres =
            url.clone().map(|url| Postgres::new(url, own, move || drop(told.push(Command::CheckStorage))));
        let (reports, ended) = mpsc::unbounded_channel();
        let (asked, taken) = (postgres.clone(), postgres.clone());
        let delivery = deliver::DeliveryOptions {
            may_send: Arc::new(move || asked.as_ref().is_none_or(|postgres| postgres.may_send())),
            recalls: published.recalls.clone(),
            failed: Arc::new(move |failed| drop(failures.push(Command::Failed(failed)))),
            took_over: Arc::new(move || taken.as_ref().and_then(|postgres| postgres.took_over())),
            external_url: options.external_url.as_str().into(),
            registry: registry.clone(),
            wall: super::clock::wall,
            tracer,
            history: Some(Arc::new(decision_log::Reader::new(&options.storage))),
            ..Default::default()
        };
        let deliverer = Arc::new(Deliverer::new(&BTreeMap::new(), reports, delivery)?);
        let receivers = deliverer.prepare_all(&config)?;
        deliverer.adopt(&receivers);
        let clock = Arc::new(EngineClock::system());
        // Owned for as long as this process runs, also while the journal is not open.
        let data = DataDir::claim(&options.storage).map_err(RecoverError::from)?;
        data.allow(config.storage.max_size);
        data.indexed(0);
        if postgres.is_some() && data.db().exists() {
            let path = data.db();
            tracing::warn!(path = %path.display(), "the journal is in PostgreSQL: this one is not read");
        }
        let opened = data.clone();
        let parts = Parts {
            source: match &postgres {
                Some(postgres) => Box::new(postgres.clone()),
                None => Box::new(move || Ok(Box::new(opened.open()?) as Box<dyn Journal>)),
            },
            queue: queue.clone(),
            clock: clock.clone(),
            outbox: Box::new(ToDeliverer {
                deliverer: deliverer.clone(),
                runtime: tokio::runtime::Handle::current(),
            }),
            published: published.clone(),
            policy: config.policy.clone(),
        };
        // Apart from the threads that serve: it waits for the storage, and a database has its own runtime.
        let core = tokio::task::spawn_blocking(|| Core::start(parts)).await;
        let core = core.map_err(|_| NodeError::EngineEnded)??;
        let engine =
            core.spawn().map_err(|source| NodeError::System { what: "the engine's thread", source })?;
        let looked_at = clock.clone();
        let watching = memory::watch::watch(published.clone(), queue.clone(), move || looked_at.now());
        let memory = tokio::spawn(watching);
        let keep = Arc::new(ArcSwap::from_pointee(config.storage));
        let (kept, times, room, indexed) = (keep.clone(), clock.clone(), data.clone(), data.clone());
        let decision_log_meter = decision_log::DecisionLogMeter::new(&registry)?;
        let (dir, shared) = (options.storage.clone(), postgres.clone());
        let following = decision_log::Following::start(
            &options.storage,
            move || match &shared {
                Some(postgres) => Ok(Box::new(postgres.decisions()?)),
                None => Ok(Box::new(SqliteDecisions::open(&dir)?)),
            },
            decision_log_meter,
            move || times.now(),
            move || {
                let keep = **kept.load();
                Storage { max_size: keep.max_size.min(room.decision_log_room()), ..keep }
            },
            move |row| indexed.indexed(row),
        );
        let following =
            following.map_err(|source| NodeError::System { what: "the decision log's thread", source })?;
        let (kept, storage_meter) = (keep.clone(), StorageMeter::register(&registry)?);
        let max_size = move || kept.load().max_size;
        // The owner of a file is the process that has its lock.
        let alone = Ownership { owner: true, ..Ownership::default() };
        let shared = postgres.clone();
        let ownership = move || shared.as_ref().map_or_else(|| alone.clone(), |shared| shared.ownership());
        let watch = storage::StorageWatch::start(data, storage_meter, queue.clone(), max_size, ownership);
        let watch = watch.map_err(|source| NodeError::System { what: "the storage's thread", source })?;
        let (stop_forwarder, stopped) = oneshot::channel();
        let forwarder = tokio::spawn(forward(ended, queue.clone(), stopped));
        let gate = Arc::new(NodeGate::new(GateParts {
            queue: queue.clone(),
            clock,
            published,
            registry,
            config,
            config_file: options.config_file,
            web_file: options.web_config_file,
            access,
            deliverer: deliverer.clone(),
            receivers,
            database: url,
            postgres,
            decision_log: decision_log::Reader::new(&options.storage),
            keep,
        }));
        let reports = tokio::spawn(super::report::run(gate.clone()));
        let addresses = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        let (stop_web, stop) = watch::channel(false);
        let bytes = |share: u64| usize::try_from(share).unwrap_or(usize::MAX);
        let limits = web::ServerLimits {
            route_prefix: options.route_prefix.clone(),
            external_url: options.external_url.clone(),
            own_names: own_names(),
            shutdown_timeout: FINISH_REQUESTS,
            connections: connections(),
            bodies_in_flight_bytes: bytes(shares.bodies),
            small_bodies_in_flight_bytes: bytes(shares.small_bodies),
            unread_answers_bytes: bytes(shares.answers),
            ..Default::default()
        };
        let server = web::Server::new(gate.clone(), limits);
        let web = listeners
            .into_iter()
            .map(|listener| {
                let (mut stop, server) = (stop.clone(), server.clone());
                let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
                tokio::spawn(async move { server.serve(listener, stopped).await })
            })
            .collect();
        let decision_log = following;
        Ok(Node {
            gate,
            queue,
            deliverer,
            addresses,
            web,
            stop_web,
            forwarder,
            stop_forwarder,
            memory,
            reports,
            engine,
            decision_log,
            watch,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The node as the web sees it.
    pub fn gate(&self) -> Arc<NodeGate> {
        self.gate.clone()
    }

    /// Resolves only if the engine's thread ends by itself.
    pub async fn failed(&mut self) {
        let _ = (&mut self.engine).await;
    }

    /// Ends in order: it takes no more requests, and makes accepted ones durable. Then deliveries under way
    /// may end (5 s and 10 s at most), and a snapshot follows. The next start sends undelivered
    /// notifications.
    pub async fn stop(self) {
        self.gate.stopping();
        let _ = self.stop_web.send(true);
        for task in self.web {
            let _ = task.await;
        }
        let (done, quiesced) = oneshot::channel();
        let _ = self.queue.push(Command::Quiesce(done));
        let _ = quiesced.await;
        let left = self.deliverer.drain(FINISH_DELIVERIES).await;
        if left > 0 {
            tracing::warn!(left, "notifications are not delivered yet: they are sent at the next start");
        }
        self.memory.abort();
        self.reports.abort();
        self.watch.stop();
        let _ = self.stop_forwarder.send(());
        let _ = self.forwarder.await;
        // Before the journal: the last connection to its file is the one that moves the WAL into it.
        let decision_log = self.decision_log;
        let _ = tokio::task::spawn_blocking(move || decision_log.stop()).await;
        let (done, stopped) = oneshot::channel();
        let _ = self.queue.push(Command::Stop(done));
        let _ = stopped.await;
        let _ = self.engine.await;
    }
}

/// Listens on an address. The system keeps at most [`SEND_BUFFER`] of an answer that its client does not
/// read, beside the memory that the process holds.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The number of connections allowed. Some of the process's open files are kept for the storage and for
/// deliveries. Otherwise a client that opens idle connections would stop the pages.
fn connections() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let kept = (files / 4).clamp(KEPT_FILES_LEAST, KEPT_FILES_MOST);
    let share = files.saturating_sub(kept);
    usize::try_from(share).unwrap_or(usize::MAX).clamp(1, web::ServerLimits::default().connections)
}

/// The names of this machine: its own, and those of /etc/hosts. None of them is in the hands of a stranger.
fn own_names() -> Vec<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let listed = hosts.lines().flat_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.split_whitespace().skip(1).map(str::to_owned)
    });
    let own = rustix::system::uname().nodename().to_string_lossy().into_owned();
    listed.chain([own, "localhost.localdomain".to_owned()]).collect()
}

/// Everybody who reaches an open port can page the people on call, or silence everything.
fn warn_if_open(access: &Access, listen: &[SocketAddr]) {
    let beyond = listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
    let Some(address) = beyond else { return };
    let open = match (access.guards_ingest(), access.guards_people()) {
        (true, true) => return,
        (true, false) => {
            "read and silence everything: write users, or --web.config.file with basic_auth_users"
        }
        (false, _) => "send alerts, and read and silence everything: write sources and users",
    };
    tracing::warn!(%address, "listening beyond this machine without authentication: every caller can {open}");
}

/// Brings reports of deliveries to the engine's thread until it is told to stop. Reports that exist by then
/// still go.
async fn forward(
    mut reports: mpsc::UnboundedReceiver<Report>,
    queue: Queue,
    mut stop: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            report = reports.recv() => match report {
                Some(report) => drop(queue.push(Command::Delivered(report))),
                None => return,
            },
            _ = &mut stop => return,
        }
    }
}

/// Runs a node until SIGTERM or SIGINT. SIGHUP reloads. A second signal ends the process at once.
pub async fn serve(options: NodeOptions) -> Result<(), NodeError> {
    let Signals { mut end, mut reloads } =
        signals::listen().map_err(|source| NodeError::System { what: "the handling of signals", source })?;
    let mut node = Node::start(options).await?;
    for address in node.addresses() {
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    signals::tell(&[NotifyState::Ready]);
    let gate = node.gate();
    tokio::spawn(async move {
        while reloads.changed().await.is_ok() {
            signals::tell(&[NotifyState::Reloading]);
            // Its outcome is in the log and in the metrics.
            let _ = gate.reload().await;
            signals::tell(&[NotifyState::Ready]);
        }
    });
    tokio::select! {
        // The thread of the signals ends only with the process.
        signal = end.wait_for(Option::is_some) => {
            let signal = signal.ok().and_then(|signal| *signal);
            tracing::info!(signal, "shutting down");
            signals::tell(&[NotifyState::Stopping]);
        }
        () = node.failed() => {
            let fenced = node.gate.fenced();
            return Err(fenced.map_or(NodeError::EngineEnded, NodeError::Fenced));
        }
    }
    node.stop().await;
    tracing::info!("ended");
    Ok(())
}
