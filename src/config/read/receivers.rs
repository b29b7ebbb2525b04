//! `receivers` and their integrations.

use std::collections::BTreeMap;
use std::path::Path;

use smol_str::SmolStr;

use super::trust::check_fallbacks;
use crate::config::{HttpConfig, Integration, IntegrationRef, Receiver};
use crate::model::LabelSet;
use crate::receivers::{Reader, ReceiverType};
use crate::settings::http::http_config;
use crate::settings::section::{Problems, Section, Text, shown};
use crate::settings::yaml::Node;

/// The lists of integrations of Alertmanager. Those that no receiver type here reads are refused.
const OF_ALERTMANAGER: [&str; 18] = [
    "discord_configs",
    "email_configs",
    "incidentio_configs",
    "jira_configs",
    "mattermost_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "opsgenie_configs",
    "pagerduty_configs",
    "pushover_configs",
    "rocketchat_configs",
    "slack_configs",
    "sns_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "webhook_configs",
    "wechat_configs",
];

/// The defaults in `global` for integrations that do not set the key themselves.
pub(super) struct Defaults<'b> {
    /// Each type with the reader of its integrations.
    pub(super) readers: Vec<(&'static ReceiverType, Reader<'b>)>,
    pub(super) http: HttpConfig,
    /// The folder of the configuration file. `_file` keys are relative to it.
    pub(super) base: &'b Path,
}

/// The receivers in two forms: for the engine, and for delivery.
#[derive(Default)]
pub(super) struct Receivers {
    pub(super) deciding: BTreeMap<SmolStr, Receiver>,
    pub(super) sending: BTreeMap<SmolStr, Vec<Integration>>,
    pub(super) labels: BTreeMap<SmolStr, LabelSet>,
}

pub(super) fn read(nodes: &[Node], defaults: &Defaults<'_>, problems: &Problems) -> Receivers {
    let mut found = Receivers::default();
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    let mut fallbacks: Vec<(SmolStr, Text<'_>)> = Vec::new();
    for node in nodes {
        let Some(mut keys) = Section::new(node, "receiver", problems) else { continue };
        let name = keys.text("name").filter(|name| !name.text.is_empty());
        match name {
            None => problems.add(keys.line, "receiver has no name. Write name: and the name that routes use"),
            Some(name) => {
                if let Some(first) = lines.insert(name.text, name.line) {
                    let message = format!(
                        "receiver {} stands twice, first on line {first}. Give each its own name",
                        shown(name.text)
                    );
                    problems.add(name.line, message);
                }
            }
        }
        let (mut deciding, mut sending) = (Vec::new(), Vec::new());
        for reader in &defaults.readers {
            let kind = reader.0;
            for (i, node) in keys.list(kind.list).unwrap_or_default().iter().enumerate() {
                let name: SmolStr = format!("{}[{i}]", kind.name).into();
                let Some(section) = Section::new(node, kind.list, problems) else { continue };
                let (reference, integration) = integration(section, name, reader, defaults);
                deciding.push(reference);
                sending.push(integration);
            }
        }
        let mut receiver = Receiver::new(deciding);
        let fallback = keys.text("fallback");
        receiver.fallback = fallback.map(|name| name.text.into());
        receiver.fallback_after = keys.positive("fallback_after").unwrap_or(receiver.fallback_after);
        let labels = labels(&mut keys, name);
        keys.unsupported(&OF_ALERTMANAGER);
        keys.finish();
        if let Some(name) = name {
            fallbacks.extend(fallback.map(|fallback| (name.text.into(), fallback)));
            found.deciding.insert(name.text.into(), receiver);
            found.sending.insert(name.text.into(), sending);
            found.labels.extend(labels.map(|labels| (name.text.into(), labels)));
        }
    }
    check_fallbacks(&found.deciding, &fallbacks, problems);
    found
}

/// `labels` of a receiver. Alertmanager's API selects receivers by them.
fn labels(keys: &mut Section<'_>, name: Option<Text<'_>>) -> Option<LabelSet> {
    let labels = keys.text_map("labels");
    for (key, value) in &labels {
        if *key == "name" && name.is_some_and(|name| name.text != value.text) {
            let message = format!("the label name is {}. Write the receiver's name", shown(value.text));
            keys.problems.add(value.line, message);
        }
    }
    let labels = LabelSet::from_pairs(labels.into_iter().map(|(name, value)| (name, value.text)));
    (!labels.is_empty()).then_some(labels)
}

fn integration(
    mut keys: Section<'_>,
    name: SmolStr,
    (kind, reader): &(&'static ReceiverType, Reader<'_>),
    defaults: &Defaults<'_>,
) -> (IntegrationRef, Integration) {
    let notifier = reader(&mut keys);
    let send_resolved = keys.boolean("send_resolved").unwrap_or(kind.send_resolved);
    let send_updates = keys.boolean("send_updates").unwrap_or(kind.send_updates || notifier.edits());
    let mut timeout = None;
    let addresses = defaults.http.addresses.clone();
    let mut http = HttpConfig { addresses: addresses.clone(), ..HttpConfig::default() };
    if notifier.speaks_http() {
        // Alertmanager takes 0s for no limit but that of the group, which is the default here.
        timeout = keys.go_duration("timeout").filter(|timeout| !timeout.is_zero());
        http = http_config(&mut keys, defaults.base).unwrap_or_else(|| defaults.http.clone());
        // A receiver with a password of its own keeps the common address policy.
        if http.addresses.is_empty() {
            http.addresses = addresses;
        }
    }
    let templates = keys.problems.library();
    keys.finish();
    let reference = IntegrationRef {
        name: name.clone(),
        send_resolved,
        send_updates,
        takes_digests: notifier.shows_no_digest().is_none(),
        takes_acknowledgements: notifier.takes_acknowledgements(),
        known_by: kind.known_by,
        most_alerts: notifier.most_alerts(),
        endpoint: notifier.endpoint(),
    };
    let timeout = timeout.unwrap_or_else(|| notifier.timeout());
    (reference, Integration { name, notifier, timeout, http, templates })
}
