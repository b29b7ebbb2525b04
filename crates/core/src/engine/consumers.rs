//! The readers of a webhook's messages, each with its own key for a problem.
//!
//! Keep and Robusta use the fingerprint, jiralert the labels of the group, GoAlert the summary that the
//! alerts share, OnCall the key of the group. PagerDuty's dedup key is [`crate::engine::testing`]'s pager.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::incidents::incident::Side;
use crate::model::{Fingerprint, Kind, LabelSet, Notification, Status};
use crate::policy::Policy;

/// The state that the consumers at one integration hold for true.
#[derive(Default, Debug, Clone)]
pub struct Consumers {
    /// Keep, Robusta: whether the alert of a fingerprint fires.
    pub by_fingerprint: BTreeMap<String, bool>,
    /// jiralert: whether an alert of a group fires.
    pub by_labels: BTreeMap<LabelSet, bool>,
    /// GoAlert: whether the problem of a summary is open.
    pub by_summary: BTreeMap<String, bool>,
    /// OnCall: whether the problem of a group key is open.
    pub by_key: BTreeMap<String, bool>,
}

impl Consumers {
    /// Takes a message in.
    pub fn read(&mut self, n: &Notification) {
        let listed = || n.alerts.iter().chain(&n.beside);
        for alert in listed() {
            let fires = alert.status == Status::Firing;
            self.by_fingerprint.insert(Fingerprint::of(&alert.labels).to_string(), fires);
        }
        let fires = n.kind != Kind::Resolve;
        let any = listed().any(|alert| alert.status == Status::Firing);
        self.by_labels.insert(n.group_labels.clone(), any);
        let summary = LabelSet::common(n.alerts.iter().map(|alert| &alert.annotations));
        if !summary.value("summary").is_empty() {
            self.by_summary.insert(summary.value("summary").to_owned(), fires);
        }
        self.by_key.insert(format!("{}#{}", n.group_key, n.generation), fires);
    }
}

/// No message says that a firing alert resolved, or that a group resolved while an alert of it fires in an
/// open incident. Forwarded statements of the sender are exempt.
pub fn assert_true(engine: &Engine, replaced: Option<&Policy>, n: &Notification) {
    let mut notified = engine.pages.incidents.all.values().filter(|i| i.side != Side::Observed);
    let incident = notified.find(|i| i.dedup_key == *n.incident_key.as_ref().unwrap_or(&n.dedup_key));
    if n.kind == Kind::Digest || incident.is_none_or(|i| i.side == Side::Forwarded || i.internal.is_some()) {
        return;
    }
    for alert in n.alerts.iter().chain(&n.beside).filter(|a| a.status == Status::Resolved) {
        let mut policies = [Some(engine.policy()), replaced].into_iter().flatten();
        let heartbeat = policies.any(|policy| policy.heartbeat_of(&alert.labels).is_some());
        assert!(
            !engine.world.fires(alert.id) || heartbeat,
            "{} fires, and a message to {} says that it resolved: {n:?}",
            alert.labels,
            n.integration
        );
    }
    if n.kind == Kind::Resolve && n.integration.starts_with("webhook") {
        let open = engine.pages.incidents.all.values().filter(|i| i.side != Side::Observed && !i.is_over());
        let mut of_group = open.filter(|i| i.group.1 == n.group_labels);
        let home = |i: &crate::engine::incidents::incident::Incident| {
            engine.world.destinations.get(i.group.0).receiver == n.receiver
        };
        assert!(
            !of_group.any(|i| home(i) && !i.channels.iter().all(|c| c.is_gone())),
            "its group goes on: {n:?}"
        );
    }
}
