//! Routes that look like a dead man's switch: an outside service pages once their pings stop.

use super::{Config, Integration, Problem, Route, Secret, overlap};
use crate::model::{LabelSet, MatchOp};

/// Names of the alert that always fires, in lower case and without other characters than letters.
const ALERTS: [&str; 4] = ["watchdog", "deadmansswitch", "deadmanswitch", "deadmanssnitch"];
/// Parts of the URLs of the services.
const SERVICES: [&str; 6] =
    ["nosnch.in", "deadmanssnitch", "hc-ping.com", "healthchecks", "cronitor.link", "heartbeat"];

/// The routes that look like a dead man's switch and are no `heartbeat`. Squelch repeats an alert that an
/// Alertmanager sent until `stale_after`, so the pings outlive that Alertmanager.
pub fn dead_mans_switches(config: &Config) -> Vec<Problem> {
    let policy = &config.policy;
    let mut found = Vec::new();
    for route in &policy.routes {
        let integrations = config.receivers.get(&route.receiver).map(Vec::as_slice).unwrap_or_default();
        let alert = alert(route);
        let named = ALERTS.contains(&letters(alert.value("alertname")).as_str());
        let pings = integrations.iter().any(is_service) || (named && !integrations.is_empty());
        if !pings || policy.heartbeat_of(&alert).is_some() {
            continue;
        }
        let message = format!(
            "the route to {:?} looks like a dead man's switch. Behind Alertmanager, its pings go on for up to \
             {} (stale_after) after the death of Alertmanager. Keep this route and its receiver in Alertmanager. Or \
             write heartbeat, and give the alert a route in Alertmanager with repeat_interval: 2m. \
             docs/migration.md has both",
            route.receiver, policy.stale_after,
        );
        found.push(Problem::new(route.line, message));
    }
    found
}

/// The labels of an alert of the route, as far as its matchers name them.
fn alert(route: &Route) -> LabelSet {
    let known = |value: &&str| ALERTS.contains(&letters(value).as_str());
    let label = |m: &crate::model::Matcher| match m.op() {
        MatchOp::Equal => Some((m.name().to_owned(), m.value().to_owned())),
        MatchOp::Regex => {
            overlap::words(m.value()).find(known).map(|word| (m.name().to_owned(), word.to_owned()))
        }
        MatchOp::NotEqual | MatchOp::NotRegex => None,
    };
    LabelSet::from_pairs(route.matchers.iter().filter_map(label))
}

fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether a webhook leads to a service that waits for pings. A URL in a file is not read for this.
fn is_service(integration: &Integration) -> bool {
    let leads = |secret: &Secret| match secret {
        Secret::Inline(url) => SERVICES.iter().any(|part| url.to_ascii_lowercase().contains(part)),
        Secret::File(_) => false,
    };
    integration.name.starts_with("webhook[")
        && integration.notifier.secrets().into_iter().any(|(secret, _)| leads(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(matchers: &str, url: &str, more: &str) -> Vec<u32> {
        let text = format!(
            "route:\n  receiver: chat\n  routes:\n  - {{receiver: dms, matchers: [{matchers}]}}\nreceivers:\n- name: \
             chat\n- name: dms\n  {url}\n{more}\n"
        );
        let config = crate::config::parse(&text, "f", std::path::Path::new("")).unwrap();
        dead_mans_switches(&config).iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn a_dead_mans_switch_is_known_by_its_alert_or_its_service() {
        let (other, none) = ("webhook_configs: [{url: 'http://a/'}]", "");
        let service = |url: &str| format!("webhook_configs: [{{url: '{url}'}}]");
        for alert in
            ["alertname = Watchdog", "alertname=DEADMANSSWITCH", "'alertname=~\"InfoInhibitor|Watchdog\"'"]
        {
            assert_eq!(told(alert, other, ""), [4], "{alert}");
            assert_eq!(told(alert, none, ""), [0; 0], "it notifies nobody: {alert}");
        }
        for url in
            ["https://nosnch.in/c0ffee", "https://hc-ping.com/1-2", "https://healthchecks.example.org/ping/1"]
        {
            assert_eq!(told("team=a", &service(url), ""), [4], "{url}");
        }
        assert_eq!(told("alertname=Down", other, ""), [0; 0]);
        assert_eq!(told("alertname!=Watchdog", other, ""), [0; 0]);
        let heartbeat = "heartbeat: {matchers: ['alertname=\"Watchdog\"']}";
        assert_eq!(told("alertname=Watchdog", other, heartbeat), [0; 0]);
        assert_eq!(told("alertname=DeadMansSwitch", other, heartbeat), [4]);
    }
}
