//! `receivers` and their integrations.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::http::http_config;
use super::integrations::{self, Defaults};
use super::section::{Problems, Section, Text, shown};
use super::trust::check_fallbacks;
use super::yaml::Node;
use crate::config::{Integration, IntegrationKind, IntegrationRef, KnownBy, Receiver};
use crate::model::Duration;

/// Integrations of Alertmanager that this version does not have.
const UNSUPPORTED: [&str; 15] = [
    "discord_configs",
    "email_configs",
    "incidentio_configs",
    "jira_configs",
    "mattermost_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "opsgenie_configs",
    "pushover_configs",
    "rocketchat_configs",
    "sns_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "wechat_configs",
];

/// What the receivers are to those who decide, and to those who send.
#[derive(Default)]
pub(super) struct Receivers {
    pub(super) deciding: BTreeMap<SmolStr, Receiver>,
    pub(super) sending: BTreeMap<SmolStr, Vec<Integration>>,
}

pub(super) fn read(nodes: &[Node], defaults: &Defaults<'_>, problems: &Problems) -> Receivers {
    let mut found = Receivers::default();
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    let mut fallbacks: Vec<(SmolStr, Text<'_>)> = Vec::new();
    for node in nodes {
        let Some(mut keys) = Section::new(node, "receiver", problems) else { continue };
        let name = keys.text("name").filter(|name| !name.text.is_empty());
        match name {
            None => problems.add(keys.line, "receiver has no name; write name: and the name that routes use"),
            Some(name) => {
                if let Some(first) = lines.insert(name.text, name.line) {
                    let message = format!(
                        "receiver {} stands twice, first on line {first}; give each its own name",
                        shown(name.text)
                    );
                    problems.add(name.line, message);
                }
            }
        }
        let (mut deciding, mut sending) = (Vec::new(), Vec::new());
        for kind in &KINDS {
            for (i, node) in keys.list(kind.list).unwrap_or_default().iter().enumerate() {
                let name: SmolStr = format!("{}[{i}]", kind.name).into();
                let Some(section) = Section::new(node, kind.list, problems) else { continue };
                let (reference, integration) = integration(section, name, kind, defaults);
                deciding.push(reference);
                sending.push(integration);
            }
        }
        let mut receiver = Receiver::new(deciding);
        let fallback = keys.text("fallback");
        receiver.fallback = fallback.map(|name| name.text.into());
        receiver.fallback_after = keys.positive("fallback_after").unwrap_or(receiver.fallback_after);
        keys.unsupported(&UNSUPPORTED);
        keys.unsupported(&["labels"]);
        keys.finish();
        if let Some(name) = name {
            fallbacks.extend(fallback.map(|fallback| (name.text.into(), fallback)));
            found.deciding.insert(name.text.into(), receiver);
            found.sending.insert(name.text.into(), sending);
        }
    }
    check_fallbacks(&found.deciding, &fallbacks, problems);
    found
}

/// A kind of integration: how it is listed, and how it is read.
struct Kind {
    list: &'static str,
    name: &'static str,
    /// Whether it hears of resolves and changes unless it says so itself.
    talkative: bool,
    /// Whether it sends anything, and so has `http_config` and `timeout`.
    sends: bool,
    read: fn(&mut Section<'_>, &Defaults<'_>) -> IntegrationKind,
}

const KINDS: [Kind; 4] = [
    Kind {
        list: "pagerduty_configs",
        name: "pagerduty",
        talkative: true,
        sends: true,
        read: integrations::pagerduty,
    },
    Kind { list: "slack_configs", name: "slack", talkative: false, sends: true, read: integrations::slack },
    Kind {
        list: "webhook_configs",
        name: "webhook",
        talkative: true,
        sends: true,
        read: integrations::webhook,
    },
    Kind {
        list: "console_configs",
        name: "console",
        talkative: true,
        sends: false,
        read: integrations::console,
    },
];

/// Of so many alerts of one incident a message for people tells at most.
const MOST_ALERTS: u32 = 1_000;

fn integration(
    mut keys: Section<'_>,
    name: SmolStr,
    kind: &Kind,
    defaults: &Defaults<'_>,
) -> (IntegrationRef, Integration) {
    let read = (kind.read)(&mut keys, defaults);
    let send_resolved = keys.boolean("send_resolved").unwrap_or(kind.talkative);
    let send_updates = keys.boolean("send_updates").unwrap_or(kind.talkative);
    let takes_digests = match &read {
        IntegrationKind::Pagerduty(config) => config.change_url().is_some(),
        _ => true,
    };
    let (mut timeout, mut http) = (None, None);
    if kind.sends {
        timeout = keys.positive("timeout");
        let mut own = http_config(&mut keys, defaults.base).unwrap_or_else(|| defaults.http.clone());
        // A wall round everything must not fall because one receiver has a password of its own.
        if own.addresses.is_empty() {
            own.addresses = defaults.http.addresses.clone();
        }
        http = Some(own);
    }
    keys.finish();
    let integration = Integration {
        name: name.clone(),
        kind: read,
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
        http: http.unwrap_or_default(),
    };
    let (known_by, most_alerts) = match &integration.kind {
        IntegrationKind::Pagerduty(_) => (KnownBy::DedupKey, MOST_ALERTS),
        IntegrationKind::Slack(_) | IntegrationKind::Console(_) => (KnownBy::Nothing, MOST_ALERTS),
        // 0 is all, as in Alertmanager.
        IntegrationKind::Webhook(webhook) if webhook.max_alerts == 0 => (KnownBy::Group, u32::MAX),
        IntegrationKind::Webhook(webhook) => {
            (KnownBy::Group, webhook.max_alerts.try_into().unwrap_or(u32::MAX))
        }
    };
    (IntegrationRef { name, send_resolved, send_updates, takes_digests, known_by, most_alerts }, integration)
}
