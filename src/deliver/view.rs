//! A notification as its texts need it: firing and resolved apart, and what the alerts share.

use crate::model::{AlertView, Kind, LabelSet, Notification, Status};

/// What one attempt renders.
pub(super) struct View<'a> {
    pub notification: &'a Notification,
    pub external_url: &'a str,
    /// It may have been said before: a keyless receiver is told so.
    pub possible_repeat: bool,
    pub firing: Vec<&'a AlertView>,
    pub resolved: Vec<&'a AlertView>,
    pub common_labels: LabelSet,
    pub common_annotations: LabelSet,
}

impl<'a> View<'a> {
    pub(super) fn new(notification: &'a Notification, external_url: &'a str, possible_repeat: bool) -> Self {
        let (firing, resolved) = notification.alerts.iter().partition(|a| a.status == Status::Firing);
        View {
            notification,
            external_url,
            possible_repeat,
            firing,
            resolved,
            common_labels: LabelSet::common(notification.alerts.iter().map(|a| &a.labels)),
            common_annotations: LabelSet::common(notification.alerts.iter().map(|a| &a.annotations)),
        }
    }

    /// Whether the incident fires. What closes an incident says resolved whatever its alerts do (a
    /// stale or superseded one still lists firing alerts); what opens or repeats one says firing. A
    /// digest is about no incident, and calls nobody, whatever it lists.
    pub(super) fn is_firing(&self) -> bool {
        match self.notification.kind {
            Kind::Page | Kind::Update => true,
            Kind::Resolve | Kind::Digest => false,
        }
    }

    /// `firing` or `resolved`.
    pub(super) fn status(&self) -> &'static str {
        if self.is_firing() { Status::Firing.as_str() } else { Status::Resolved.as_str() }
    }
}
