//! Receiver types: one file each, behind [`Notifier`]. A new type is a file, its `mod` line and its entry
//! in [`TYPES`]. Nothing else names it.
//!
//! A type says how it is configured, how a notification becomes a request, and how to judge an answer. It
//! does no I/O. [`crate::deliver`] reads its secrets, sends, times out, retries, keeps its pace and hides
//! its secrets, the same for all types.

pub mod alertmanager;
mod answer;
mod attempt;
pub mod console;
pub mod discord;
pub mod email;
mod field;
mod form;
pub mod incidentio;
pub mod jira;
mod keyed;
pub mod mattermost;
pub mod msteams;
pub mod msteamsv2;
mod notifier;
pub mod opsgenie;
pub mod pagerduty;
pub mod passed;
pub mod pushover;
mod render;
mod report;
pub mod rocketchat;
mod signature;
pub mod slack;
pub mod sns;
pub mod telegram;
pub mod text;
pub mod texts;
pub mod victorops;
mod view;
pub mod webex;
pub mod webhook;
pub mod wechat;

use std::path::Path;
use std::sync::Arc;

use smol_str::SmolStr;
use squelch_core::policy::KnownBy;

pub use answer::Answer;
pub use attempt::{AttemptError, FailureReason, Retry, Side, Verdict, failure_of};
pub use notifier::{Attempt, HttpMethod, HttpRequest, Mail, MailAuth, MailServer, Notifier, Pace, Request};
pub use render::{LeftOut, Renderer, Templated, Templates};
pub use view::View;

use crate::model::Duration;
use crate::settings::http::{secret, secret_url};
use crate::settings::section::Section;
use crate::settings::yaml::Value;
use crate::settings::{HttpConfig, Secret, SecretForm, SecretUrl};
pub use crate::templates::Escape;
use crate::templates::Library;

/// Every type of receiver, in the order in which the integrations of one receiver stand.
pub static TYPES: [&ReceiverType; 20] = [
    &pagerduty::TYPE,
    &opsgenie::TYPE,
    &victorops::TYPE,
    &incidentio::TYPE,
    &pushover::TYPE,
    &sns::TYPE,
    &jira::TYPE,
    &slack::TYPE,
    &webhook::TYPE,
    &discord::TYPE,
    &msteamsv2::TYPE,
    &msteams::TYPE,
    &telegram::TYPE,
    &webex::TYPE,
    &wechat::TYPE,
    &rocketchat::TYPE,
    &mattermost::TYPE,
    &alertmanager::TYPE,
    &email::TYPE,
    &console::TYPE,
];

/// A type of receiver, as the configuration knows it.
pub struct ReceiverType {
    /// The key of a receiver that lists integrations of this type, as in alertmanager.yml: `slack_configs`.
    pub list: &'static str,
    /// The value of the metric label `integration`, and the first part of an integration's name.
    pub name: &'static str,
    /// The default of `send_resolved`, as in Alertmanager.
    pub send_resolved: bool,
    /// The default of `send_updates`.
    pub send_updates: bool,
    /// The key by which the receiver sees that two messages are about one problem.
    pub known_by: KnownBy,
    /// Reads the keys of `global` that are this type's, and makes the reader of its integrations. `_file`
    /// keys are relative to the folder.
    pub(crate) reader: for<'b> fn(&mut Section<'_>, &'b Path) -> Reader<'b>,
}

/// Reads the keys of one integration. It notes every error, and reads the rest all the same.
pub(crate) type Reader<'b> = Box<dyn Fn(&mut Section<'_>) -> Arc<dyn Notifier> + 'b>;

/// One integration: where a notification goes and how it is written.
#[derive(Clone, Debug)]
pub struct Integration {
    /// `pagerduty[0]`: type and position among all integrations of that type in the receiver.
    pub name: SmolStr,
    /// Its own keys, and its form of a notification.
    pub notifier: Arc<dyn Notifier>,
    /// One attempt may take this long.
    pub timeout: Duration,
    /// `http_config`. It is unused where the notifier does not speak HTTP.
    pub http: HttpConfig,
    /// The templates that its texts may call.
    pub templates: Arc<Library>,
}

/// The URL of an incoming webhook, which is a secret: `webhook_url` or `webhook_url_file`.
fn webhook_url(keys: &mut Section<'_>, list: &str, base: &Path) -> SecretUrl {
    let url = secret_url(keys, ("webhook_url", "webhook_url_file"), base);
    if url.is_none() {
        keys.problems.add(keys.line, format!("{list} has no URL. Write webhook_url_file (or webhook_url)"));
    }
    url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into())))
}

/// `webhook_secret` or `webhook_secret_file`: the secret that a vendor's webhooks about acknowledgements
/// show.
fn callback_secret(keys: &mut Section<'_>, base: &Path) -> Option<Secret> {
    secret(keys, ("webhook_secret", "webhook_secret_file"), SecretForm::Password, base)
}

/// Whether the integration's own `http_config` has a token.
fn is_authorized(keys: &mut Section<'_>) -> bool {
    let Some(Value::Map(entries)) = keys.node("http_config").map(|node| &node.value) else { return false };
    entries
        .iter()
        .any(|(key, _)| ["authorization", "bearer_token", "bearer_token_file"].contains(&&*key.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_a_name_and_a_list_of_its_own() {
        for (i, a) in TYPES.iter().enumerate() {
            assert!(a.list.ends_with("_configs") && !a.name.contains('['), "{}", a.list);
            assert!(TYPES.iter().skip(i + 1).all(|b| a.list != b.list && a.name != b.name), "{}", a.list);
        }
    }
}
