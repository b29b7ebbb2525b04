//! The order of the alerts of a message.

use crate::model::{AlertView, alertmanager_order};

/// Alerts in the order of Alertmanager.
pub fn in_order<'a>(alerts: impl IntoIterator<Item = &'a AlertView>) -> Vec<&'a AlertView> {
    let mut alerts: Vec<&AlertView> = alerts.into_iter().collect();
    alerts.sort_by(|a, b| alertmanager_order(&a.labels, &b.labels));
    alerts
}
