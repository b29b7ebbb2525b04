//! Traces: the way of a request, from its arrival to the deliveries that it causes.
//!
//! A span ends when it is dropped, and goes into a bounded queue. Where nothing takes it, it is lost, and
//! counted. No request and no page waits for a span.

mod carried;
mod context;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::mpsc;

use crate::model::{AlertId, AlertView};
use carried::Carried;
pub use context::TraceContext;

/// So many ended spans wait to be sent. Further ones are lost.
pub const QUEUE: usize = 2048;

/// A span has at most so many links.
const LINKS: usize = 32;

/// Makes spans. Clones are one tracer. It makes none before it has a receiver for them.
#[derive(Clone, Default)]
pub struct Tracer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    sink: ArcSwapOption<Sink>,
    carried: Mutex<Carried>,
    spans: Option<IntCounterVec>,
}

struct Sink {
    out: mpsc::Sender<Ended>,
    /// The share of requests without a parent that are traced.
    fraction: f64,
}

/// The fate of spans, as a label.
#[derive(Clone, Copy)]
pub enum Fate {
    /// The collector took it.
    Sent,
    /// The collector refused it, or did not answer.
    Failed,
    /// The queue was full.
    Dropped,
}

impl Fate {
    /// All of them.
    pub const ALL: [Fate; 3] = [Fate::Sent, Fate::Failed, Fate::Dropped];

    fn as_str(self) -> &'static str {
        match self {
            Fate::Sent => "sent",
            Fate::Failed => "failed",
            Fate::Dropped => "dropped",
        }
    }
}

impl Tracer {
    /// A tracer that counts.
    ///
    /// # Errors
    /// The registry has a metric of this name.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Spans of traces, by whether the collector took them.";
        let spans = IntCounterVec::new(Opts::new("squelch_trace_spans_total", help), &["outcome"])?;
        registry.register(Box::new(spans.clone()))?;
        for fate in Fate::ALL {
            spans.with_label_values(&[fate.as_str()]);
        }
        Ok(Tracer(Arc::new(Shared { spans: Some(spans), ..Shared::default() })))
    }

    /// From now on, spans go to the receiver that this returns. `fraction` is the share of requests without
    /// a parent that are traced. An earlier receiver gets no more spans.
    pub fn start(&self, fraction: f64) -> mpsc::Receiver<Ended> {
        let (out, spans) = mpsc::channel(QUEUE);
        self.0.sink.store(Some(Arc::new(Sink { out, fraction })));
        spans
    }

    /// Makes no more spans.
    pub fn stop(&self) {
        self.0.sink.store(None);
    }

    /// Counts spans.
    pub fn count(&self, fate: Fate, spans: usize) {
        if let Some(counter) = &self.0.spans {
            counter.with_label_values(&[fate.as_str()]).inc_by(spans as u64);
        }
    }

    /// A request has arrived with this `traceparent`. It is traced if its parent is. Without a parent, the
    /// fraction decides.
    pub fn arrives(&self, traceparent: Option<&str>) -> Span {
        let Some(sink) = self.0.sink.load_full() else { return Span(None) };
        match traceparent.and_then(TraceContext::parse) {
            Some((parent, true)) => {
                self.span(&sink, parent.trace, Some(parent.span), "request", SpanRole::Server)
            }
            Some((_, false)) => Span(None),
            None => match context::trace_of(sink.fraction) {
                Some(trace) => self.span(&sink, trace, None, "request", SpanRole::Server),
                None => Span(None),
            },
        }
    }

    /// A part of the parent's work. Without a parent, nothing is traced.
    pub fn part(&self, parent: Option<TraceContext>, name: &'static str, role: SpanRole) -> Span {
        match (self.0.sink.load_full(), parent) {
            (Some(sink), Some(parent)) => self.span(&sink, parent.trace, Some(parent.span), name, role),
            _ => Span(None),
        }
    }

    fn span(
        &self,
        sink: &Arc<Sink>,
        trace: u128,
        parent: Option<u64>,
        name: &'static str,
        role: SpanRole,
    ) -> Span {
        let began = Instant::now();
        let ended = Ended {
            context: TraceContext { trace, span: context::span() },
            parent,
            name: name.to_owned(),
            role,
            began,
            ended: began,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        };
        Span(Some(Box::new(Open { ended, sink: sink.clone(), tracer: self.clone() })))
    }

    /// Remembers the request that last stated these alerts, so that their notifications can name it.
    pub fn carries(&self, alerts: impl IntoIterator<Item = AlertId>, context: TraceContext) {
        self.carried().carry(alerts, context);
    }

    /// The requests that stated the alerts of a notification, the newest first.
    pub fn told_of(&self, alerts: &[AlertView]) -> Vec<TraceContext> {
        match self.0.sink.load().is_some() {
            true => self.carried().told_of(alerts, LINKS + 1),
            false => Vec::new(),
        }
    }

    fn carried(&self) -> std::sync::MutexGuard<'_, Carried> {
        self.0.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other side of a span.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpanRole {
    /// None.
    Internal,
    /// A client, which Squelch answers.
    Server,
    /// A server, which Squelch asks.
    Client,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> AttributeValue {
        AttributeValue::Text(text.to_owned())
    }
}

impl From<usize> for AttributeValue {
    fn from(number: usize) -> AttributeValue {
        AttributeValue::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for AttributeValue {
    fn from(number: u32) -> AttributeValue {
        AttributeValue::Whole(number.into())
    }
}

impl From<u16> for AttributeValue {
    fn from(number: u16) -> AttributeValue {
        AttributeValue::Whole(number.into())
    }
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its trace and its number.
    pub context: TraceContext,
    /// The number of the span that it is a part of.
    pub parent: Option<u64>,
    /// Its name.
    pub name: String,
    /// The other side.
    pub role: SpanRole,
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// Its attributes.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Spans of other traces that led to it.
    pub links: Vec<TraceContext>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// A span that is under way, or nothing where nothing is traced. It ends when it is dropped.
pub struct Span(Option<Box<Open>>);

struct Open {
    ended: Ended,
    sink: Arc<Sink>,
    tracer: Tracer,
}

impl Span {
    /// Its trace and its number. `None` where nothing is traced.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.ended.context)
    }

    /// Gives it a better name.
    pub fn name(&mut self, name: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.ended.name = name();
        }
    }

    /// Sets an attribute.
    pub fn set(&mut self, key: &'static str, value: impl Into<AttributeValue>) {
        if let Some(open) = &mut self.0 {
            open.ended.attributes.push((key, value.into()));
        }
    }

    /// Links it to spans of other traces.
    pub fn link(&mut self, to: impl IntoIterator<Item = TraceContext>) {
        if let Some(open) = &mut self.0 {
            open.ended.links.extend(to.into_iter().take(LINKS));
        }
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, why: &str) {
        if let Some(open) = &mut self.0 {
            open.ended.error = Some(why.to_owned());
        }
    }

    /// It is no span after all.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        let Open { mut ended, sink, tracer } = *open;
        ended.ended = Instant::now();
        if sink.out.try_send(ended).is_err() {
            tracer.count(Fate::Dropped, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn nothing_is_traced_until_spans_have_a_place_to_go() {
        let tracer = Tracer::default();
        assert_eq!(tracer.arrives(Some(PARENT)).context(), None);
        let mut spans = tracer.start(0.0);
        drop(tracer.arrives(Some(PARENT)));
        assert!(spans.try_recv().is_ok());
        tracer.stop();
        assert_eq!(tracer.arrives(Some(PARENT)).context(), None);
    }

    #[test]
    fn a_request_follows_its_parent_and_else_the_fraction() {
        let tracer = Tracer::default();
        let _spans = tracer.start(0.0);
        let span = tracer.arrives(Some(PARENT));
        assert_eq!(span.context().unwrap().trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(tracer.arrives(None).context(), None);
        let _spans = tracer.start(1.0);
        assert_eq!(tracer.arrives(Some(&PARENT.replace("-01", "-00"))).context(), None);
        assert!(
            tracer.arrives(None).context().is_some() && tracer.arrives(Some("nonsense")).context().is_some()
        );
        let _spans = tracer.start(0.25);
        let traced = (0..4000).filter(|_| tracer.arrives(None).context().is_some()).count();
        assert!((700..1300).contains(&traced), "{traced}");
    }

    #[test]
    fn a_full_queue_loses_spans_and_counts_them() {
        let registry = Registry::new();
        let tracer = Tracer::new(&registry).unwrap();
        let mut spans = tracer.start(1.0);
        for _ in 0..QUEUE + 3 {
            drop(tracer.arrives(None));
        }
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("squelch_trace_spans_total{outcome=\"dropped\"} 3\n"), "{text}");
        assert_eq!(std::iter::from_fn(|| spans.try_recv().ok()).count(), QUEUE);
    }
}
