//! The forms of API v2, each with the fields of the definition of the same name in Alertmanager's
//! `api/v2/openapi.yaml`.

use serde::{Serialize, Serializer};
use smol_str::SmolStr;

use super::silencing::{MatcherForm, SilenceStatus};
use crate::engine::FiringAlert;
use crate::model::{LabelSet, Silence, SilenceState, Timestamp};

/// A time with milliseconds, as Alertmanager writes it.
pub(super) struct Time(pub(super) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:.3}", self.0))
    }
}

/// `gettableAlert`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GettableAlert {
    annotations: LabelSet,
    ends_at: Time,
    fingerprint: String,
    receivers: Vec<Receiver>,
    starts_at: Time,
    status: AlertStatus,
    updated_at: Time,
    #[serde(rename = "generatorURL", skip_serializing_if = "SmolStr::is_empty")]
    generator_url: SmolStr,
    labels: LabelSet,
}

/// `receiver`
#[derive(Serialize)]
pub(super) struct LabelledReceiver {
    pub(super) name: SmolStr,
    pub(super) labels: LabelSet,
}

/// `receiverReference`
#[derive(Serialize)]
pub(super) struct Receiver {
    pub(super) name: SmolStr,
}

/// `alertStatus`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertStatus {
    inhibited_by: Vec<String>,
    muted_by: Vec<SmolStr>,
    silenced_by: Vec<SmolStr>,
    state: &'static str,
}

/// `alertGroup`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertGroup {
    pub(super) alerts: Vec<GettableAlert>,
    pub(super) labels: LabelSet,
    pub(super) receiver: Receiver,
    pub(super) route_labels: LabelSet,
}

impl GettableAlert {
    /// An alert that these receivers get, unless `muted_by` says why they do not.
    pub(super) fn new(alert: &FiringAlert, receivers: Vec<SmolStr>, muted_by: Vec<SmolStr>) -> Self {
        let suppressed = alert.is_suppressed() || !muted_by.is_empty();
        GettableAlert {
            annotations: alert.annotations.clone(),
            ends_at: Time(alert.ends_at),
            fingerprint: alert.fingerprint.to_string(),
            receivers: receivers.into_iter().map(|name| Receiver { name }).collect(),
            starts_at: Time(alert.starts_at),
            status: AlertStatus {
                inhibited_by: alert.inhibited_by.iter().map(ToString::to_string).collect(),
                muted_by,
                silenced_by: alert.silenced_by.clone(),
                state: if suppressed { "suppressed" } else { "active" },
            },
            updated_at: Time(alert.updated_at),
            generator_url: alert.generator_url.clone(),
            labels: alert.labels.clone(),
        }
    }
}

/// `gettableSilence`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GettableSilence {
    id: SmolStr,
    status: SilenceStatus,
    updated_at: Time,
    annotations: LabelSet,
    comment: SmolStr,
    created_by: SmolStr,
    ends_at: Time,
    matchers: Vec<MatcherForm>,
    starts_at: Time,
}

impl GettableSilence {
    /// A silence in this state.
    pub(super) fn new(silence: &Silence, state: SilenceState) -> Self {
        GettableSilence {
            id: silence.id.clone(),
            status: SilenceStatus { state },
            updated_at: Time(silence.updated_at),
            annotations: LabelSet::default(),
            comment: silence.comment.clone(),
            created_by: silence.created_by.clone(),
            ends_at: Time(silence.ends_at),
            matchers: silence.matchers.iter().flatten().map(MatcherForm::from).collect(),
            starts_at: Time(silence.starts_at),
        }
    }
}

/// `alertmanagerStatus`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertmanagerStatus {
    pub(super) cluster: ClusterStatus,
    pub(super) config: AlertmanagerConfig,
    pub(super) uptime: Time,
    pub(super) version_info: VersionInfo,
}

/// `clusterStatus`
#[derive(Serialize)]
pub(super) struct ClusterStatus {
    /// Squelch knows no other members.
    pub(super) peers: [(); 0],
    pub(super) status: &'static str,
}

/// `alertmanagerConfig`
#[derive(Serialize)]
pub(super) struct AlertmanagerConfig {
    pub(super) original: String,
}

/// `versionInfo`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VersionInfo {
    pub(super) branch: &'static str,
    pub(super) build_date: &'static str,
    pub(super) build_user: &'static str,
    pub(super) go_version: &'static str,
    pub(super) revision: &'static str,
    pub(super) version: &'static str,
}
