//! The functions of the node for the HTTP surface.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::access::{Access, Area};
use crate::config::{Config, Integration, Secret};
use crate::decision_log::{
    Baseline, DecisionLogError, DecisionPage, DecisionQuery, Flapped, NamedIncident, OnCallEntry,
    PastIncidentPage, PastIncidentQuery, Review, SentPage, Tally, WhichIncident,
};
use crate::deliver::Health;
use crate::engine::{Acknowledge, Engine, IncidentRemark, Release, Stats};
use crate::history::Priced;
use crate::ingest::{InvalidReason, NamedLabels};
use crate::journal::{DeadLetters, LetterQuery, Ownership};
use crate::model::{
    Batch, Duration, LabelSet, Matcher, NotificationId, SilenceError, SilenceRequest, Source, Timestamp,
};
use crate::spans::{TraceContext, Tracer};
use crate::templates::Library;

/// A future behind a pointer, so that [`Gate`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The result of a search of the decision log.
pub type Searched<'a, T> = BoxFuture<'a, Result<T, SearchError>>;

/// A secret with which a tool shows that it is the one where a receiver pages.
#[derive(Clone, Debug)]
pub struct Callback {
    /// The receiver type: `pagerduty` or `opsgenie`.
    pub tool: &'static str,
    /// The receiver.
    pub receiver: SmolStr,
    /// The secret.
    pub secret: Secret,
}

impl Callback {
    /// The secrets of all integrations that have one.
    pub fn all<'i>(
        receivers: impl IntoIterator<Item = (&'i SmolStr, &'i Vec<Integration>)>,
    ) -> Vec<Callback> {
        let of = |receiver: &SmolStr, integration: &Integration| {
            let secret = integration.notifier.callback_secret()?.clone();
            Some(Callback { tool: integration.notifier.kind().name, receiver: receiver.clone(), secret })
        };
        let all =
            receivers.into_iter().flat_map(|(receiver, all)| all.iter().map(move |one| (receiver, one)));
        all.filter_map(|(receiver, integration)| of(receiver, integration)).collect()
    }
}

/// How a replica stands to the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicated {
    /// The word that only replicas know.
    pub secret: Arc<str>,
    /// Where the owner answers, if that is another replica.
    pub owner: Option<Arc<str>>,
    /// The owner, in words, if that is another replica.
    pub why: Arc<str>,
}

/// The node as the HTTP surface sees it.
pub trait Gate: Send + Sync + 'static {
    /// The engine's time.
    fn now(&self) -> Timestamp;

    /// Wall time, which a sender's times are compared with.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// API v2: how long an alert without `endsAt` fires.
    fn resolve_timeout(&self) -> Duration;

    /// The labels that the configuration names, which stay when an alert has too many.
    fn named_labels(&self) -> Arc<NamedLabels> {
        Arc::default()
    }

    /// The roles of callers, as of the last reload. The default lets everybody do everything.
    fn access(&self) -> Arc<Access> {
        static OPEN: LazyLock<Arc<Access>> = LazyLock::new(|| Arc::new(Access::open()));
        Arc::clone(&OPEN)
    }

    /// Counts a request that was refused because of its sender.
    fn refused(&self, _area: Area) {}

    /// Where spans come from.
    fn tracer(&self) -> Tracer {
        Tracer::default()
    }

    /// Takes a batch, with the trace of its request. It resolves when the batch is durable. It is polled to
    /// the end even if the client goes away.
    ///
    /// # Errors
    /// It could not be made durable: the sender must keep it and try again.
    fn accept(&self, batch: Batch, trace: Option<TraceContext>) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// Whether alerts can be taken, else why not.
    fn ready(&self) -> Result<(), String>;

    /// The owner's name, if this replica accepts alerts for another one that owns the storage.
    fn standby(&self) -> Option<String> {
        None
    }

    /// How this process stands to the other replicas, if several share the storage.
    fn replicated(&self) -> Option<Replicated> {
        None
    }

    /// The owner of the storage, if several processes share it.
    fn ownership(&self) -> Option<Ownership> {
        None
    }

    /// Reads the configuration anew. The old one stays in force if that fails, and the error says why.
    fn reload(&self) -> BoxFuture<'_, Result<String, String>>;

    /// Takes over how many alerts that fire are active, and how many are suppressed, for the metrics.
    fn counted(&self, _active: u64, _suppressed: u64) {}

    /// All metrics in Prometheus' text format 0.0.4.
    fn metrics(&self) -> String;

    /// Searches the decision log. It never waits for the engine.
    fn decisions(&self, query: DecisionQuery) -> Searched<'_, DecisionPage>;

    /// Lists incidents, open or closed, and never waits for the engine.
    fn history(&self, _query: PastIncidentQuery) -> Searched<'_, PastIncidentPage> {
        Box::pin(async { Ok(PastIncidentPage::default()) })
    }

    /// Reads one incident, open or closed, and never waits for the engine.
    fn incident(&self, _wanted: WhichIncident) -> Searched<'_, NamedIncident> {
        Box::pin(async { Ok(NamedIncident::None) })
    }

    /// Reads the review of one incident, and never waits for the engine.
    fn review(&self, _wanted: WhichIncident) -> Searched<'_, NamedIncident<Review>> {
        Box::pin(async { Ok(NamedIncident::None) })
    }

    /// Counts the load of the people on call, and never waits for the engine.
    fn on_call(&self, since: Timestamp, until: Timestamp) -> Searched<'_, OnCallEntry> {
        let none = OnCallEntry { since, until, ..OnCallEntry::default() };
        Box::pin(async { Ok(none) })
    }

    /// The pages that went out in a time. It never waits for the engine.
    fn pages(&self, _since: Timestamp, _until: Timestamp) -> Searched<'_, Vec<SentPage>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Compares how often the alerts fire that match with earlier weeks, and never waits for the engine.
    fn baseline(&self, _matchers: Vec<Matcher>, _now: Timestamp) -> Searched<'_, Baseline> {
        Box::pin(async { Err(SearchError::Busy) })
    }

    /// The alerts that flapped from a time on, and how many there are. It never waits for the engine.
    fn flapped(&self, _since: Timestamp) -> Searched<'_, (Vec<Flapped>, usize)> {
        Box::pin(async { Ok((Vec::new(), 0)) })
    }

    /// Counts the decision log's rows from `from` to `to`. It never waits for the engine.
    fn noise(&self, from: Timestamp, to: Timestamp) -> Searched<'_, Tally>;

    /// Longer settings of rules, as Squelch priced them last. If that is old, Squelch begins to price them
    /// anew.
    fn suggestions(&self) -> Arc<Priced> {
        Arc::default()
    }

    /// Dead letters, newest first.
    fn dead_letters(&self, wanted: LetterQuery) -> BoxFuture<'_, Result<DeadLetters, Unavailable>>;

    /// Sends a dead letter again. It resolves when that is durable.
    fn replay(&self, id: NotificationId) -> BoxFuture<'_, Result<(), ReplayError>>;

    /// Releases an alert that is held back, so that it pages now. It resolves when that is durable.
    fn release(&self, release: Release) -> BoxFuture<'_, Result<(), ReleaseError>>;

    /// A person acknowledged an incident, or took that back. It resolves when that is durable.
    fn acknowledge(&self, _change: Acknowledgement) -> BoxFuture<'_, Result<(), Unavailable>> {
        Box::pin(async { Err(Unavailable("this server takes no acknowledgements".into())) })
    }

    /// The secrets with which acknowledgements are checked.
    fn callbacks(&self) -> Arc<Vec<Callback>> {
        Arc::default()
    }

    /// Has `look` called with the durable engine, or with the reason why there is none. It is called on the
    /// engine's thread: it must be quick, and copy no more than it shows.
    fn look(&self, look: Look);

    /// The counters as of the last durable tick.
    fn stats(&self) -> Arc<Stats>;

    /// The bounds in force.
    fn limits(&self) -> BoundsInForce {
        BoundsInForce::default()
    }

    /// How delivery goes, by receiver.
    fn health(&self) -> BTreeMap<SmolStr, Health>;

    /// The configuration in force as YAML, its secrets masked.
    fn configuration(&self) -> Arc<str>;

    /// The description of receivers and routes for API v2.
    fn labelling(&self) -> Arc<Labelling> {
        Arc::default()
    }

    /// Makes, changes or ends a silence. It resolves, with its id, when that is durable.
    fn silence(&self, request: SilenceRequest) -> BoxFuture<'_, Result<SmolStr, SilenceFailure>>;

    /// Counts one alert, or one whole body, that was invalid or had to be mended.
    fn rejected(&self, source: Source, reason: InvalidReason);

    /// Counts one answer with status `code`. `path` is one of [`super::paths`], or empty if the request
    /// matched none of them.
    fn answered(&self, path: &str, code: u16);

    /// Counts a connection that was closed to make room for a new one.
    fn crowded(&self);

    /// Counts a request or a connection that met a bound.
    fn bounded(&self, _bound: Bounded) {}
}

/// The description of receivers and routes for API v2, beside the engine's state.
#[derive(Clone)]
pub struct Labelling {
    receivers: BTreeMap<SmolStr, LabelSet>,
    /// The templates that the labels of a route may call.
    pub(super) templates: Arc<Library>,
}

impl Labelling {
    /// That of a configuration.
    pub fn new(config: &Config) -> Self {
        Labelling { receivers: config.receiver_labels.clone(), templates: Arc::clone(&config.templates) }
    }

    /// The labels of a receiver. Its name is one of them.
    pub(super) fn of(&self, receiver: &str) -> LabelSet {
        let own = self.receivers.get(receiver).into_iter().flat_map(LabelSet::iter);
        LabelSet::from_pairs(own.chain([("name", receiver)]))
    }
}

impl Default for Labelling {
    fn default() -> Self {
        Labelling { receivers: BTreeMap::new(), templates: Library::built_in() }
    }
}

/// Bounds of the HTTP surface that a request or a connection can meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bounded {
    /// Too many logins wait to be checked.
    Logins,
    /// Too many requests are being served.
    Requests,
    /// Answers that clients have not read hold all the memory that there is for them.
    Answers,
    /// A client did not take its answer.
    Unread,
    /// Bodies hold all the memory that there is for them.
    Bodies,
    /// A body was late, and its memory was needed for another.
    LateBody,
}

impl Bounded {
    /// Every bound, for zero-initialised metrics.
    pub const ALL: [Bounded; 6] = [
        Bounded::Logins,
        Bounded::Requests,
        Bounded::Answers,
        Bounded::Unread,
        Bounded::Bodies,
        Bounded::LateBody,
    ];

    /// The value of the label `bound`.
    pub fn as_str(self) -> &'static str {
        match self {
            Bounded::Logins => "logins",
            Bounded::Requests => "requests",
            Bounded::Answers => "answers",
            Bounded::Unread => "unread",
            Bounded::Bodies => "bodies",
            Bounded::LateBody => "late_body",
        }
    }
}

/// The bounds in force, and whether memory is short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoundsInForce {
    /// Alerts that may be known at once.
    pub alerts: u64,
    /// The memory budget in bytes, if there is one.
    pub memory: Option<u64>,
    /// Why alerts that are not known yet are refused, while they are.
    pub short: Option<String>,
}

/// A person acknowledges an incident, takes that back, or remarks on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Acknowledgement {
    /// The incident of a key, at the receivers that page through a tool.
    Incident(Acknowledge),
    /// The open incidents that list the alert of an event.
    Event {
        /// The source of the event.
        source: Source,
        /// The labels of its alert.
        labels: LabelSet,
        /// The person who acknowledged it.
        by: SmolStr,
    },
    /// A note, or whether the page was useful.
    Remark(IncidentRemark),
}

/// A look at the engine.
pub type Look = Box<dyn FnOnce(Result<&Engine, &str>) + Send>;

/// The node cannot do it now. The same may succeed later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Why the decision log was not searched.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// As many searches as may run at once are under way, and others wait.
    #[error("too many searches at once: try again")]
    Busy,
    /// The decision log says no.
    #[error(transparent)]
    DecisionLog(#[from] DecisionLogError),
}

/// Why a dead letter was not sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There is no dead letter of that number.
    #[error("there is no dead letter of that number. GET /api/v1/dead-letters lists them")]
    NotFound,
    /// It opens or changes an incident that nothing would close.
    #[error("its incident is over: sent again, it would open one at the receiver that nothing closes")]
    Over,
    /// The node cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why nothing was released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The alert is not held back at that receiver, or no longer.
    #[error("nothing of this alert is held back at that receiver any more: look again")]
    NotHeld,
    /// The node cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a request about silences was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceFailure {
    /// It can never succeed unchanged.
    #[error(transparent)]
    Refused(#[from] SilenceError),
    /// The node cannot do it now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
