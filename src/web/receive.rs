//! Alerts in: `POST /alertmanager/webhook` and `POST /api/v2/alerts`.
//!
//! 2xx only when the observations are durable. 503 when they could not be made so. 4xx only for input that
//! can never succeed.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use smol_str::SmolStr;

use super::app::{App, Peer, Posted};
use super::body::{self, ArrivedBody, BodyShare, RefusedBody};
use super::problem::{Problem, json as json_response};
use super::v2::refusal::Refusal;
use crate::ingest::{IngestError, InvalidReason, NamedLabels, Parsed, Reject, api_v2, webhook};
use crate::model::{Batch, Source, Timestamp};
use crate::spans::{SpanRole, TraceContext};

/// Bodies larger than this are parsed off the threads that serve connections.
const PARSE_INLINE_BYTES: usize = 256 << 10;

/// `POST /alertmanager/webhook`
pub(super) async fn webhook(State(app): State<App>, posted: Posted) -> Response {
    let (from, headers, body) = Sender::of(Source::Alertmanager, posted);
    let parse = |body: &[u8], peer: &str, at, named: &NamedLabels| webhook::parse(body, peer, at, named);
    match app.receive(from, &headers, body, parse).await {
        Ok(taken) => accepted(&taken),
        Err(problem) => problem.into_response(),
    }
}

/// The answer to a webhook: how many of its alerts were taken, and the errors of the others. If there are
/// any others it is a 400, since few senders read more than the status.
fn accepted(taken: &Taken) -> Response {
    let status = if taken.rejects.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut answer = json!({ "accepted": taken.alerts, "rejected": taken.rejects });
    if taken.unlisted > 0 {
        answer["rejected_not_listed"] = taken.unlisted.into();
    }
    json_response(status, "application/json", &answer)
}

/// `POST /api/v2/alerts`, answered as Alertmanager answers it: 200 without a body, or 400 with a JSON
/// string when some alerts were not valid. The valid ones are taken.
pub(super) async fn api_v2(State(app): State<App>, posted: Posted) -> Response {
    let (from, headers, body) = Sender::of(Source::Prometheus, posted);
    if let Some(problem) = not_json(&headers) {
        let refused = body::blamed(InvalidReason::UnsupportedType, problem.status, problem.detail);
        return Refusal::from(app.refuse(&from, refused, &[])).into_response();
    }
    let timeout = app.gate.resolve_timeout();
    let parse =
        move |body: &[u8], peer: &str, at, named: &NamedLabels| api_v2::parse(body, peer, at, timeout, named);
    match app.receive(from, &headers, body, parse).await {
        Ok(taken) if taken.rejects.is_empty() => StatusCode::OK.into_response(),
        Ok(taken) => {
            let errors: Vec<String> =
                taken.rejects.iter().map(|r| format!("alert {}: {}", r.index, r.error)).collect();
            json_response(StatusCode::BAD_REQUEST, "application/json", &errors.join("\n"))
        }
        Err(problem) => Refusal::from(problem).into_response(),
    }
}

/// The sender of a request.
pub(super) struct Sender {
    pub(super) source: Source,
    pub(super) peer: IpAddr,
    /// The name that its credentials have.
    pub(super) caller: Option<SmolStr>,
    /// The trace of the request.
    pub(super) trace: Option<TraceContext>,
}

impl Sender {
    /// The sender of a request, with its headers and body.
    fn of(source: Source, posted: Posted) -> (Sender, HeaderMap, Body) {
        let Posted { peer: Peer(peer), caller, trace, headers, body, .. } = posted;
        (Sender { source, peer, caller: caller.map(|caller| caller.name), trace }, headers, body)
    }
}

/// The part of a body that was taken, and the part that was not.
struct Taken {
    /// How many alerts were taken.
    alerts: usize,
    rejects: Vec<Reject>,
    /// How many rejects are not listed.
    unlisted: u64,
}

/// Binds statements to the source whose credentials came with them: a sender names itself, but within its
/// own name. Members of a pair that share credentials stay two.
fn bound(mut parsed: Parsed, source: Option<&str>) -> Parsed {
    if let Some(source) = source {
        parsed.batch.peer = format!("{source}@{}", parsed.batch.peer).into();
    }
    parsed
}

/// Runs `work` on a body of `length` bytes, here or where it holds up no connection.
pub(super) async fn read<T: Send + 'static>(
    length: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if length <= PARSE_INLINE_BYTES {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::unavailable("the body could not be read: try again"))
}

pub(super) fn unusable(error: &IngestError) -> RefusedBody {
    body::blamed(error.reason(), StatusCode::BAD_REQUEST, error.to_string())
}

/// API v2 takes JSON that says so, and nothing else.
pub(in crate::web) fn not_json(headers: &HeaderMap) -> Option<Problem> {
    let found = headers.get(header::CONTENT_TYPE);
    let value = found.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return None;
    }
    let detail = match found {
        Some(found) => format!("unsupported media type {found:?}, only application/json is allowed"),
        None => "no media type given, only application/json is allowed".to_owned(),
    };
    Some(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail))
}

impl App {
    /// Takes the alerts of a request, in a span.
    async fn receive<P>(
        &self,
        from: Sender,
        headers: &HeaderMap,
        body: Body,
        parse: P,
    ) -> Result<Taken, Problem>
    where
        P: FnOnce(&[u8], &str, Timestamp, &NamedLabels) -> Result<Parsed, IngestError> + Send + 'static,
    {
        let mut span = self.gate.tracer().part(from.trace, "ingest", SpanRole::Internal);
        span.set("squelch.source", from.source.as_str());
        let taken = self.take(Sender { trace: span.context(), ..from }, headers, body, parse).await;
        match &taken {
            Ok(taken) => span.set("squelch.alerts", taken.alerts),
            Err(problem) => span.fail(&problem.detail),
        }
        taken
    }

    /// Reads the alerts of a request once, and waits until they are durable.
    async fn take<P>(&self, from: Sender, headers: &HeaderMap, body: Body, parse: P) -> Result<Taken, Problem>
    where
        P: FnOnce(&[u8], &str, Timestamp, &NamedLabels) -> Result<Parsed, IngestError> + Send + 'static,
    {
        let ArrivedBody { bytes, share } =
            self.read(headers, body).await.map_err(|refused| self.refuse(&from, refused, &[]))?;
        let (received_at, named, sent) = (self.gate.wall(), self.gate.named_labels(), bytes.clone());
        let (peer, caller) = (from.peer.to_string(), from.caller.clone());
        // The work holds its share of memory as long as it runs, also when its client has gone away.
        let work = move || {
            let parsed = parse(&sent, &peer, received_at, &named)?;
            Ok((bound(parsed, caller.as_deref()), share))
        };
        let (parsed, share) =
            read(bytes.len(), work).await?.map_err(|e| self.refuse(&from, unusable(&e), &bytes))?;
        self.note(&from, &parsed, &bytes);
        let unlisted = parsed.rejected_total() - parsed.rejects.len() as u64;
        let taken = Taken { alerts: parsed.batch.observations.len(), rejects: parsed.rejects, unlisted };
        self.hand_over(parsed.batch, from.trace, share).await?;
        Ok(taken)
    }

    /// Counts and logs a body that was refused as a whole.
    pub(super) fn refuse(&self, from: &Sender, refused: RefusedBody, body: &[u8]) -> Problem {
        if let Some(reason) = refused.reason {
            self.gate.rejected(from.source, reason);
            self.refusals.log(from.peer, reason, &refused.problem.detail, body);
        }
        refused.problem
    }

    /// Counts and logs the refused and mended alerts of an accepted body.
    fn note(&self, from: &Sender, parsed: &Parsed, body: &Bytes) {
        for (&reason, &count) in parsed.rejected.iter().chain(&parsed.mended) {
            for _ in 0..count {
                self.gate.rejected(from.source, reason);
            }
            let first = parsed.rejects.iter().find(|r| r.reason == reason);
            let detail = match (first, parsed.first_mended.get(&reason)) {
                (Some(r), _) => {
                    format!("{count} of the body's alerts, such as alert {}: {}", r.index, r.error)
                }
                (None, Some(first)) => format!("{count} of the body's alerts: {first}"),
                (None, None) => format!("{count} of the body's alerts"),
            };
            self.refusals.log(from.peer, reason, &detail, body);
        }
        if parsed.truncated > 0 {
            tracing::debug!(
                peer = %from.peer,
                truncated = parsed.truncated,
                receiver = parsed.receiver,
                group_key = parsed.group_key,
                "the sender's max_alerts left alerts out"
            );
        }
    }

    /// Hands the batch to the node and waits until it is durable. It is a task of its own. The caller's
    /// task ends when the client goes away, and the observations must not end with it.
    pub(super) async fn hand_over(
        &self,
        batch: Batch,
        trace: Option<TraceContext>,
        share: BodyShare,
    ) -> Result<(), Problem> {
        if batch.observations.is_empty() {
            return Ok(());
        }
        let gate = Arc::clone(&self.gate);
        let task = tokio::spawn(async move {
            let accepted = gate.accept(batch, trace).await;
            drop(share);
            accepted
        });
        match tokio::time::timeout(self.limits.answer_timeout, task).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(unavailable))) => Err(Problem::unavailable(unavailable.to_string())),
            Ok(Err(_)) => Err(Problem::unavailable("the alerts could not be taken: try again")),
            Err(_) => {
                let within = self.limits.answer_timeout;
                Err(Problem::unavailable(format!("the alerts were not durable within {within:?}. Try again")))
            }
        }
    }
}
