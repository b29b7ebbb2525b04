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

use std::sync::Arc;

use smol_str::SmolStr;

pub use answer::Answer;
pub use attempt::{AttemptError, FailureReason, Retry, Side, Verdict, failure_of};
use keyed::{callback_secret, is_authorized, webhook_url};
pub(crate) use notifier::Reader;
pub use notifier::{
    Attempt, HttpMethod, HttpRequest, Mail, MailAuth, MailServer, Notifier, Pace, ReceiverType, Request,
};
pub use render::{LeftOut, Renderer, Templated, Templates};
pub use view::View;

use crate::model::Duration;
use crate::settings::HttpConfig;
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
