//! Alerts of senders that know an alert by a key: PagerDuty's `dedup_key` and Opsgenie's alias.
//!
//! The first event under a key names the alert by its labels. As long as the alert fires, later events change
//! its severity at most. Another severity is another alert, as it is for Prometheus: it takes the key over,
//! and the former alert ends. A resolve states nothing but the key. It gets the labels and annotations of the
//! alert that has the key.

use std::borrow::Cow;

use crate::engine::alerts::Alerts;
use crate::model::{
    AlertId, Batch, EVENT_KEY, INTEGRATION, LabelSet, Observation, Source, Status, Timestamp,
};
use crate::policy::Policy;

/// The label that an event may change while its alert fires.
const SEVERITY: &str = "severity";

/// A batch whose keys stand for alerts, and the ends of alerts whose key another alert takes over.
pub(crate) struct Keyed<'b> {
    pub(crate) batch: Cow<'b, Batch>,
    pub(crate) ended: Vec<(AlertId, Observation)>,
}

impl Alerts {
    /// Finds the alerts for the keys in `batch`. A batch of a source without keys stays unchanged.
    pub(crate) fn keyed<'b>(&self, batch: Cow<'b, Batch>, policy: &Policy) -> Keyed<'b> {
        if !batch.source.is_keyed() {
            return Keyed { batch, ended: Vec::new() };
        }
        let (mut batch, mut ended) = (batch.into_owned(), Vec::new());
        for observation in &mut batch.observations {
            ended.extend(self.complete(batch.source, observation, policy));
        }
        Keyed { batch: Cow::Owned(batch), ended }
    }

    /// Gives an observation the labels of the alert that has its key. Returns the end of this alert, if the
    /// observation is about another one.
    fn complete(
        &self,
        source: Source,
        said: &mut Observation,
        policy: &Policy,
    ) -> Option<(AlertId, Observation)> {
        let (id, alert) = self.owner_of_key(source.instance(&said.labels))?;
        let known = with(&alert.labels, &said.labels, &[EVENT_KEY, INTEGRATION]);
        if said.status == Status::Resolved {
            said.labels = known;
            (said.annotations, said.generator_url) = self.said(alert);
            return None;
        }
        if !alert.firing() {
            return None;
        }
        said.labels = with(&known, &said.labels, &[SEVERITY]);
        if said.labels == alert.labels || policy.identity(&said.labels) == id {
            return None;
        }
        let end = |at: Timestamp| Observation {
            status: Status::Resolved,
            labels: known,
            annotations: self.said(alert).0,
            starts_at: alert.starts_at.min(at),
            start_unknown: true,
            ends_at: Some(at),
            generator_url: self.said(alert).1,
        };
        Some((id, end(said.starts_at)))
    }
}

/// `labels`, with those of `names` as they stand in `other`.
fn with(labels: &LabelSet, other: &LabelSet, names: &[&str]) -> LabelSet {
    let kept = labels.iter().filter(|(name, _)| !names.contains(name));
    let taken = names.iter().map(|name| (*name, other.value(name))).filter(|(_, value)| !value.is_empty());
    LabelSet::from_pairs(kept.chain(taken))
}
