//! `GET /api/v1/incidents`: the open incidents, their receivers, their causes, and the next steps.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use utoipa::{IntoParams, ToSchema};

use super::alerts::NextEntry;
use super::parameters::{PageLimit, cursor, matchers, parameters, word};
use super::reply::Refusal;
use super::{LOOKS, reply};
use crate::causes;
use crate::engine::{IncidentCursor, IncidentQuery, KnownAlert, OpenIncident, Origin, RowState};
use crate::model::{Cause, LabelSet, Timestamp};
use crate::web::app::App;
use crate::web::look::look;
use crate::web::problem::Problem;
use crate::web::undelivered::not_accepted;

/// The conditions of the list. All that are given must hold.
#[derive(Deserialize, IntoParams, Default)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct IncidentListParams {
    /// Matchers on the labels of one of its alerts. You can give it more than once.
    filter: Vec<String>,
    /// Only this receiver's.
    receiver: Option<String>,
    /// `passing`, `paged`, `flapping`, `resolving`, `superseded`, `closing`, or `observed` for incidents
    /// whose profile only observes.
    state: Option<String>,
    /// Only the one of this `dedupKey`, or those whose key begins so: at least 6 hex digits.
    key: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Entries on the page at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    limit: PageLimit,
}

/// An incident that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Incident)]
#[serde(rename_all = "camelCase")]
pub struct IncidentEntry {
    /// Its number. It is unique for the life of the journal.
    pub number: u64,
    /// The key under which receivers know it, 64 hex digits.
    #[schema(value_type = String)]
    pub dedup_key: SmolStr,
    /// Its group's key, as Alertmanager writes it.
    #[schema(value_type = String)]
    pub group_key: SmolStr,
    /// The n-th incident of its group, from 0.
    pub generation: u32,
    /// Where it goes.
    #[schema(value_type = String)]
    pub receiver: SmolStr,
    /// The name of its severity level.
    #[schema(value_type = String)]
    pub severity: SmolStr,
    /// `passing`, `paged`, `flapping` or `resolving`. `superseded` if a worse one took its place, and
    /// `closing` if it is over and its resolve not sent yet. `observed` if its profile only observes, so
    /// that no receiver is notified.
    #[schema(value_type = String)]
    pub state: SmolStr,
    /// Of `observed`: the state that it would be in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub would: Option<RowState>,
    /// The decider: `squelch`, or `sender` where a profile observes and Squelch forwards the sender's
    /// statements. `internal` if Squelch opened it about itself.
    #[schema(value_type = String)]
    pub origin: Origin,
    /// Its title, as receivers show it behind the mark of its state.
    pub title: String,
    /// When it paged.
    #[schema(value_type = String, format = DateTime)]
    pub opened_at: Timestamp,
    /// Why its receivers were notified last, in one sentence.
    pub why: String,
    /// Why, as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The next step, where a time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextEntry>,
    /// The integrations that show it. Those of a second receiver have its name before them, as in
    /// `boss/webhook[0]`.
    #[schema(value_type = Vec<String>)]
    pub delivered: Vec<SmolStr>,
    /// Of a page that no integration shows: for how long, and the newest error of the receiver, in plain
    /// sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_accepted: Option<String>,
    /// The integrations that refused their latest notification for good.
    #[schema(value_type = Vec<String>)]
    pub refused: Vec<SmolStr>,
    /// The person who acknowledged it in their pager. Squelch does not repeat it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub acknowledged_by: Option<SmolStr>,
    /// When that person took it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub acknowledged_at: Option<Timestamp>,
    /// The second receiver that Squelch notified too, because no person acknowledged it in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub escalated_to: Option<SmolStr>,
    /// How many of its alerts fire.
    pub firing: usize,
    /// How many alerts it has.
    pub size: usize,
    /// How many of its alerts fire and match a silence.
    #[serde(default)]
    pub silenced: usize,
    /// The place of its severity level, 0 = the highest.
    #[serde(default)]
    pub level: usize,
    /// The first hundred of them: firing ones first, then by severity, then by name.
    pub alerts: Vec<MemberEntry>,
}

/// An alert in an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentAlert)]
pub struct MemberEntry {
    /// Its identity, 32 hex digits.
    pub id: String,
    /// Alertmanager's fingerprint, 16 hex digits.
    pub fingerprint: String,
    /// Its labels.
    #[schema(value_type = BTreeMap<String, String>)]
    pub labels: LabelSet,
    /// The name of its severity level.
    #[schema(value_type = String)]
    pub severity: SmolStr,
    /// Whether it fires, by the incident's latest notification.
    pub firing: bool,
    /// How often it changed, while it flaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flaps: Option<u32>,
}

impl From<OpenIncident> for IncidentEntry {
    fn from(incident: OpenIncident) -> Self {
        let OpenIncident { number, row, group_key, generation, delivered, refused, alerts } = incident;
        let standing = row.standing;
        let (acknowledged_by, acknowledged_at) = row.acknowledged.unzip();
        IncidentEntry {
            acknowledged_by,
            acknowledged_at,
            escalated_to: row.escalated_to,
            number,
            dedup_key: standing.incident.unwrap_or_default(),
            group_key,
            generation,
            receiver: standing.receiver,
            severity: row.severity,
            state: standing.state.as_str().into(),
            would: standing.would,
            origin: standing.origin,
            title: row.headline.unwrap_or_default().to_string(),
            opened_at: row.since,
            why: standing.cause.as_ref().map(causes::text).unwrap_or_default(),
            cause: standing.cause,
            next: standing.next.map(NextEntry::from),
            delivered,
            not_accepted: None,
            refused: refused.into_iter().map(|refused| refused.integration).collect(),
            firing: row.firing,
            size: row.alerts,
            silenced: row.silenced,
            level: 0,
            alerts: alerts.into_iter().map(MemberEntry::from).collect(),
        }
    }
}

impl From<KnownAlert> for MemberEntry {
    fn from(alert: KnownAlert) -> Self {
        MemberEntry {
            id: alert.id.to_string(),
            fingerprint: alert.fingerprint().to_string(),
            labels: alert.labels,
            severity: alert.severity,
            firing: alert.firing,
            flaps: alert.flaps,
        }
    }
}

/// One page of incidents: internal incidents that are open first, then the others, each the newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Incidents)]
pub struct IncidentPage {
    /// The server's time. Ages and countdowns are differences to it.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
    /// The incidents.
    pub incidents: Vec<IncidentEntry>,
    /// The cursor of the next page. Missing on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Incidents that are not over.
#[utoipa::path(
    get, path = "/api/v1/incidents", operation_id = "listIncidents", tag = "state", params(IncidentListParams),
    responses((status = 200, description = "One page.", body = IncidentPage), Refusal)
)]
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    reply(page(&app, &uri).await)
}

async fn page(app: &App, uri: &Uri) -> Result<IncidentPage, Problem> {
    let asked: IncidentListParams = parameters(uri)?;
    let mut query = IncidentQuery {
        matchers: matchers(&asked.filter)?,
        receiver: asked.receiver.map(Into::into),
        state: word("state", asked.state.as_ref(), &RowState::OF_INCIDENTS, RowState::as_str)?,
        key: asked.key.map(Into::into),
        after: cursor(asked.cursor.as_ref(), IncidentCursor::parse)?,
        limit: asked.limit.0,
    };
    let (now, health) = (app.gate.now(), app.gate.health());
    let (mut incidents, wanted) = (Vec::new(), query.limit);
    for _ in 0..LOOKS {
        let once = query.clone();
        let (glance, levels) = look(app, move |engine| {
            let levels = engine.policy().severities.levels.iter().map(|level| level.name.clone());
            (engine.query().open_incidents(&once), levels.collect::<Vec<_>>())
        })
        .await?;
        incidents.extend(glance.found.into_iter().map(|incident| {
            let entry = IncidentEntry::from(incident);
            let level = levels.iter().position(|name| *name == entry.severity).unwrap_or_default();
            let waits = entry.delivered.is_empty() && entry.would.is_none();
            let not_accepted = waits.then(|| not_accepted(now, entry.opened_at, health.get(&entry.receiver)));
            IncidentEntry { level, not_accepted, ..entry }
        }));
        (query.after, query.limit) = (glance.next, wanted - incidents.len());
        if query.after.is_none() || query.limit == 0 || glance.full {
            break;
        }
    }
    let next = query.after.map(|last| last.to_string());
    Ok(IncidentPage { now, incidents, next })
}
