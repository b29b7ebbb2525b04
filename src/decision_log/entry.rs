//! One line of the decision log, as people and programs read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Cause, Timestamp};

/// The disposition of observations of one alert at one route and receiver, with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Decision)]
#[serde(rename_all = "camelCase")]
pub struct DecisionEntry {
    /// Its number. It rises with time.
    pub id: u64,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The alert's identity, 32 hex digits.
    pub alert: String,
    /// Alertmanager's fingerprint, 16 hex digits.
    pub fingerprint: String,
    /// The alert's labels, as they were said last.
    pub labels: BTreeMap<String, String>,
    /// `page`, `update`, `resolve` or `suppressed`.
    pub disposition: String,
    /// The reason of the suppression. Missing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The profile only observes. The disposition is the one that would have followed, and Squelch notified
    /// no receiver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observed: bool,
    /// How many observations.
    pub count: u64,
    /// The receiver.
    pub receiver: String,
    /// The route's key.
    pub route: String,
    /// The `dedup_key` of the incident, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Why, with its numbers, in one sentence.
    pub rule: String,
    /// Why, as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The setting that decided, as a path in the configuration, or `silence <id>`.
    pub setting: String,
    /// The line of the configuration where that stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// When the occurrence started, as its sender said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts_at: Option<Timestamp>,
    /// For unchanged repeats: when the first of them came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub repeats_since: Option<Timestamp>,
    /// When it would be released or looked at again, where a time is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub release: Option<Timestamp>,
    /// The condition that would release it, in one sentence. Missing if nothing was held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_condition: Option<String>,
    /// The disposition that would have followed without the setting that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<OtherwiseEntry>,
    /// The same as one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterfactual: Option<String>,
    /// Of a page that no receiver has accepted, in one sentence: that it waits, the refusal or the
    /// recall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undelivered: Option<String>,
    /// Of a page: the newest failed attempts to deliver it, in one sentence. Missing if none failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<String>,
    /// Of a page: when the first integration accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub accepted_at: Option<Timestamp>,
}

impl DecisionEntry {
    /// The setting that decided and its line, or that the configuration file leaves it to its default. `None`
    /// if no setting decided.
    pub fn decided_by(&self) -> Option<String> {
        let setting = Some(&self.setting).filter(|setting| !setting.is_empty())?;
        let built_in =
            ["noise.", "global.", "severities."].iter().any(|section| setting.starts_with(section));
        let named = if setting == "route {}" { "the root route" } else { setting };
        Some(match self.line {
            Some(line) => format!("{named}, line {line}"),
            None if built_in => format!("{named}, a default"),
            None => named.to_owned(),
        })
    }
}

/// The disposition that would have followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Otherwise)]
#[serde(rename_all = "camelCase", tag = "action")]
pub enum OtherwiseEntry {
    /// It would have paged.
    Page {
        /// Then.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
    },
    /// It would have changed an open incident.
    Update {
        /// The one of this `dedup_key`.
        incident: String,
    },
}
