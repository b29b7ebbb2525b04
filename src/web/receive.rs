//! Alerts in: `POST /alertmanager/webhook` and `POST /api/v2/alerts`.
//!
//! 2xx only when what was said is durable; 503 when it could not be made so; 4xx only for what can
//! never succeed.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::access::Caller;
use super::answers::named;
use super::app::{App, Peer};
use super::body::{self, Arrived, Refused, Share};
use super::problem::{Problem, json as json_response};
use crate::ingest::{IngestError, InvalidReason, Parsed, Reject, Said, api_v2, webhook};
use crate::model::{Batch, Source};

/// Bodies larger than this are parsed off the threads that serve connections.
const PARSE_INLINE_BYTES: usize = 256 << 10;

/// `POST /alertmanager/webhook`
pub(super) async fn webhook(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let source = Source::Alertmanager;
    let Arrived { bytes, share } = match app.read(&headers, body).await {
        Ok(arrived) => arrived,
        Err(refused) => return app.refuse(source, peer, refused, &[]).into_response(),
    };
    let caller = caller.map(|Extension(caller)| caller.name);
    let (answers, sent, sender) = (app.answers.clone(), bytes.clone(), caller.clone());
    let said = read(bytes.len(), move || answers.webhook(sender.as_deref(), peer, &sent)).await;
    let said = said.ok().flatten().unwrap_or_default();
    match app.recognise(source, &said).await {
        Ok(true) => return accepted(said.len(), &[], 0),
        Ok(false) => {}
        Err(problem) => return problem.into_response(),
    }
    let (received_at, sent, labels) = (app.gate.wall(), bytes.clone(), app.gate.named_labels());
    let parsed = parse(bytes.len(), share, move || {
        webhook::parse(&sent, &peer.to_string(), received_at, &labels)
            .map(|parsed| bound(parsed, caller.as_deref()))
    });
    let (parsed, share) = match parsed.await {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(e)) => return app.refuse(source, peer, unusable(&e), &bytes).into_response(),
        Err(problem) => return problem.into_response(),
    };
    app.note(source, peer, &parsed, &bytes);
    let unlisted = parsed.rejected_total() - parsed.rejects.len() as u64;
    let taken = parsed.batch.observations.len();
    let said = if parsed.may_be_recognised(received_at) { &*said } else { &[] };
    if let Err(problem) = app.hand_over(parsed.batch, said, share).await {
        return problem.into_response();
    }
    accepted(taken, &parsed.rejects, unlisted)
}

/// What a webhook is told: how many of its alerts were taken, and what was wrong with the others. If there
/// are any others it is a 400, since few senders read more than the status.
fn accepted(taken: usize, rejects: &[Reject], unlisted: u64) -> Response {
    let status = if rejects.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut answer = json!({ "accepted": taken, "rejected": rejects });
    if unlisted > 0 {
        answer["rejected_not_listed"] = unlisted.into();
    }
    json_response(status, "application/json", &answer)
}

/// `POST /api/v2/alerts`, answered as Alertmanager answers it: 200 without a body, or 400 with a JSON
/// string when some of the alerts were not valid, the others having been taken.
pub(super) async fn api_v2(
    State(app): State<App>,
    Extension(Peer(peer)): Extension<Peer>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let source = Source::Prometheus;
    if let Some(problem) = not_json(&headers) {
        let refused = body::blamed(InvalidReason::UnsupportedType, problem.status, problem.detail);
        return app.refuse(source, peer, refused, &[]).into_api_v2();
    }
    let Arrived { bytes, share } = match app.read(&headers, body).await {
        Ok(arrived) => arrived,
        Err(refused) => return app.refuse(source, peer, refused, &[]).into_api_v2(),
    };
    let (received_at, resolve_timeout) = (app.gate.wall(), app.gate.resolve_timeout());
    let caller = caller.map(|Extension(caller)| caller.name);
    let (answers, sent, sender) = (app.answers.clone(), bytes.clone(), named(caller.as_deref(), peer));
    let said = read(bytes.len(), move || answers.glance().api_v2(&sent, &sender, received_at)).await;
    let said: Arc<[Said]> = said.ok().flatten().unwrap_or_default().into();
    match app.recognise(source, &said).await {
        Ok(true) => return StatusCode::OK.into_response(),
        Ok(false) => {}
        Err(problem) => return problem.into_api_v2(),
    }
    let (sent, labels) = (bytes.clone(), app.gate.named_labels());
    let parsed = parse(bytes.len(), share, move || {
        api_v2::parse(&sent, &peer.to_string(), received_at, resolve_timeout, &labels)
            .map(|parsed| bound(parsed, caller.as_deref()))
    });
    let (parsed, share) = match parsed.await {
        Ok(Ok(parsed)) => parsed,
        Ok(Err(e)) => return app.refuse(source, peer, unusable(&e), &bytes).into_api_v2(),
        Err(problem) => return problem.into_api_v2(),
    };
    app.note(source, peer, &parsed, &bytes);
    let said = if parsed.may_be_recognised(received_at) { &*said } else { &[] };
    if let Err(problem) = app.hand_over(parsed.batch, said, share).await {
        return problem.into_api_v2();
    }
    if parsed.rejected.is_empty() {
        return StatusCode::OK.into_response();
    }
    let errors: Vec<String> =
        parsed.rejects.iter().map(|r| format!("alert {}: {}", r.index, r.error)).collect();
    json_response(StatusCode::BAD_REQUEST, "application/json", &errors.join("; "))
}

/// Binds what was said to whose credentials came with it: a sender names itself, but within its own name.
/// Members of a pair that share credentials stay two.
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
    done.map_err(|_| Problem::unavailable("the body could not be read; try again"))
}

/// Runs `work`, which holds its share of memory as long as it runs, also when its client has gone away.
async fn parse(
    length: usize,
    share: Share,
    work: impl FnOnce() -> Result<Parsed, IngestError> + Send + 'static,
) -> Result<Result<(Parsed, Share), IngestError>, Problem> {
    read(length, move || work().map(|parsed| (parsed, share))).await
}

fn unusable(error: &IngestError) -> Refused {
    body::blamed(error.reason(), StatusCode::BAD_REQUEST, error.to_string())
}

/// API v2 takes JSON that says so, and nothing else.
pub(super) fn not_json(headers: &HeaderMap) -> Option<Problem> {
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
    /// Counts and logs a body that was refused as a whole.
    fn refuse(&self, source: Source, peer: IpAddr, refused: Refused, body: &[u8]) -> Problem {
        if let Some(reason) = refused.reason {
            self.gate.rejected(source, reason);
            self.refusals.log(peer, reason, &refused.problem.detail, body);
        }
        refused.problem
    }

    /// Counts and logs what was refused or mended in a body that was taken.
    fn note(&self, source: Source, peer: IpAddr, parsed: &Parsed, body: &Bytes) {
        for (&reason, &count) in parsed.rejected.iter().chain(&parsed.mended) {
            for _ in 0..count {
                self.gate.rejected(source, reason);
            }
            let first = parsed.rejects.iter().find(|r| r.reason == reason);
            let detail = match (first, parsed.first_mended.get(&reason)) {
                (Some(r), _) => format!("{count} of the body's alerts; alert {}: {}", r.index, r.error),
                (None, Some(first)) => format!("{count} of the body's alerts; {first}"),
                (None, None) => format!("{count} of the body's alerts"),
            };
            self.refusals.log(peer, reason, &detail, body);
        }
        if parsed.truncated > 0 {
            tracing::debug!(
                %peer,
                truncated = parsed.truncated,
                receiver = parsed.receiver,
                group_key = parsed.group_key,
                "the sender's max_alerts left alerts out"
            );
        }
    }

    /// Hands the batch to the node and waits until it is durable. It is a task of its own: this one ends
    /// when the client goes away, and what arrived must not end with it.
    async fn hand_over(&self, batch: Batch, said: &[Said], share: Share) -> Result<(), Problem> {
        if batch.observations.is_empty() {
            return Ok(());
        }
        let (gate, said) = (Arc::clone(&self.gate), said.to_vec());
        let task = tokio::spawn(async move {
            let accepted = gate.accept(batch, said).await;
            drop(share);
            accepted
        });
        match tokio::time::timeout(self.limits.answer_timeout, task).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(unavailable))) => Err(Problem::unavailable(unavailable.to_string())),
            Ok(Err(_)) => Err(Problem::unavailable("the alerts could not be taken; try again")),
            Err(_) => Err(self.too_late()),
        }
    }

    /// Has the node take what only repeats what it knows; false if there is anything else. Nothing is lost
    /// if the client goes away meanwhile: it was told nothing.
    async fn recognise(&self, source: Source, said: &Arc<[Said]>) -> Result<bool, Problem> {
        if said.is_empty() {
            return Ok(false);
        }
        let asked = self.gate.recognise(source, Arc::clone(said));
        match tokio::time::timeout(self.limits.answer_timeout, asked).await {
            Ok(answer) => answer.map_err(|unavailable| Problem::unavailable(unavailable.to_string())),
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> Problem {
        let within = self.limits.answer_timeout;
        Problem::unavailable(format!("the alerts were not durable within {within:?}; try again"))
    }
}
