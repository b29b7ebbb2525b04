//! A notification in the form that its texts need: firing and resolved apart, and the labels that the
//! alerts share.

use std::collections::BTreeSet;

use super::text::http_url;
use crate::model::{AlertView, Kind, LabelSet, Notification, Status};
use crate::templates::{NO_READINGS, Readings, incident_url};

/// So many rules of one incident have links.
const LINKED_RULES: usize = 10;

/// The values that one attempt renders.
#[derive(Clone)]
pub struct View<'a> {
    /// The notification.
    pub notification: &'a Notification,
    /// `--web.external-url`. It may be empty.
    pub external_url: &'a str,
    /// It may be a repeat. A keyless receiver gets a mark.
    pub possible_repeat: bool,
    /// The readings of the alerts' rules.
    pub readings: &'a Readings,
    /// The alerts that fire.
    pub firing: Vec<&'a AlertView>,
    /// The alerts that resolved.
    pub resolved: Vec<&'a AlertView>,
    /// The labels that all alerts share.
    pub common_labels: LabelSet,
    /// The annotations that all alerts share.
    pub common_annotations: LabelSet,
}

impl<'a> View<'a> {
    /// The view of one attempt.
    pub fn new(notification: &'a Notification, external_url: &'a str, possible_repeat: bool) -> Self {
        let (firing, resolved) = notification.alerts.iter().partition(|a| a.status == Status::Firing);
        View {
            notification,
            external_url,
            possible_repeat,
            readings: &NO_READINGS,
            firing,
            resolved,
            common_labels: LabelSet::common(notification.alerts.iter().map(|a| &a.labels)),
            common_annotations: LabelSet::common(notification.alerts.iter().map(|a| &a.annotations)),
        }
    }

    /// Whether the incident fires. A notification that closes an incident says resolved (a stale or
    /// superseded one still lists firing alerts). One that opens or repeats an incident says firing. A
    /// digest is about no incident, and notifies no person by name, with any alerts.
    pub fn is_firing(&self) -> bool {
        match self.notification.kind {
            Kind::Page | Kind::Update | Kind::Acknowledge => true,
            Kind::Resolve | Kind::Digest => false,
        }
    }

    /// How many alerts fire, listed or not.
    pub fn num_firing(&self) -> u64 {
        self.firing.len() as u64 + self.notification.truncated_firing
    }

    /// How many alerts resolved, listed or not.
    pub fn num_resolved(&self) -> u64 {
        self.resolved.len() as u64 + self.truncated_resolved()
    }

    /// How many alerts resolved that the list leaves out.
    pub fn truncated_resolved(&self) -> u64 {
        self.notification.truncated.saturating_sub(self.notification.truncated_firing)
    }

    /// The page of the incident. It may be empty.
    pub fn incident_url(&self) -> String {
        incident_url(self.external_url, self.notification)
    }

    /// Named links of the incident: its page, then the runbook and the graph of each rule, both once.
    pub fn links(&self) -> Vec<(String, String)> {
        let mut rules: Vec<&AlertView> = Vec::new();
        let mut known = BTreeSet::new();
        for alert in &self.notification.alerts {
            if rules.len() < LINKED_RULES && known.insert(alert.labels.value("alertname")) {
                rules.push(alert);
            }
        }
        let named = |what: &str, alert: &AlertView| match known.len() {
            1 => what.to_owned(),
            _ => format!("{what}: {}", alert.labels.value("alertname")),
        };
        let page = if self.notification.kind == Kind::Digest { "Squelch" } else { "Incident" };
        let incident = (page.to_owned(), self.incident_url());
        let runbook =
            |alert: &&AlertView| (named("Runbook", alert), alert.annotations.value("runbook_url").to_owned());
        let graph = |alert: &&AlertView| (named("Graph", alert), alert.generator_url.to_string());
        let all = std::iter::once(incident).chain(rules.iter().map(runbook)).chain(rules.iter().map(graph));
        all.filter(|(_, url)| http_url(url).is_some()).collect()
    }

    /// `firing` or `resolved`.
    pub fn status(&self) -> &'static str {
        if self.is_firing() { Status::Firing.as_str() } else { Status::Resolved.as_str() }
    }
}
