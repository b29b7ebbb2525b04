//! Receivers and their integrations, with secrets; keys as in alertmanager.yml.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{AccessRules, AddressPolicy, Policy, Problem, Secret, Storage};
use crate::model::Duration;

/// A validated configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// What decides; goes to the engine and into the journal.
    pub policy: Policy,
    /// Integrations of each receiver, in the order of [`Policy`]'s references; stays at the edge.
    pub receivers: BTreeMap<SmolStr, Vec<Integration>>,
    /// The file as YAML for people, its secrets masked; empty if it was made of no file.
    pub masked: Arc<str>,
    /// What is allowed, and probably not meant, as far as the text of the file shows it.
    pub doubts: Vec<Problem>,
    /// How much of the past is kept.
    pub storage: Storage,
    /// `limits.memory`: how much memory there is, in bytes, if that is less than the system says. It decides
    /// with the machine how many alerts [`Policy::limits`] lets be known; see `docs/reliability.md`.
    pub memory: Option<u64>,
    /// `sources` and `users`; stays at the edge.
    pub access: AccessRules,
}

/// One integration: where a notification goes and how it is written.
#[derive(Clone, Debug)]
pub struct Integration {
    /// `pagerduty[0]`: kind and position among all integrations of that kind in the receiver.
    pub name: SmolStr,
    /// What it speaks, with its own keys.
    pub kind: IntegrationKind,
    /// One attempt may take this long. Default 10s.
    pub timeout: Duration,
    /// `http_config`; unused by the console.
    pub http: HttpConfig,
}

/// What an integration speaks.
#[derive(Clone, Debug)]
pub enum IntegrationKind {
    /// `pagerduty_configs`
    Pagerduty(PagerdutyConfig),
    /// `slack_configs`
    Slack(SlackConfig),
    /// `webhook_configs`
    Webhook(WebhookConfig),
    /// `console_configs`: a line on standard output.
    Console(ConsoleConfig),
}

impl IntegrationKind {
    /// The value of the metric label `integration`.
    pub fn as_str(&self) -> &'static str {
        match self {
            IntegrationKind::Pagerduty(_) => "pagerduty",
            IntegrationKind::Slack(_) => "slack",
            IntegrationKind::Webhook(_) => "webhook",
            IntegrationKind::Console(_) => "console",
        }
    }
}

/// PagerDuty, Events API v2. Templated keys are minijinja templates; `None` = the default text.
#[derive(Clone, Debug)]
pub struct PagerdutyConfig {
    /// `routing_key` / `routing_key_file`: the integration key of 32 characters. The inline one is templated.
    pub routing_key: Secret,
    /// `url`. Default `https://events.pagerduty.com/v2/enqueue`.
    pub url: Url,
    /// `client`, templated.
    pub client: Option<String>,
    /// `client_url`, templated.
    pub client_url: Option<String>,
    /// `description` (the summary), templated, cut to 1,024 characters.
    pub description: Option<String>,
    /// `severity`, templated: critical, error, warning or info.
    pub severity: Option<String>,
    /// `source`, templated.
    pub source: Option<String>,
    /// `component`, templated.
    pub component: Option<String>,
    /// `group`, templated.
    pub group: Option<String>,
    /// `class`, templated.
    pub class: Option<String>,
    /// `details`, values templated; they come on top of the default ones.
    pub details: BTreeMap<String, String>,
    /// `images`, each value templated.
    pub images: Vec<PagerdutyImage>,
    /// `links`, each value templated.
    pub links: Vec<PagerdutyLink>,
}

impl PagerdutyConfig {
    /// Where change events go: beside a `url` that ends in `/v2/enqueue`, with or without a slash and a query
    /// behind it. None for another `url`, beside which nobody knows of such a place.
    pub fn change_url(&self) -> Option<String> {
        let url = self.url.0.trim();
        let end = url.find(['?', '#']).unwrap_or(url.len());
        let (path, query) = url.split_at(end);
        let bare = path.trim_end_matches('/');
        let base = bare.strip_suffix("/v2/enqueue")?;
        let is_path = base.split_once("://").is_some_and(|(_, host)| !host.is_empty());
        is_path.then(|| format!("{base}/v2/change/enqueue{}{query}", &path[bare.len()..]))
    }
}

/// A picture in a PagerDuty incident.
#[derive(Clone, Debug, Default)]
pub struct PagerdutyImage {
    /// `src`: https only.
    pub src: String,
    /// `href`
    pub href: String,
    /// `alt`
    pub alt: String,
}

/// A link in a PagerDuty incident.
#[derive(Clone, Debug, Default)]
pub struct PagerdutyLink {
    /// `href`
    pub href: String,
    /// `text`
    pub text: String,
}

/// A Slack incoming webhook.
#[derive(Clone, Debug)]
pub struct SlackConfig {
    /// `api_url` / `api_url_file`: secret.
    pub api_url: SecretUrl,
    /// `channel`, templated. An incoming webhook of today ignores it.
    pub channel: Option<String>,
    /// `username`, templated.
    pub username: Option<String>,
    /// `icon_emoji`, templated.
    pub icon_emoji: Option<String>,
    /// `icon_url`, templated.
    pub icon_url: Option<String>,
    /// `color`, templated.
    pub color: Option<String>,
    /// `title`, templated.
    pub title: Option<String>,
    /// `title_link`, templated.
    pub title_link: Option<String>,
    /// `pretext`, templated.
    pub pretext: Option<String>,
    /// `text`, templated.
    pub text: Option<String>,
    /// `footer`, templated.
    pub footer: Option<String>,
    /// `fallback`, templated.
    pub fallback: Option<String>,
}

/// A receiver of Alertmanager's v4 body.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// `url` / `url_file`: may hold a token, so it is treated as a secret.
    pub url: SecretUrl,
    /// `max_alerts`; 0 = all.
    pub max_alerts: u64,
    /// `signing_secret` / `signing_secret_file`: one Standard Webhooks secret, or several with blanks
    /// between them while they are being changed.
    pub signing_secret: Option<Secret>,
}

/// Notifications as text on standard output.
#[derive(Clone, Debug, Default)]
pub struct ConsoleConfig {}

/// `http_config`, as far as it is supported.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// `authorization`, or `basic_auth`.
    pub auth: Option<HttpAuth>,
    /// `http_headers`: name → value.
    pub headers: BTreeMap<String, Secret>,
    /// `tls_config.ca_file`: trusted instead of the system's roots.
    pub ca_file: Option<PathBuf>,
    /// `allow_addresses` and `deny_addresses`: where connections may go.
    pub addresses: AddressPolicy,
}

/// Credentials of an HTTP client.
#[derive(Clone, Debug)]
pub enum HttpAuth {
    /// `authorization: {type, credentials | credentials_file}`; type defaults to Bearer.
    Authorization {
        /// The scheme.
        scheme: String,
        /// The credentials.
        credentials: Secret,
    },
    /// `basic_auth: {username, password | password_file}`
    Basic {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
}

/// An http or https URL from the configuration, checked when it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url(pub String);

impl Url {
    /// What is doubtful in a routing key for this URL: PagerDuty's own have 32 characters.
    pub(super) fn key_doubt(&self, key: &str) -> Option<String> {
        let host = self.0.split("://").nth(1)?.split(['/', ':', '?']).next()?;
        let length = key.chars().count();
        (host.ends_with("pagerduty.com") && length != 32 && !key.is_empty()).then(|| {
            format!(
                "has {length} characters, and PagerDuty's have 32; write the integration key of a service"
            )
        })
    }
}

/// A URL that is a secret as a whole.
#[derive(Clone, Debug)]
pub struct SecretUrl(pub Secret);
