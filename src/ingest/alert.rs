//! One alert, as both formats write it, and the list that collects them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::go::{Each, Objects, assign, field};
use super::text::{JsonText, excerpt, head, string_or_empty};
use super::times::{AlertReading, Episode};
use super::{InvalidReason, NamedLabels, Parsed, Reject, bounds, labels};
use crate::model::{Batch, LabelSet, Observation, Source, Timestamp};

/// The fields of an alert, not yet looked at. Unknown ones are skipped.
#[derive(Default)]
pub(super) struct RawAlert<'a> {
    pub(super) status: Option<&'a RawValue>,
    pub(super) labels: Objects<'a>,
    pub(super) annotations: Objects<'a>,
    pub(super) starts_at: Option<&'a RawValue>,
    pub(super) ends_at: Option<&'a RawValue>,
    pub(super) generator_url: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for RawAlert<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        const FIELDS: [&str; 6] = ["annotations", "endsAt", "generatorURL", "labels", "startsAt", "status"];
        let mut alert = RawAlert::default();
        d.deserialize_map(Each(|key: &'de RawValue, value: &'de RawValue| match field(key, &FIELDS) {
            Some(0) => alert.annotations.add(value),
            Some(1) => assign(&mut alert.ends_at, value),
            // Of a type of its own, which `null` empties.
            Some(2) => alert.generator_url = Some(value),
            Some(3) => alert.labels.add(value),
            Some(4) => assign(&mut alert.starts_at, value),
            Some(5) => assign(&mut alert.status, value),
            _ => {}
        }))?;
        Ok(alert)
    }
}

/// Why an alert is refused: class and text.
pub(super) type Fault = (InvalidReason, String);

/// A format's own rule: status and times → an episode.
pub(super) type Rule<'r> = &'r dyn Fn(&mut AlertReading<'_>) -> Episode;

/// Takes alerts one by one as the parser meets them, so that a body's alerts are never all in memory twice.
pub(super) struct Intake<'r> {
    source: Source,
    rule: Rule<'r>,
    received_at: Timestamp,
    named: &'r NamedLabels,
    next_index: usize,
    observations: Vec<Observation>,
    rejects: Vec<Reject>,
    rejected: BTreeMap<InvalidReason, u64>,
    mended: BTreeMap<InvalidReason, u64>,
    first_mended: BTreeMap<InvalidReason, String>,
    /// Alerts of one rule stand together, and share the text of its address.
    last_url: SmolStr,
}

impl<'r> Intake<'r> {
    pub(super) fn new(
        source: Source,
        rule: Rule<'r>,
        received_at: Timestamp,
        named: &'r NamedLabels,
    ) -> Self {
        Intake {
            source,
            rule,
            received_at,
            named,
            next_index: 0,
            observations: Vec::new(),
            rejects: Vec::new(),
            rejected: BTreeMap::new(),
            mended: BTreeMap::new(),
            first_mended: BTreeMap::new(),
            last_url: SmolStr::default(),
        }
    }

    /// Notes a mended error.
    pub(super) fn mend(&mut self, reason: InvalidReason) {
        *self.mended.entry(reason).or_default() += 1;
    }

    /// Notes text behind the value that was read. Alertmanager does not look there.
    pub(super) fn ends(&mut self, mut json: serde_json::Deserializer<serde_json::de::StrRead<'_>>) {
        if let Err(e) = json.end() {
            self.mend(InvalidReason::TrailingData);
            let what = format!("the body goes on behind its JSON value, which is ignored: {e}");
            self.first_mended.entry(InvalidReason::TrailingData).or_insert(what);
        }
    }

    /// Forgets the alerts so far: a later list is the one that counts.
    pub(super) fn restart(&mut self) {
        *self = Intake::new(self.source, self.rule, self.received_at, self.named);
    }

    /// The accepted observations, as statements of `peer`.
    pub(super) fn finish(self, peer: &str) -> Parsed {
        Parsed {
            batch: Batch::new(self.source, head(peer, bounds::LABEL_BYTES), self.observations),
            rejects: self.rejects,
            rejected: self.rejected,
            mended: self.mended,
            first_mended: self.first_mended,
            truncated: 0,
            receiver: String::new(),
            group_key: String::new(),
        }
    }

    fn take(&mut self, raw: &RawValue) {
        let index = self.next_index;
        self.next_index += 1;
        match self.read(index, raw) {
            Ok(observation) => self.observations.push(observation),
            Err((reason, error)) => {
                *self.rejected.entry(reason).or_default() += 1;
                if self.rejects.len() < bounds::REJECTS_LISTED {
                    self.rejects.push(Reject { index, reason, error });
                }
            }
        }
    }

    fn read(&mut self, index: usize, raw: &RawValue) -> Result<Observation, Fault> {
        if self.observations.len() >= bounds::ALERTS {
            let error =
                format!("more than {} alerts in one body. Several bodies would be right", bounds::ALERTS);
            return Err((InvalidReason::TooManyAlerts, error));
        }
        match JsonText::of(raw) {
            JsonText::Nested("an object", _) => {}
            other => {
                let error = format!("the alert is {}, where an object would be right", other.found());
                return Err((InvalidReason::NotAnObject, error));
            }
        }
        let alert: RawAlert<'_> = serde_json::from_str(raw.get())
            .map_err(|e| (InvalidReason::MalformedJson, format!("the alert cannot be read: {e}")))?;
        let mut labels = labels::labels(&alert.labels, self.named);
        if labels.set.is_empty() {
            // Alertmanager's webhook does not read an answer, so that the alert would be lost.
            if self.source == Source::Prometheus {
                return Err((InvalidReason::NoLabels, labels::NONE.to_owned()));
            }
            labels.set = LabelSet::from_pairs([("alertname", labels::UNLABELLED)]);
            let instead = format!("{}. It is taken as alertname={:?}", labels::NONE, labels::UNLABELLED);
            labels.mends.push((InvalidReason::BadLabel, instead));
        }
        let mut reading = AlertReading { raw: alert, received_at: self.received_at, mends: Vec::new() };
        let episode = (self.rule)(&mut reading);
        let AlertReading { raw: alert, mut mends, .. } = reading;
        mends.append(&mut labels.mends);
        // However much was wrong with it, an alert counts once in each class.
        let classes: BTreeSet<_> = mends.iter().map(|(reason, _)| *reason).collect();
        classes.into_iter().for_each(|reason| self.mend(reason));
        for (reason, what) in mends {
            self.first_mended.entry(reason).or_insert_with(|| format!("alert {index}: {what}"));
        }
        let annotations = labels::annotations(&alert.annotations);
        let generator_url = string_or_empty(alert.generator_url);
        let endless_url = generator_url.len() > bounds::ANNOTATION_BYTES;
        if labels.cut || annotations.cut || endless_url {
            self.mend(InvalidReason::Cut);
        }
        if annotations.odd {
            self.mend(InvalidReason::BadAnnotation);
        }
        if !endless_url && self.last_url != *generator_url {
            self.last_url = generator_url.into();
        }
        Ok(Observation {
            status: episode.status,
            labels: labels.set,
            annotations: annotations.set,
            starts_at: episode.starts_at,
            start_unknown: episode.start_unknown,
            ends_at: episode.ends_at,
            generator_url: if endless_url { SmolStr::default() } else { self.last_url.clone() },
        })
    }
}

/// Feeds a JSON list to an [`Intake`]. If it is no list, the answer names the value that it is.
pub(super) struct List<'i, 'r>(pub(super) &'i mut Intake<'r>);

impl<'de> DeserializeSeed<'de> for List<'_, '_> {
    type Value = Result<(), String>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = Result<(), String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of alerts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            self.0.take(raw);
        }
        Ok(Ok(()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
        Ok(Err("an object".into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err("null".into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Err(format!("the string {:?}", excerpt(text))))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Err(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Err(format!("the number {value}")))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Err(format!("the number {value}")))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Err(format!("the number {value}")))
    }
}
