//! The history of incidents, and people's remarks about them: `GET /api/v1/incidents/history`, `GET
//! /api/v1/incidents/{key}` and the requests below it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, format_smolstr};
use utoipa::{IntoParams, ToSchema};

use super::parameters::no_parameters;
use super::parameters::{PageLimit, cursor, matchers, parameters, read, time};
use super::reply::Refusal;
use super::{reply, unsearched};
use crate::decision_log::{
    NamedIncident, PastIncident, PastIncidentDetail, PastIncidentPage, PastIncidentQuery, Review,
    SHORTEST_KEY, WhichIncident,
};
use crate::engine::{Acknowledge, Engine, IncidentQuery, IncidentRemark};
use crate::model::{Remark, RemarkContent};
use crate::web::access::Caller;
use crate::web::acknowledged::person;
use crate::web::app::{App, Named, Peer, Posted};
use crate::web::gate::{Acknowledgement, Searched};
use crate::web::look::look;
use crate::web::problem::{Details, Problem};
use crate::web::receive::not_json;

/// The beginning of the author of an action without a name. The address follows.
const NAMELESS: &str = "somebody at ";
/// So often the history is read for an incident that has just opened.
const READS: u32 = 20;
/// The time between two of these reads.
const READ_AGAIN: Duration = Duration::from_millis(100);
/// The longest note, in bytes.
const NOTE_BYTES: usize = 10_000;

/// The conditions of the list. All that are given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(in crate::web) struct HistoryParams {
    /// Words that must stand in the title, the receiver or the severity. Case does not matter.
    pub(in crate::web) words: Option<String>,
    /// Matchers on the labels of one of its alerts. You may give it more than once.
    filter: Vec<String>,
    /// Only this receiver's.
    receiver: Option<String>,
    /// `open` or `closed`. Both without.
    state: Option<String>,
    /// `true` for incidents that Squelch only observed, `false` for the others. Both without.
    observed: Option<String>,
    /// Opened then or later, RFC 3339.
    since: Option<String>,
    /// Opened before, RFC 3339.
    until: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
}

impl HistoryParams {
    /// The query.
    fn query(&self) -> Result<PastIncidentQuery, Problem> {
        let open = read("state", self.state.as_ref(), "open or closed", |text| match text {
            "open" => Some(true),
            "closed" => Some(false),
            _ => None,
        })?;
        Ok(PastIncidentQuery {
            words: self.words.iter().flat_map(|words| words.split_whitespace()).map(str::to_owned).collect(),
            matchers: matchers(&self.filter)?,
            receiver: self.receiver.clone(),
            open,
            observed: read("observed", self.observed.as_ref(), "true or false", |text| text.parse().ok())?,
            since: time("since", self.since.as_ref())?,
            until: time("until", self.until.as_ref())?,
            closed_since: None,
            before: cursor(self.cursor.as_ref(), |text| text.parse().ok())?,
            limit: self.limit.0,
        })
    }
}

/// Incidents that are open or closed, the newest first, with the times that they took.
#[utoipa::path(
    get, path = "/api/v1/incidents/history", operation_id = "listIncidentHistory", tag = "history",
    params(HistoryParams),
    responses(
        (status = 200, description = "One page.", body = PastIncidentPage),
        (status = 422, description = "The search is too broad.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    let found = async {
        let query = parameters::<HistoryParams>(&uri)?.query()?;
        app.gate.history(query).await.map_err(unsearched)
    };
    reply(found.await)
}

/// Which of several incidents with the same key is wanted.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
struct NumberParams {
    /// The number of an older incident with the same key. The newest without.
    number: Option<String>,
    /// `true` for the incident that Squelch only observed, where both have the key.
    observed: Option<String>,
}

impl NumberParams {
    fn which(&self, key: String) -> Result<WhichIncident, Problem> {
        let number = read("number", self.number.as_ref(), "a number", |text| text.parse::<u64>().ok())?;
        let observed = read("observed", self.observed.as_ref(), "true or false", |text| text.parse().ok())?;
        Ok(WhichIncident { key, number, observed })
    }
}

/// One incident, open or closed, with all that happened to it.
#[utoipa::path(
    get, path = "/api/v1/incidents/{key}", operation_id = "readIncident", tag = "history",
    params(
        ("key" = String, Path, description = "Its `dedupKey`, or a beginning of at least 6 hex digits."),
        NumberParams,
    ),
    responses(
        (status = 200, description = "The incident.", body = PastIncidentDetail),
        (status = 409, description = "Several incidents have a key that begins so.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn one(State(app): State<App>, Named(key): Named, uri: Uri) -> Response {
    let found = async { incident(&app, parameters::<NumberParams>(&uri)?.which(key)?).await };
    reply(found.await)
}

/// The incident that `wanted` names, or why there is none. It waits for one that has just opened.
pub(in crate::web) async fn incident(
    app: &App,
    wanted: WhichIncident,
) -> Result<Box<PastIncidentDetail>, Problem> {
    awaited(app, wanted, |wanted| app.gate.incident(wanted)).await
}

/// The incident that `wanted` names as the history has it now, or why it has none.
pub(in crate::web) async fn recorded(
    app: &App,
    wanted: WhichIncident,
) -> Result<Box<PastIncidentDetail>, Problem> {
    is_key(&wanted.key)?;
    only(app.gate.incident(wanted).await.map_err(unsearched)?)
}

/// Reads an incident from the history. The engine knows an incident a moment before the history does, so
/// this waits up to 2 s for an incident that is open.
async fn awaited<'a, T>(
    app: &App,
    wanted: WhichIncident,
    read: impl Fn(WhichIncident) -> Searched<'a, NamedIncident<T>>,
) -> Result<Box<T>, Problem> {
    is_key(&wanted.key)?;
    for _ in 0..READS {
        let named = read(wanted.clone()).await.map_err(unsearched)?;
        if !matches!(named, NamedIncident::None) || !is_open(app, &wanted).await? {
            return only(named);
        }
        tokio::time::sleep(READ_AGAIN).await;
    }
    Err(Problem::unavailable("the incident is open, and the history does not have it yet: try again"))
}

/// Whether the engine has an incident that `wanted` names.
async fn is_open(app: &App, wanted: &WhichIncident) -> Result<bool, Problem> {
    let query =
        IncidentQuery { key: Some(wanted.key.as_str().into()), limit: 100, ..IncidentQuery::default() };
    let (number, observed) = (wanted.number, wanted.observed);
    look(app, move |engine| {
        let mut open = engine.query().open_incidents(&query).found.into_iter();
        open.any(|open| {
            number.is_none_or(|number| number == open.number)
                && observed.is_none_or(|observed| observed == open.row.standing.would.is_some())
        })
    })
    .await
}

/// The review of one incident, to be completed by people. `squelch incident export` writes it as Markdown.
#[utoipa::path(
    get, path = "/api/v1/incidents/{key}/review", operation_id = "reviewIncident", tag = "history",
    params(
        ("key" = String, Path, description = "Its `dedupKey`, or a beginning of at least 6 hex digits."),
        NumberParams,
    ),
    responses(
        (status = 200, description = "The review.", body = Review),
        (status = 409, description = "Several incidents have a key that begins so.", body = Details,
            content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn review(State(app): State<App>, Named(key): Named, uri: Uri) -> Response {
    let found = async { reviewed(&app, parameters::<NumberParams>(&uri)?.which(key)?).await };
    reply(found.await)
}

/// The review of the incident that `wanted` names, or why there is none.
pub(in crate::web) async fn reviewed(app: &App, wanted: WhichIncident) -> Result<Box<Review>, Problem> {
    awaited(app, wanted, |wanted| app.gate.review(wanted)).await
}

/// The one that a key names, or why there is none.
fn only<T>(named: NamedIncident<T>) -> Result<Box<T>, Problem> {
    match named {
        NamedIncident::One(found) => Ok(found),
        NamedIncident::None => {
            let detail = "no incident has this key, or it is older than 400 days";
            Err(Problem::new(StatusCode::NOT_FOUND, detail))
        }
        NamedIncident::Several(keys) => {
            let detail = format!("several incidents have a key that begins so: {}", keys.join(", "));
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
    }
}

fn is_key(key: &str) -> Result<(), Problem> {
    let hex = key.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hex && (SHORTEST_KEY..=64).contains(&key.len()) {
        return Ok(());
    }
    let shown: String = key.chars().take(64).collect();
    Err(Problem::bad(format!("{shown:?} is not the key of an incident: 6 to 64 hex digits would be right")))
}

/// An acknowledgement.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct AcknowledgeForm {
    /// The person who acknowledges it. Where users are configured, Squelch takes the name of the user.
    by: String,
    /// `false` takes the acknowledgement back.
    #[schema(default = true)]
    acknowledged: Option<bool>,
}

/// A note.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct NoteForm {
    /// The author. Where users are configured, Squelch takes the name of the user.
    #[serde(default)]
    by: String,
    /// The note, at most 10,000 bytes.
    note: String,
}

/// Whether a page was useful.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct UsefulForm {
    /// The person who rates it. Where users are configured, Squelch takes the name of the user.
    #[serde(default)]
    by: String,
    /// Whether the page was useful.
    useful: bool,
}

/// The answer once it is durable.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentChanged)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changed {
    /// The `dedup_key` of the incident.
    dedup_key: String,
    /// The number of the incident.
    number: u64,
}

impl Changed {
    fn of(incident: &PastIncident) -> Changed {
        Changed { dedup_key: incident.dedup_key.clone(), number: incident.number }
    }
}

/// Acknowledges an open incident, so that Squelch does not repeat it, or takes an acknowledgement back.
#[utoipa::path(
    post, path = "/api/v1/incidents/{key}/acknowledge", operation_id = "acknowledgeIncident", tag = "state",
    params(("key" = String, Path, description = "Its `dedupKey`, or a beginning of at least 6 hex digits.")),
    request_body = AcknowledgeForm,
    responses(
        (status = 200, description = "It is durable.", body = Changed),
        (status = 409, description = "The incident is closed.", body = Details,
            content_type = "application/problem+json"),
        (status = 413, description = "Too long.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Details, content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn acknowledge(State(app): State<App>, Named(key): Named, posted: Posted) -> Response {
    let done = async {
        no_parameters(&posted.uri)?;
        let form: AcknowledgeForm = form(&app, &posted.headers, posted.body).await?;
        let by = author(&form.by, posted.peer, posted.caller);
        let incident = incident(&app, WhichIncident { key, number: None, observed: Some(false) }).await?;
        let by = form.acknowledged.unwrap_or(true).then_some(by);
        acknowledged(&app, &incident.incident, by).await?;
        Ok(Changed::of(&incident.incident))
    };
    reply(done.await)
}

/// Writes a note about an incident, open or closed.
#[utoipa::path(
    post, path = "/api/v1/incidents/{key}/notes", operation_id = "noteIncident", tag = "state",
    params(("key" = String, Path, description = "Its `dedupKey`, or a beginning of at least 6 hex digits.")),
    request_body = NoteForm,
    responses(
        (status = 200, description = "It is durable.", body = Changed),
        (status = 409, description = "Several incidents have a key that begins so.", body = Details,
            content_type = "application/problem+json"),
        (status = 413, description = "Too long.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Details, content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn note(State(app): State<App>, Named(key): Named, posted: Posted) -> Response {
    reply(remark(&app, key, posted, |form: NoteForm| Ok((form.by, note_of(&form.note)?))).await)
}

/// Says whether the page of an incident was useful. The report counts it.
#[utoipa::path(
    post, path = "/api/v1/incidents/{key}/useful", operation_id = "rateIncident", tag = "state",
    params(("key" = String, Path, description = "Its `dedupKey`, or a beginning of at least 6 hex digits.")),
    request_body = UsefulForm,
    responses(
        (status = 200, description = "It is durable.", body = Changed),
        (status = 409, description = "Several incidents have a key that begins so.", body = Details,
            content_type = "application/problem+json"),
        (status = 413, description = "Too long.", body = Details, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON.", body = Details, content_type = "application/problem+json"),
        Refusal,
    )
)]
pub(super) async fn useful(State(app): State<App>, Named(key): Named, posted: Posted) -> Response {
    reply(
        remark(&app, key, posted, |form: UsefulForm| Ok((form.by, RemarkContent::Useful(form.useful)))).await,
    )
}

/// Records what a form says about the incident of a key. `read` says who says what.
async fn remark<F: DeserializeOwned>(
    app: &App,
    key: String,
    posted: Posted,
    read: impl FnOnce(F) -> Result<(String, RemarkContent), Problem>,
) -> Result<Changed, Problem> {
    no_parameters(&posted.uri)?;
    let (by, said) = read(form(app, &posted.headers, posted.body).await?)?;
    let incident = incident(app, WhichIncident { key, number: None, observed: None }).await?;
    remarked(app, &incident.incident, author(&by, posted.peer, posted.caller), said).await?;
    Ok(Changed::of(&incident.incident))
}

/// Acknowledges an incident, or takes that back, and waits until it is durable. An incident that has a person
/// keeps the person if another gives no name.
pub(in crate::web) async fn acknowledged(
    app: &App,
    incident: &PastIncident,
    by: Option<SmolStr>,
) -> Result<(), Problem> {
    if incident.closed_at.is_some() {
        let detail = "the incident is closed, so nobody needs to acknowledge it";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    if by.as_ref().is_some_and(|by| by.starts_with(NAMELESS)) {
        let key = incident.dedup_key.clone();
        let has_person = move |engine: &Engine| {
            let open = engine.query().incident(&key, false, 0, 0);
            open.is_some_and(|open| open.row.acknowledged.is_some())
        };
        if look(app, has_person).await? {
            return Ok(());
        }
    }
    let change = Acknowledge {
        dedup_key: incident.dedup_key.as_str().into(),
        receivers: vec![incident.receiver.as_str().into()],
        by,
        via: None,
    };
    said(app, Acknowledgement::Incident(change)).await
}

/// Records a person's remark about an incident, and waits until it is durable.
pub(in crate::web) async fn remarked(
    app: &App,
    incident: &PastIncident,
    by: SmolStr,
    what: RemarkContent,
) -> Result<(), Problem> {
    let remark = IncidentRemark {
        incident: incident.number,
        key: incident.dedup_key.as_str().into(),
        remark: Remark { by, said: what },
    };
    said(app, Acknowledgement::Remark(remark)).await
}

async fn said(app: &App, change: Acknowledgement) -> Result<(), Problem> {
    app.gate.acknowledge(change).await.map_err(|e| Problem::unavailable(e.to_string()))
}

/// A note in its stored form.
pub(in crate::web) fn note_of(text: &str) -> Result<RemarkContent, Problem> {
    match text.trim() {
        "" => Err(Problem::bad("note is empty: the text of the note would be right")),
        text if text.len() > NOTE_BYTES => {
            let detail = format!("note has {} bytes: at most {NOTE_BYTES} would be right", text.len());
            Err(Problem::bad(detail))
        }
        text => Ok(RemarkContent::Note(text.chars().filter(|c| !c.is_control() || *c == '\n').collect())),
    }
}

/// The author of an action: the user who is logged in, else the name that the request gives, else the
/// address.
pub(in crate::web) fn author(said: &str, peer: Peer, caller: Option<Caller>) -> SmolStr {
    if let Some(caller) = caller {
        return caller.name;
    }
    match person(said.trim()) {
        name if name.is_empty() => format_smolstr!("{NAMELESS}{}", peer.0),
        name => name,
    }
}

/// Reads a JSON body of at most 64 kB.
async fn form<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<T, Problem> {
    if let Some(problem) = not_json(headers) {
        return Err(problem);
    }
    let arrived = app.read_small(headers, body).await.map_err(|refused| refused.problem)?;
    let bytes: &[u8] = if arrived.bytes.is_empty() { b"{}" } else { &arrived.bytes };
    serde_json::from_slice(bytes).map_err(|e| Problem::bad(format!("the body: {e}")))
}
