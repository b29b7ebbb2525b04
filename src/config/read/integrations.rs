//! The keys of each kind of integration.

use std::path::Path;

use super::http::{secret, secret_url, url};
use super::section::{Section, Text, shown};
use super::template;
use crate::config::{
    ConsoleConfig, HttpConfig, IntegrationKind, PagerdutyConfig, PagerdutyImage, PagerdutyLink, Secret,
    SecretForm, SecretUrl, SlackConfig, Url, WebhookConfig, is_template,
};

/// What PagerDuty takes as a severity.
const PAGERDUTY_SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
/// Keys of Alertmanager's `slack_configs` that this version does not have.
const UNSUPPORTED_SLACK: [&str; 13] = [
    "actions",
    "app_token",
    "app_token_file",
    "app_url",
    "callback_id",
    "fields",
    "image_url",
    "link_names",
    "message_text",
    "mrkdwn_in",
    "short_fields",
    "thumb_url",
    "update_message",
];

/// What `global` lends to integrations that do not say it themselves.
pub(super) struct Defaults<'d> {
    pub(super) pagerduty_url: Url,
    pub(super) slack_api_url: Option<SecretUrl>,
    pub(super) http: HttpConfig,
    /// The folder of the configuration file; `_file` keys are relative to it.
    pub(super) base: &'d Path,
}

pub(super) fn pagerduty(keys: &mut Section<'_>, defaults: &Defaults<'_>) -> IntegrationKind {
    let routing_key =
        secret(keys, ("routing_key", "routing_key_file"), SecretForm::RoutingKey, defaults.base);
    if routing_key.is_none() {
        let message = "pagerduty_configs has no key; write routing_key_file (or routing_key): the integration key of an Events API v2 integration";
        keys.problems.add(keys.line, message);
    }
    if let Some(Secret::Inline(key)) = &routing_key
        && is_template(key)
    {
        let text = Text { line: keys.line_of("routing_key"), text: key };
        template::check(keys.problems, "routing_key", text);
    }
    let details = keys.text_map("details");
    let problems = keys.problems;
    let detail = |(name, text): (&str, _)| Some((name.to_owned(), template::check(problems, name, text)?));
    let config = PagerdutyConfig {
        url: url(keys, "url").unwrap_or_else(|| defaults.pagerduty_url.clone()),
        client: template::read(keys, "client"),
        client_url: template::read(keys, "client_url"),
        description: template::read(keys, "description"),
        severity: template::read(keys, "severity"),
        source: template::read(keys, "source"),
        component: template::read(keys, "component"),
        group: template::read(keys, "group"),
        class: template::read(keys, "class"),
        details: details.into_iter().filter_map(detail).collect(),
        images: images(keys),
        links: links(keys),
        // A key that is missing is noted above; the rest is read all the same.
        routing_key: routing_key.unwrap_or_else(|| Secret::Inline("".into())),
    };
    if let Secret::Inline(key) = &config.routing_key {
        let doubt = match is_template(key) {
            true => template_doubt(key),
            false => config.url.key_doubt(key),
        };
        if let Some(doubt) = doubt {
            keys.problems.doubt(keys.line_of("routing_key"), format!("routing_key {doubt}"));
        }
    }
    if let Some(severity) = config.severity.as_deref()
        && !severity.contains('{')
        && !PAGERDUTY_SEVERITIES.contains(&severity)
    {
        let (line, found) = (keys.line_of("severity"), shown(severity));
        problems.add(line, format!("severity is {found}; write one of {}", PAGERDUTY_SEVERITIES.join(", ")));
    }
    keys.unsupported(&["service_key", "service_key_file"]);
    IntegrationKind::Pagerduty(config)
}

/// What may go wrong with a routing key that is made anew for each notification.
fn template_doubt(key: &str) -> Option<String> {
    // Labels of one group do not change while its incident is open.
    let fixed = ["group_labels", "receiver"];
    if let Some(name) = template::names_of(key).iter().find(|name| !fixed.contains(&name.as_str())) {
        return Some(format!(
            "is made of {name}, which may change while an incident is open: then its resolve goes to another \
             service, and it stays open; use group_labels"
        ));
    }
    let empty = !template::says_something_without_labels(key);
    empty.then(|| {
        "is empty where the label is missing, as in digests and in incidents about Squelch itself, which then \
         reach nobody; write a default, such as {{ group_labels.pd_key or \"KEY\" }}"
            .to_owned()
    })
}

fn images(keys: &mut Section<'_>) -> Vec<PagerdutyImage> {
    let nodes = keys.list("images").unwrap_or_default();
    let image = |node| {
        let mut keys = Section::new(node, "images", keys.problems)?;
        let mut read = |key| template::read(&mut keys, key).unwrap_or_default();
        let image = PagerdutyImage { src: read("src"), href: read("href"), alt: read("alt") };
        if image.src.is_empty() || image.src.starts_with("http:") {
            keys.problems.add(keys.line, "images has an entry without an https src; write src: https://…");
        }
        keys.finish();
        Some(image)
    };
    nodes.iter().filter_map(image).collect()
}

fn links(keys: &mut Section<'_>) -> Vec<PagerdutyLink> {
    let nodes = keys.list("links").unwrap_or_default();
    let link = |node| {
        let mut keys = Section::new(node, "links", keys.problems)?;
        let mut read = |key| template::read(&mut keys, key).unwrap_or_default();
        let link = PagerdutyLink { href: read("href"), text: read("text") };
        if link.href.is_empty() {
            keys.problems.add(keys.line, "links has an entry without href; write href: https://…");
        }
        keys.finish();
        Some(link)
    };
    nodes.iter().filter_map(link).collect()
}

pub(super) fn slack(keys: &mut Section<'_>, defaults: &Defaults<'_>) -> IntegrationKind {
    let own = secret_url(keys, ("api_url", "api_url_file"), defaults.base);
    let api_url = own.or_else(|| defaults.slack_api_url.clone());
    if api_url.is_none() {
        let message =
            "slack_configs has no URL; write api_url_file (or api_url) here, or slack_api_url_file in global";
        keys.problems.add(keys.line, message);
    }
    let config = SlackConfig {
        channel: template::read(keys, "channel"),
        username: template::read(keys, "username"),
        icon_emoji: template::read(keys, "icon_emoji"),
        icon_url: template::read(keys, "icon_url"),
        color: template::read(keys, "color"),
        title: template::read(keys, "title"),
        title_link: template::read(keys, "title_link"),
        pretext: template::read(keys, "pretext"),
        text: template::read(keys, "text"),
        footer: template::read(keys, "footer"),
        fallback: template::read(keys, "fallback"),
        api_url: api_url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into()))),
    };
    keys.unsupported(&UNSUPPORTED_SLACK);
    IntegrationKind::Slack(config)
}

pub(super) fn webhook(keys: &mut Section<'_>, defaults: &Defaults<'_>) -> IntegrationKind {
    let url = secret_url(keys, ("url", "url_file"), defaults.base);
    if url.is_none() {
        keys.problems.add(keys.line, "webhook_configs has no URL; write url or url_file");
    }
    let max_alerts = keys.parsed("max_alerts", "0 (all) or a whole number", |text| text.parse().ok());
    let signing_secret =
        secret(keys, ("signing_secret", "signing_secret_file"), SecretForm::Signing, defaults.base);
    keys.unsupported(&["payload"]);
    let url = url.unwrap_or_else(|| SecretUrl(Secret::Inline("".into())));
    IntegrationKind::Webhook(WebhookConfig { url, max_alerts: max_alerts.unwrap_or(0), signing_secret })
}

pub(super) fn console(_: &mut Section<'_>, _: &Defaults<'_>) -> IntegrationKind {
    IntegrationKind::Console(ConsoleConfig {})
}
