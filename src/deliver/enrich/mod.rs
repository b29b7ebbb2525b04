//! The additions to a page when it leaves. Prometheus gives the value of a rule's expression now, and its
//! last hour. The decision log tells how often the rule fires ([`baseline`]).
//!
//! Squelch asks the Prometheus of the configuration and no other. The URL of an alert gives the expression
//! alone. A page waits for at most [`PATIENCE`], once, whether Prometheus answers or not.

mod baseline;
mod expression;
mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(super) use baseline::Baselines;

use super::{DeliverError, HttpClient};
use crate::config::Enrichment;
use crate::model::{Kind, Notification, Status, Timestamp};
use crate::templates::Readings;
use series::Answered;

/// A page waits no longer than this.
const PATIENCE: Duration = Duration::from_millis(500);
/// A request may go on for so long after its page has left, because the next page may need its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// After a request without an answer, Squelch asks nothing for so long.
const REST: Duration = Duration::from_secs(15);
/// An answer holds for so long.
const FRESH: Duration = Duration::from_secs(60);
/// Requests that are under way at once.
const AT_ONCE: usize = 4;
/// A page asks about so many expressions.
const EXPRESSIONS: usize = 3;
/// So many alerts of a page have readings. No default text lists more.
const ALERTS: usize = 50;
/// An answer has at most so many bytes.
const ANSWER_BYTES: usize = 1 << 20;
/// All answers that are kept have at most so many bytes. Each counts for at least [`LEAST_BYTES`].
const CACHE_BYTES: u64 = 8 << 20;
const LEAST_BYTES: usize = 4 << 10;

/// Asks Prometheus. Clones are one.
#[derive(Clone)]
pub(super) struct Enricher(Arc<Shared>);

struct Shared {
    client: HttpClient,
    /// The address of `query_range`.
    url: String,
    wall: fn() -> Timestamp,
    meter: EnrichMeter,
    /// By expression. Nothing: Prometheus refused it.
    answers: Cache<String, Option<Arc<Answered>>>,
    asking: Semaphore,
    rests_until: Mutex<Option<Instant>>,
}

/// The metrics of enrichment.
#[derive(Clone)]
pub(super) struct EnrichMeter {
    lookups: IntCounterVec,
    baselines: IntCounterVec,
    seconds: Histogram,
}

/// Where the answer about an expression came from, or why there is none.
#[derive(Clone, Copy)]
enum Lookup {
    /// It was there.
    Cached,
    /// Prometheus gave it in time.
    Answered,
    /// Prometheus gave none, or one that says nothing.
    Failed,
    /// Prometheus was too slow for the page.
    Late,
    /// Squelch did not ask, because Prometheus did not answer just before.
    Skipped,
}

impl Lookup {
    const ALL: [Lookup; 5] =
        [Lookup::Cached, Lookup::Answered, Lookup::Failed, Lookup::Late, Lookup::Skipped];

    fn as_str(self) -> &'static str {
        match self {
            Lookup::Cached => "cached",
            Lookup::Answered => "answered",
            Lookup::Failed => "failed",
            Lookup::Late => "late",
            Lookup::Skipped => "skipped",
        }
    }
}

impl EnrichMeter {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Expressions that pages asked Prometheus about, by the source of the answer.";
        let lookups = IntCounterVec::new(Opts::new("squelch_enrichment_lookups_total", help), &["outcome"])?;
        let help = "Pages that asked the decision log how often their rules fire, by how the answer came.";
        let baselines = IntCounterVec::new(Opts::new("squelch_baseline_lookups_total", help), &["outcome"])?;
        let help = "Time that a request to Prometheus took.";
        let buckets = vec![0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];
        let options = HistogramOpts::new("squelch_enrichment_request_seconds", help).buckets(buckets);
        let seconds = Histogram::with_opts(options)?;
        registry.register(Box::new(lookups.clone()))?;
        registry.register(Box::new(baselines.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        for lookup in Lookup::ALL {
            lookups.with_label_values(&[lookup.as_str()]);
        }
        for lookup in [Lookup::Answered, Lookup::Failed, Lookup::Late, Lookup::Skipped] {
            baselines.with_label_values(&[lookup.as_str()]);
        }
        Ok(EnrichMeter { lookups, baselines, seconds })
    }

    fn count(&self, lookup: Lookup) {
        self.lookups.with_label_values(&[lookup.as_str()]).inc();
    }

    fn count_baseline(&self, lookup: Lookup) {
        self.baselines.with_label_values(&[lookup.as_str()]).inc();
    }
}

impl Enricher {
    /// Reads the certificates now.
    pub(super) fn new(
        config: &Enrichment,
        meter: EnrichMeter,
        wall: fn() -> Timestamp,
    ) -> Result<Self, DeliverError> {
        let client = HttpClient::new(&config.http, TIMEOUT, wall)?;
        let url = format!("{}/api/v1/query_range", config.prometheus_url.trim_end_matches('/'));
        let weigh = |expression: &String, answer: &Option<Arc<Answered>>| {
            let bytes = expression.len() + answer.as_ref().map_or(0, |answer| answer.bytes());
            u32::try_from(bytes.max(LEAST_BYTES)).unwrap_or(u32::MAX)
        };
        let answers = Cache::builder().max_capacity(CACHE_BYTES).weigher(weigh).time_to_live(FRESH).build();
        let (asking, rests_until) = (Semaphore::new(AT_ONCE), Mutex::default());
        Ok(Enricher(Arc::new(Shared { client, url, wall, meter, answers, asking, rests_until })))
    }

    /// Prometheus' readings for the alerts of a page, as far as they come in time.
    pub(super) async fn readings(&self, n: &Notification) -> Readings {
        let mut readings = Readings::default();
        if n.kind != Kind::Page {
            return readings;
        }
        let firing = || n.alerts.iter().filter(|alert| alert.status == Status::Firing).take(ALERTS);
        let mut of_alert = BTreeMap::new();
        let mut expressions = BTreeSet::new();
        for alert in firing() {
            let Some(expression) = expression::of(&alert.generator_url) else { continue };
            if expressions.len() < EXPRESSIONS || expressions.contains(&expression) {
                expressions.insert(expression.clone());
                of_alert.insert(alert.id, expression);
            }
        }
        let answers = self.answers(expressions).await;
        for alert in firing() {
            let answer = of_alert.get(&alert.id).and_then(|expression| answers.get(expression));
            if let Some(reading) = answer.and_then(|answer| answer.reading(&alert.labels)) {
                readings.of_alerts.insert(alert.id, reading);
            }
        }
        readings
    }

    /// The answers that are there within the patience of one page.
    async fn answers(&self, expressions: BTreeSet<String>) -> BTreeMap<String, Arc<Answered>> {
        let (mut answers, mut asked) = (BTreeMap::new(), JoinSet::new());
        for expression in expressions {
            if let Some(known) = self.0.answers.get(&expression) {
                self.0.meter.count(Lookup::Cached);
                answers.extend(known.map(|answer| (expression, answer)));
            } else if self.rests() {
                self.0.meter.count(Lookup::Skipped);
            } else {
                let enricher = self.clone();
                asked.spawn(async move {
                    let answer = enricher.ask(&expression).await;
                    (expression, answer)
                });
            }
        }
        let until = Instant::now() + PATIENCE;
        while let Ok(Some(done)) = tokio::time::timeout_at(until, asked.join_next()).await {
            match done {
                Ok((expression, Some(answer))) => {
                    self.0.meter.count(Lookup::Answered);
                    answers.insert(expression, answer);
                }
                Ok((_, None)) | Err(_) => self.0.meter.count(Lookup::Failed),
            }
        }
        (0..asked.len()).for_each(|_| self.0.meter.count(Lookup::Late));
        // The answers that are late are for the next page.
        asked.detach_all();
        answers
    }

    fn rests(&self) -> bool {
        let until = self.0.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Asks, and keeps the answer.
    async fn ask(&self, expression: &str) -> Option<Arc<Answered>> {
        let _turn = self.0.asking.acquire().await.ok()?;
        // Another page may have got the answer meanwhile, or none.
        if let Some(known) = self.0.answers.get(expression) {
            return known;
        }
        if self.rests() {
            return None;
        }
        let end = (self.0.wall)();
        let query = series::query(expression, end);
        let began = Instant::now();
        let answer = self.0.client.get(&format!("{}?{query}", self.0.url), ANSWER_BYTES).await;
        self.0.meter.seconds.observe(began.elapsed().as_secs_f64());
        let read = match answer {
            Ok(answer) if answer.truncated => Err(format!("it is larger than {ANSWER_BYTES} bytes")),
            Ok(answer) if answer.status != 200 => {
                Err(format!("status {}: {}", answer.status, answer.excerpt()))
            }
            Ok(answer) => Answered::read(&answer.body, end),
            Err(error) => {
                *self.0.rests_until.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(Instant::now() + REST);
                tracing::warn!(%error, "Prometheus does not answer: pages leave without values for a while");
                return None;
            }
        };
        let read = read.map(Arc::new).inspect_err(|error| {
            tracing::debug!(expression, error, "an answer of Prometheus cannot be used");
        });
        let read = read.ok();
        self.0.answers.insert(expression.to_owned(), read.clone());
        read
    }
}
