//! One alert, as both formats write it, and the list that collects them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::go::{assign, field};
use super::json::{Json, JsonText, Read};
use super::labels::{self, Annotations, Labels};
use super::parsed::{Fault, Parsed, Reject};
use super::text::head;
use super::{InvalidReason, NamedLabels, bounds};
use crate::model::{Batch, LabelSet, Observation, Source, Status, Timestamp};

/// The times of an alert in a format's reading (and, for the webhook, the status).
pub(super) struct Episode {
    pub(super) status: Status,
    pub(super) starts_at: Timestamp,
    /// `starts_at` was not said.
    pub(super) start_unknown: bool,
    pub(super) ends_at: Option<Timestamp>,
}

/// One alert while it is read: its fields as far as they are known, and its mended errors.
pub(super) struct Alert<'a, 'n> {
    pub(super) status: Option<JsonText<'a>>,
    pub(super) starts_at: Option<JsonText<'a>>,
    pub(super) ends_at: Option<JsonText<'a>>,
    generator_url: Cow<'a, str>,
    labels: Labels<'a, 'n>,
    annotations: Annotations<'a>,
    /// When it came.
    pub(super) received_at: Timestamp,
    /// Classes, each with the error and the value taken instead. Those of the labels are not among them.
    pub(super) mends: Vec<Fault>,
}

impl<'a, 'n> Alert<'a, 'n> {
    /// Reads the object that comes next. Unknown fields are skipped.
    fn read(json: &mut Json<'a>, received_at: Timestamp, named: &'n NamedLabels) -> Read<Self> {
        const FIELDS: [&str; 6] = ["annotations", "endsAt", "generatorURL", "labels", "startsAt", "status"];
        let mut alert = Alert {
            status: None,
            starts_at: None,
            ends_at: None,
            generator_url: Cow::default(),
            labels: Labels::new(named),
            annotations: Annotations::default(),
            received_at,
            mends: Vec::new(),
        };
        json.object(|json, key| {
            match field(&key, &FIELDS) {
                Some(0) => alert.annotations.read(json)?,
                Some(1) => assign(&mut alert.ends_at, json.value()?),
                // Of a type of its own, which `null` empties.
                Some(2) => alert.generator_url = json.value()?.string_or_empty(),
                Some(3) => alert.labels.read(json)?,
                Some(4) => assign(&mut alert.starts_at, json.value()?),
                Some(5) => assign(&mut alert.status, json.value()?),
                _ => drop(json.value()?),
            }
            Ok(())
        })?;
        Ok(alert)
    }

    /// Notes a mended error.
    pub(super) fn mend(&mut self, reason: InvalidReason, what: String) {
        self.mends.push((reason, what));
    }
}

/// A format's own rule: status and times → an episode.
pub(super) type Rule<'r> = &'r dyn Fn(&mut Alert<'_, '_>) -> Episode;

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
    pub(super) fn ends(&mut self, mut json: Json<'_>) {
        if json.peek().is_some() {
            self.mend(InvalidReason::TrailingData);
            let what =
                format!("the body goes on behind its JSON value, at byte {}, which is ignored", json.at());
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

    /// Reads the alert that comes next.
    pub(super) fn take(&mut self, json: &mut Json<'_>) -> Read<()> {
        let index = self.next_index;
        self.next_index += 1;
        let taken = if self.observations.len() >= bounds::ALERTS {
            json.value()?;
            let most = bounds::ALERTS;
            let error = format!("more than {most} alerts in one body. Several bodies would be right");
            Err((InvalidReason::TooManyAlerts, error))
        } else if json.peek() == Some(b'{') {
            let alert = Alert::read(json, self.received_at, self.named)?;
            self.observation(index, alert)
        } else {
            let found = json.value()?.found();
            let error = format!("the alert is {found}, where an object would be right");
            Err((InvalidReason::NotAnObject, error))
        };
        match taken {
            Ok(observation) => self.observations.push(observation),
            Err((reason, error)) => {
                *self.rejected.entry(reason).or_default() += 1;
                if self.rejects.len() < bounds::REJECTS_LISTED {
                    self.rejects.push(Reject { index, reason, error });
                }
            }
        }
        Ok(())
    }

    fn observation(&mut self, index: usize, mut alert: Alert<'_, '_>) -> Result<Observation, Fault> {
        let mut labels = alert.labels.set();
        if labels.is_empty() {
            // Alertmanager's webhook does not read an answer, so that the alert would be lost.
            if self.source == Source::Prometheus {
                return Err((InvalidReason::NoLabels, labels::NONE.to_owned()));
            }
            labels = LabelSet::from_pairs([("alertname", labels::UNLABELLED)]);
            let instead = format!("{}. It is taken as alertname={:?}", labels::NONE, labels::UNLABELLED);
            alert.labels.mends.push((InvalidReason::BadLabel, instead));
        }
        let episode = (self.rule)(&mut alert);
        let Alert { labels: Labels { cut, mends: of_labels, .. }, annotations, generator_url, mends, .. } =
            alert;
        // However much was wrong with it, an alert counts once in each class.
        let mut classes = BTreeSet::new();
        for (reason, what) in mends.into_iter().chain(of_labels) {
            if classes.insert(reason) {
                self.mend(reason);
            }
            self.first_mended.entry(reason).or_insert_with(|| format!("alert {index}: {what}"));
        }
        let endless_url = generator_url.len() > bounds::ANNOTATION_BYTES;
        if cut || annotations.cut || endless_url {
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
            labels,
            annotations: annotations.set(),
            starts_at: episode.starts_at,
            start_unknown: episode.start_unknown,
            ends_at: episode.ends_at,
            generator_url: if endless_url { SmolStr::default() } else { self.last_url.clone() },
        })
    }
}
