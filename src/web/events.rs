//! Events in, as PagerDuty and Opsgenie take them: a pager URL can point here.
//!
//! The rules are those of `receive.rs`. An answer is 2xx only when the event is durable, and 503 otherwise.
//! 4xx is only for events that the pager would refuse too. The answers are in the form of the pager. No log
//! shows a body, because the body of PagerDuty holds a secret.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::access::{Admission, Area, Caller, Shown};
use super::acknowledged::person;
use super::app::{App, Certificate, Peer, Posted};
use super::body::{self, ArrivedBody, BodyShare};
use super::gate::Acknowledgement;
use super::problem::{Problem, json as json_response};
use super::receive::{Sender, read, unusable};
use crate::ingest::InvalidReason;
use crate::ingest::events::{Action, Wrong, integration, object, opsgenie as genie, pagerduty as pager};
use crate::model::{Batch, LabelSet, Source};
use crate::spans::TraceContext;

/// The longest part of a path that an answer repeats, in characters.
const SHOWN_CHARS: usize = 100;

/// Why an event was not taken.
enum No {
    /// The pager would refuse it too.
    Wrong(Vec<Wrong>),
    /// Any other reason.
    Problem(Problem),
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        No::Problem(problem)
    }
}

/// `POST /pagerduty/v2/enqueue`
pub(super) async fn pagerduty(State(app): State<App>, posted: Posted) -> Response {
    let (Peer(peer), trace) = (posted.peer, posted.trace);
    let taken = async {
        let (event, share, integration) = of_pagerduty(&app, posted).await?;
        let key = pager::dedup_key(&event).unwrap_or_else(made);
        let action = pager::read(&event, &integration, &key, app.gate.wall()).map_err(No::Wrong)?;
        done(&app, (Source::Pagerduty, integration), action, trace, share).await?;
        Ok(key)
    };
    match taken.await {
        Ok(key) => {
            let answer = json!({ "status": "success", "message": "Event processed", "dedup_key": key });
            json_response(StatusCode::ACCEPTED, "application/json", &answer)
        }
        Err(no) => refused_by_pagerduty(&app, peer, no),
    }
}

/// `POST /pagerduty/v2/change/enqueue`: a change pages no person. The page of an incident shows it.
pub(super) async fn change(State(app): State<App>, posted: Posted) -> Response {
    let Peer(peer) = posted.peer;
    let taken = async {
        let (event, _share, _) = of_pagerduty(&app, posted).await?;
        let change = pager::read_change(&event, app.gate.wall()).map_err(No::Wrong)?;
        app.changes.keep(change);
        Ok(())
    };
    match taken.await {
        Ok(()) => {
            let answer = json!({ "status": "success", "message": "Change event processed" });
            json_response(StatusCode::ACCEPTED, "application/json", &answer)
        }
        Err(no) => refused_by_pagerduty(&app, peer, no),
    }
}

/// `POST /opsgenie/v2/alerts`
pub(super) async fn opsgenie(State(app): State<App>, posted: Posted) -> Response {
    let (Peer(peer), trace) = (posted.peer, posted.trace);
    let taken = async {
        let (alert, share, integration) = of_opsgenie(&app, posted).await?;
        let key = genie::alias(&alert).unwrap_or_else(made);
        let action = genie::read(&alert, &integration, &key, app.gate.wall()).map_err(No::Wrong)?;
        done(&app, (Source::Opsgenie, integration), action, trace, share).await
    };
    answer_of_opsgenie(&app, peer, taken.await)
}

/// `POST /opsgenie/v2/alerts/{identifier}/{request}`. Squelch knows an alert by its alias alone, so it takes
/// each identifier for one.
pub(super) async fn opsgenie_below(
    State(app): State<App>,
    Path((identifier, request)): Path<(String, String)>,
    posted: Posted,
) -> Response {
    let (Peer(peer), trace) = (posted.peer, posted.trace);
    let taken = async {
        let (body, share, integration) = of_opsgenie(&app, posted).await?;
        let action = genie::below(&request, &body, &integration, &identifier, app.gate.wall());
        let action = action.ok_or_else(|| {
            let request: String = request.chars().take(SHOWN_CHARS).collect();
            let detail =
                format!("there is no request {request:?}. Squelch takes close, acknowledge and notes");
            Problem::new(StatusCode::NOT_FOUND, detail)
        })?;
        done(&app, (Source::Opsgenie, integration), action, trace, share).await
    };
    answer_of_opsgenie(&app, peer, taken.await)
}

/// The JSON object of a request. A request below an alert may have no body.
async fn object_of(
    app: &App,
    source: Source,
    peer: IpAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Value, BodyShare), No> {
    let from = Sender { source, peer, caller: None, trace: None };
    let arrived = app.read(headers, body).await;
    let ArrivedBody { bytes, share } = arrived.map_err(|refused| app.refuse(&from, refused, &[]))?;
    if source == Source::Opsgenie && bytes.trim_ascii().is_empty() {
        return Ok((json!({}), share));
    }
    let parsed = read(bytes.len(), move || object(&bytes)).await?;
    let event = parsed.map_err(|error| app.refuse(&from, unusable(&error), &[]))?;
    Ok((event, share))
}

/// An event of PagerDuty, the memory that it holds, and the name of the integration through which it came.
async fn of_pagerduty(app: &App, posted: Posted) -> Result<(Value, BodyShare, SmolStr), No> {
    let Posted { peer: Peer(peer), headers, body, certificate, seat, .. } = posted;
    let (event, share) = object_of(app, Source::Pagerduty, peer, &headers, body).await?;
    let certificate = certificate.as_ref().map(|Certificate(certificate)| &**certificate);
    let shown = Shown { headers: &headers, certificate, peer, seat: seat.as_deref() };
    let integration = known(app, &shown, pager::routing_key(&event)).await?;
    Ok((event, share, integration))
}

/// The name of the integration through which an event of PagerDuty came. Its headers or its routing key
/// identify the sender.
async fn known(app: &App, shown: &Shown<'_>, routing_key: &str) -> Result<SmolStr, No> {
    let (access, peer, seat) = (app.gate.access(), shown.peer, shown.seat);
    let mut verdict = access.judge(Area::Ingest, shown).await;
    if verdict == Admission::Unknown
        && let Ok(bearer) = HeaderValue::try_from(format!("Bearer {routing_key}"))
    {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
        verdict =
            access.judge(Area::Ingest, &Shown { headers: &headers, certificate: None, peer, seat }).await;
    }
    let problem = match verdict {
        Admission::Anyone if routing_key.is_empty() => return Ok("pagerduty".into()),
        Admission::Anyone => return Ok(integration(routing_key)),
        Admission::Known(Caller { name, .. }) => return Ok(name),
        Admission::Busy => Problem::unavailable("too many logins wait to be checked: try again"),
        Admission::Unknown | Admission::NotAllowed(_) => {
            app.gate.refused(Area::Ingest);
            app.refusals.log_unknown(peer, Area::Ingest, "/pagerduty/v2");
            let detail = "'routing_key' is not in the credentials of any entry in sources";
            Problem::new(StatusCode::UNAUTHORIZED, detail)
        }
    };
    Err(problem.into())
}

/// The object of a request of Opsgenie, the memory that it holds, and the name of the integration through
/// which it came.
async fn of_opsgenie(app: &App, posted: Posted) -> Result<(Value, BodyShare, SmolStr), No> {
    let Posted { peer: Peer(peer), headers, body, caller, .. } = posted;
    let (object, share) = object_of(app, Source::Opsgenie, peer, &headers, body).await?;
    let key = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let integration = match (caller, String::from_utf8_lossy(key).split_once(' ')) {
        (Some(caller), _) => caller.name,
        (None, Some((_, key))) => integration(key.trim()),
        (None, None) => "opsgenie".into(),
    };
    Ok((object, share, integration))
}

/// Carries out an event's action, and waits until that is durable.
async fn done(
    app: &App,
    (source, integration): (Source, SmolStr),
    action: Action,
    trace: Option<TraceContext>,
    share: BodyShare,
) -> Result<(), No> {
    match action {
        Action::Observe(observation) => {
            // The members of a cluster send a trigger and its resolve from two addresses.
            let batch = Batch::new(source, integration, vec![*observation]);
            Ok(app.hand_over(batch, trace, share).await?)
        }
        Action::Acknowledge(labels, by) => Ok(acknowledged(app, source, labels, &by).await?),
        Action::Nothing => Ok(()),
    }
}

/// Marks the open incidents that list the alert of a key.
async fn acknowledged(app: &App, source: Source, labels: LabelSet, by: &str) -> Result<(), Problem> {
    let event = Acknowledgement::Event { source, labels, by: person(by) };
    app.gate.acknowledge(event).await.map_err(|e| Problem::unavailable(e.to_string()))
}

/// Counts and logs an event that lacks a field.
fn note(app: &App, source: Source, peer: IpAddr, wrong: &[Wrong]) {
    let all: Vec<&str> = wrong.iter().map(|(_, error)| error.as_str()).collect();
    let refused = body::blamed(InvalidReason::BadEvent, StatusCode::BAD_REQUEST, all.join(", "));
    app.refuse(&Sender { source, peer, caller: None, trace: None }, refused, &[]);
}

/// Says no as PagerDuty does.
fn refused_by_pagerduty(app: &App, peer: IpAddr, no: No) -> Response {
    let (status, errors) = match no {
        No::Wrong(wrong) => {
            note(app, Source::Pagerduty, peer, &wrong);
            (StatusCode::BAD_REQUEST, wrong.into_iter().map(|(_, error)| error).collect())
        }
        No::Problem(problem) => (problem.status, vec![problem.detail]),
    };
    let (word, message) = match status.is_server_error() {
        true => ("unavailable", "The event was not taken. Send it again."),
        false => ("invalid event", "Event object is invalid"),
    };
    let answer = json!({ "status": word, "message": message, "errors": errors });
    json_response(status, "application/json", &answer)
}

/// Answers as Opsgenie does.
fn answer_of_opsgenie(app: &App, peer: IpAddr, taken: Result<(), No>) -> Response {
    let request = made();
    let (status, mut answer) = match taken {
        Ok(()) => (StatusCode::ACCEPTED, json!({ "result": "Request will be processed" })),
        Err(No::Wrong(wrong)) => {
            note(app, Source::Opsgenie, peer, &wrong);
            let errors: serde_json::Map<String, Value> =
                wrong.into_iter().map(|(field, error)| (field.to_owned(), error.into())).collect();
            let message = "Request body is not processable. Please check the errors.";
            (StatusCode::UNPROCESSABLE_ENTITY, json!({ "message": message, "errors": errors }))
        }
        Err(No::Problem(problem)) => (problem.status, json!({ "message": problem.detail })),
    };
    answer["took"] = 0.0.into();
    let at = |from: usize, to: usize| request.get(from..to).unwrap_or_default();
    let uuid = [at(0, 8), at(8, 12), at(12, 16), at(16, 20), at(20, 32)];
    answer["requestId"] = uuid.join("-").into();
    json_response(status, "application/json", &answer)
}

/// A key of 32 hexadecimal digits that no other event has.
fn made() -> String {
    // Each `RandomState` has keys of its own, which the standard library draws at random.
    let part = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", part(), part())
}
