//! `GET /api/v2/alerts` and `GET /api/v2/alerts/groups`: the alerts that fire.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use smol_str::{SmolStr, format_smolstr};

use super::parameters::{Parameters, Receivers};
use super::refusal::Refusal;
use super::route_labels;
use super::wire::{AlertGroup, GettableAlert, Receiver};
use crate::engine::{FiringAlert, RouteStanding, RowState};
use crate::model::{LabelSet, Matcher};
use crate::web::app::App;
use crate::web::look::look;
use crate::web::problem::{Problem, json};

/// The wanted alerts, besides those that a filter names.
struct Wanted {
    active: bool,
    silenced: bool,
    inhibited: bool,
    receivers: Receivers,
}

impl Wanted {
    fn new(app: &App, asked: &Parameters) -> Result<Wanted, Refusal> {
        Ok(Wanted {
            active: asked.includes("active"),
            silenced: asked.includes("silenced"),
            inhibited: asked.includes("inhibited"),
            receivers: asked.receivers(app.gate.labelling())?,
        })
    }

    /// Whether `alert` is, which is `active` or suppressed.
    fn has(&self, alert: &FiringAlert, active: bool) -> bool {
        (self.active || !active)
            && (self.silenced || alert.silenced_by.is_empty())
            && (self.inhibited || alert.inhibited_by.is_none())
    }
}

/// `GET /api/v2/alerts`
pub(super) async fn list(State(app): State<App>, uri: Uri) -> Response {
    answer(alerts(&app, &uri).await)
}

/// `GET /api/v2/alerts/groups`
pub(super) async fn groups(State(app): State<App>, uri: Uri) -> Response {
    answer(grouped(&app, &uri).await)
}

fn answer(found: Result<impl Serialize, Refusal>) -> Response {
    match found {
        Ok(found) => json(StatusCode::OK, "application/json", &found),
        Err(refusal) => refusal.into_response(),
    }
}

async fn alerts(app: &App, uri: &Uri) -> Result<Vec<GettableAlert>, Refusal> {
    let asked = Parameters::new(uri)?;
    let (filter, wanted) = (asked.filter()?, Wanted::new(app, &asked)?);
    let mut found = firing(app, filter).await?;
    found.retain(|alert| {
        let goes_there = || alert.routes.iter().any(|route| wanted.receivers.has(&route.receiver));
        wanted.has(alert, !alert.is_suppressed()) && (wanted.receivers.has_all() || goes_there())
    });
    found.sort_by_key(|alert| alert.fingerprint);
    let shown = found.iter().map(|alert| {
        let receivers = alert.routes.iter().map(|route| route.receiver.clone()).collect();
        GettableAlert::new(alert, receivers, withheld_everywhere(alert))
    });
    Ok(shown.collect())
}

async fn grouped(app: &App, uri: &Uri) -> Result<Vec<AlertGroup>, Refusal> {
    let asked = Parameters::new(uri)?;
    let (filter, wanted) = (asked.filter()?, Wanted::new(app, &asked)?);
    let (muted, found) = (asked.includes("muted"), firing(app, Arc::clone(&filter)).await?);
    let mut groups = BTreeMap::<(u32, &LabelSet), (&RouteStanding, Vec<(GettableAlert, bool)>)>::new();
    let mut in_order: Vec<&FiringAlert> = found.iter().collect();
    in_order.sort_by(|a, b| by_place(&a.labels, &b.labels));
    for alert in in_order {
        let routes = || alert.routes.iter().filter(|route| wanted.receivers.has(&route.receiver));
        let mut receivers: Vec<SmolStr> = routes().map(|route| route.receiver.clone()).collect();
        receivers.sort();
        for route in routes() {
            let muted_by = kept_from(route);
            let kept = !muted_by.is_empty();
            let suppressed = kept || !alert.silenced_by.is_empty() || alert.inhibited_by.is_some();
            if wanted.has(alert, !suppressed) {
                let shown = GettableAlert::new(alert, receivers.clone(), muted_by);
                let group = groups.entry((route.route, &route.group)).or_insert((route, Vec::new()));
                group.1.push((shown, kept));
            }
        }
    }
    groups.retain(|_, (_, alerts)| muted || alerts.iter().any(|(_, kept)| !kept));
    let shown: Vec<&RouteStanding> = groups.values().map(|(route, _)| *route).collect();
    // The labels of a route are those of the whole group, as in Alertmanager, whichever alerts are wanted.
    let whole = match filter.is_empty() || !shown.iter().any(|route| route_labels::are_templates(route)) {
        true => None,
        false => firing(app, Arc::default()).await.ok(),
    };
    let labels = route_labels::of_groups(app, &shown, whole.as_deref().unwrap_or(&found)).await?;
    let mut answered = Vec::new();
    for (((_, labels), (route, alerts)), route_labels) in groups.into_iter().zip(labels) {
        answered.push(AlertGroup {
            alerts: alerts.into_iter().map(|(alert, _)| alert).collect(),
            labels: labels.clone(),
            receiver: Receiver { name: route.receiver.clone() },
            route_labels,
        });
    }
    answered
        .sort_by(|a, b| by_labels(&a.labels, &b.labels).then_with(|| a.receiver.name.cmp(&b.receiver.name)));
    Ok(answered)
}

/// All alerts that fire and match, in looks that leave room for alerts that come in.
async fn firing(app: &App, filter: Arc<[Matcher]>) -> Result<Vec<FiringAlert>, Refusal> {
    let (mut all, mut bytes, mut after) = (Vec::new(), 0, None);
    loop {
        let filter = Arc::clone(&filter);
        let (found, next) = look(app, move |engine| engine.query().firing(&filter, after)).await?;
        bytes += found.iter().map(cost).sum::<usize>();
        let most = app.limits.unread_answers_bytes;
        if bytes > most {
            let text = format!("the alerts take more than {most} bytes. Name fewer of them with filter");
            return Err(Refusal::Text(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
        all.extend(found);
        match next {
            Some(_) => after = next,
            None => return Ok(all),
        }
    }
}

/// Bytes that an alert takes at least, once for each of its groups.
fn cost(alert: &FiringAlert) -> usize {
    let one = alert.labels.bytes() + alert.annotations.bytes() + alert.generator_url.len() + 256;
    one * alert.routes.len().max(1)
}

/// How many alerts that fire are active, and how many are suppressed.
pub(in crate::web) async fn counts(app: &App) -> Result<(u64, u64), Problem> {
    let (mut active, mut suppressed, mut after) = (0, 0, None);
    loop {
        let counted = look(app, move |engine| {
            let (found, next) = engine.query().firing(&[], after);
            (found.iter().filter(|alert| alert.is_suppressed()).count(), found.len(), next)
        });
        let (kept, all, next) = counted.await?;
        suppressed += kept as u64;
        active += (all - kept) as u64;
        match next {
            Some(_) => after = next,
            None => return Ok((active, suppressed)),
        }
    }
}

/// Why Squelch itself keeps an alert from all its receivers, if it does.
fn withheld_everywhere(alert: &FiringAlert) -> Vec<SmolStr> {
    let states: Option<Vec<RowState>> = alert.routes.iter().map(|route| route.withheld).collect();
    let mut states = states.unwrap_or_default();
    states.sort();
    states.dedup();
    states.into_iter().map(word).collect()
}

/// Why an alert is kept from the receiver of one route, besides silences and inhibition.
fn kept_from(route: &RouteStanding) -> Vec<SmolStr> {
    route.muted_by.iter().cloned().chain(route.withheld.map(word)).collect()
}

/// Stands beside the names of time intervals in `mutedBy`. No interval of Alertmanager needs this prefix, and
/// clients look nothing up by it.
fn word(state: RowState) -> SmolStr {
    format_smolstr!("squelch:{}", state.as_str())
}

/// The order of groups. Rule: prometheus/common `LabelSet.Before`.
fn by_labels(a: &LabelSet, b: &LabelSet) -> Ordering {
    let by_count = a.len().cmp(&b.len());
    by_count.then_with(|| {
        let mut names: Vec<&str> = a.iter().chain(b.iter()).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        let mut orders = names.iter().map(|name| value(a, name).cmp(&value(b, name)));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    })
}

/// The order of alerts in a group. Those without a job or an instance come last. Rule: Alertmanager
/// `types.AlertSlice`.
fn by_place(a: &LabelSet, b: &LabelSet) -> Ordering {
    let of = |name: &str| {
        let (a, b) = (value(a, name), value(b, name));
        a.is_none().cmp(&b.is_none()).then_with(|| a.cmp(&b))
    };
    of("job").then_with(|| of("instance")).then_with(|| by_labels(a, b))
}

fn value<'s>(set: &'s LabelSet, name: &str) -> Option<&'s str> {
    set.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_in_alertmanagers_order() {
        let of = |text: &str| LabelSet::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')));
        let sorted = ["", "b=2", "a=1 b=1", "a=1 b=2", "a=2 b=1"];
        let mut sets: Vec<LabelSet> = sorted.iter().rev().map(|text| of(text)).collect();
        sets.sort_by(by_labels);
        assert_eq!(sets, sorted.map(of));
        assert_eq!(by_place(&of("job=b a=1"), &of("job=a a=2")), Ordering::Greater);
        assert_eq!(by_place(&of("a=1"), &of("job=b a=2")), Ordering::Greater, "no job is the last");
    }
}
