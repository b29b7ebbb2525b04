//! `routeLabels` of a group: the labels of its route, which may be templates.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use crate::engine::{FiringAlert, RouteStanding};
use crate::model::{AlertView, Kind, LabelSet, Notification, Status};
use crate::templates::{Data, Facts, NO_READINGS, is_template};
use crate::web::app::App;
use crate::web::problem::Problem;

/// Whether some label of the route is a template.
pub(super) fn are_templates(route: &RouteStanding) -> bool {
    route.labels.iter().any(|(_, value)| is_template(value))
}

/// The labels of the routes of these groups, in their order. `firing` has all alerts of those groups whose
/// routes have templates.
pub(super) async fn of_groups(
    app: &App,
    groups: &[&RouteStanding],
    firing: &[FiringAlert],
) -> Result<Vec<LabelSet>, Refusal> {
    let mut labels: Vec<LabelSet> = groups.iter().map(|route| route.labels.clone()).collect();
    let places = groups.iter().enumerate().filter(|(_, route)| are_templates(route));
    let places: BTreeMap<(u32, &LabelSet), usize> =
        places.map(|(i, route)| ((route.route, &route.group), i)).collect();
    let mut alerts: BTreeMap<usize, Vec<AlertView>> = BTreeMap::new();
    for alert in firing {
        for route in &alert.routes {
            if let Some(i) = places.get(&(route.route, &route.group)) {
                alerts.entry(*i).or_default().push(view(alert));
            }
        }
    }
    if alerts.is_empty() {
        return Ok(labels);
    }
    let now = app.gate.wall();
    let told: Vec<(usize, Notification)> =
        alerts.into_iter().map(|(i, alerts)| (i, notification(groups[i], alerts, now))).collect();
    let templates = app.gate.labelling().templates.clone();
    // A template may take its whole time, and no thread that serves waits for it.
    let external_url = app.limits.external_url.clone();
    let rendered = tokio::task::spawn_blocking(move || {
        let facts = Facts {
            status: "firing",
            external_url: &external_url,
            possible_repeat: false,
            readings: &NO_READINGS,
        };
        let of = |n: &Notification| Data::new(n, facts, &templates, now).route_labels();
        told.iter().map(|(i, n)| (*i, of(n))).collect::<Vec<_>>()
    });
    for (i, rendered) in rendered.await.map_err(|e| Problem::unavailable(e.to_string()))? {
        labels[i] = rendered;
    }
    Ok(labels)
}

fn view(alert: &FiringAlert) -> AlertView {
    AlertView {
        annotations: alert.annotations.clone(),
        generator_url: alert.generator_url.clone(),
        ..AlertView::new(alert.labels.clone(), Status::Firing, alert.starts_at)
    }
}

/// The group as a notification, which the templates read.
fn notification(route: &RouteStanding, alerts: Vec<AlertView>, now: crate::model::Timestamp) -> Notification {
    Notification {
        group_labels: route.group.clone(),
        route_labels: route.labels.clone(),
        level: (0, 1),
        alerts,
        ..Notification::new(now, route.receiver.clone(), Kind::Update)
    }
}
