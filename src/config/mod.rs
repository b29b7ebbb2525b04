//! `squelch.yml` → a validated [`Config`]; every error names file, line and what would be right.

mod policy;
mod receiver;

pub use policy::{GroupBy, IntegrationRef, Level, Noise, Policy, Receiver, Route, Severities};
pub use receiver::{
    Config, ConsoleConfig, HttpAuth, HttpConfig, Integration, IntegrationKind, PagerdutyConfig,
    PagerdutyImage, PagerdutyLink, Secret, SecretError, SecretUrl, SlackConfig, Url, WebhookConfig,
};
