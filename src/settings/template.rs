//! The data that a template sees. Those who render and the check of the configuration both take it from
//! here, so that a name which passes the check exists when the page is written.
//!
//! A template sees: `status`, `kind`, `receiver`, `group_labels`, `common_labels`, `common_annotations`,
//! `alerts` (a list, with `alerts.firing` and `alerts.resolved` in it) of `{status, labels, annotations,
//! starts_at, ends_at, generator_url, flaps}`, `external_url`, `severity`, `why`, `dedup_key`,
//! `num_firing`, `num_resolved`, `truncated` and `possible_repeat`. A label that is not there is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use crate::causes;
use crate::model::{AlertView, LabelSet, Notification, Status};

/// Steps that one template may take. A loop over 1,000 alerts with ten labels fits.
const FUEL: u64 = 500_000;

/// An environment with the limits and the rules of every template here, and no template yet.
pub fn template_environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_fuel(Some(FUEL));
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env
}

/// Whether a text holds a template, in minijinja's words or in Go's.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// What one attempt says beside its notification.
#[derive(Clone, Copy)]
pub struct TemplateFacts<'a> {
    /// `firing` or `resolved`.
    pub status: &'a str,
    /// `--web.external-url`; may be empty.
    pub external_url: &'a str,
    /// The receiver may have had it before.
    pub possible_repeat: bool,
}

/// The data that templates see of one notification.
pub struct TemplateData {
    pub(super) names: BTreeMap<&'static str, Value>,
    unknown: Unknown,
}

/// Names that a template asked for and that the object `of` does not have.
type Unknown = Arc<Mutex<BTreeSet<UnknownName>>>;

/// A name that is not there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct UnknownName {
    /// The object that was asked.
    pub(super) of: &'static str,
    /// The name.
    pub(super) name: String,
    /// The names that the object has.
    pub(super) known: Vec<&'static str>,
}

impl TemplateData {
    /// The data of a notification.
    pub fn new(n: &Notification, facts: TemplateFacts<'_>) -> Self {
        Self::with_labels(n, facts, &|labels| Value::from_pairs(labels.iter()))
    }

    /// The same, with label sets as `labels` makes them.
    pub(super) fn with_labels(
        n: &Notification,
        facts: TemplateFacts<'_>,
        labels: &dyn Fn(&LabelSet) -> Value,
    ) -> Self {
        let unknown = Unknown::default();
        let of = |status| n.alerts.iter().filter(move |a: &&AlertView| a.status == status);
        let list = |alerts: Vec<&AlertView>| {
            alerts.into_iter().map(|a| alert(a, labels, &unknown)).collect::<Vec<_>>()
        };
        let (firing, resolved) = (list(of(Status::Firing).collect()), list(of(Status::Resolved).collect()));
        let (num_firing, num_resolved) = (firing.len(), resolved.len());
        let parts = [("firing", Value::from(firing)), ("resolved", Value::from(resolved))];
        let alerts =
            Alerts { list: list(n.alerts.iter().collect()), parts: parts.into(), unknown: unknown.clone() };
        let names = [
            ("status", Value::from(facts.status)),
            ("kind", Value::from(n.kind.as_str())),
            ("receiver", Value::from(n.receiver.as_str())),
            ("group_labels", labels(&n.group_labels)),
            ("common_labels", labels(&LabelSet::common(n.alerts.iter().map(|a| &a.labels)))),
            ("common_annotations", labels(&LabelSet::common(n.alerts.iter().map(|a| &a.annotations)))),
            ("alerts", Value::from_object(alerts)),
            ("external_url", Value::from(facts.external_url)),
            ("severity", Value::from(n.severity.as_str())),
            ("why", Value::from(causes::text(&n.cause))),
            ("dedup_key", Value::from(n.dedup_key.as_str())),
            ("num_firing", Value::from(num_firing)),
            ("num_resolved", Value::from(num_resolved)),
            ("truncated", Value::from(n.truncated)),
            ("possible_repeat", Value::from(facts.possible_repeat)),
        ];
        TemplateData { names: names.into(), unknown }
    }

    /// The context for a rendering.
    pub fn context(&self) -> Value {
        Value::from_pairs(self.names.iter().map(|(name, value)| (*name, value.clone())))
    }

    /// The names that were asked for so far and are not there.
    pub(super) fn unknown(&self) -> Vec<UnknownName> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn alert(alert: &AlertView, labels: &dyn Fn(&LabelSet) -> Value, unknown: &Unknown) -> Value {
    let fields = [
        ("status", Value::from(alert.status.as_str())),
        ("labels", labels(&alert.labels)),
        ("annotations", labels(&alert.annotations)),
        ("starts_at", Value::from(alert.starts_at.to_string())),
        ("ends_at", Value::from(alert.ends_at.map(|at| at.to_string()))),
        ("generator_url", Value::from(alert.generator_url.as_str())),
        ("flaps", Value::from(alert.flaps)),
    ];
    Value::from_object(Fields { fields: fields.into(), unknown: unknown.clone() })
}

fn note(unknown: &Unknown, of: &'static str, name: &Value, known: impl Iterator<Item = &'static str>) {
    let unknown_name = UnknownName { of, name: name.to_string(), known: known.collect() };
    unknown.lock().unwrap_or_else(PoisonError::into_inner).insert(unknown_name);
}

/// One alert.
#[derive(Debug)]
struct Fields {
    fields: BTreeMap<&'static str, Value>,
    unknown: Unknown,
}

impl Object for Fields {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = key.as_str().and_then(|key| self.fields.get(key)).cloned();
        if found.is_none() {
            note(&self.unknown, "an alert", key, self.fields.keys().copied());
        }
        found
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.fields.keys().map(|name| Value::from(*name)).collect())
    }
}

/// All alerts as a list, and those that fire and that resolved under their names, as Alertmanager has them.
#[derive(Debug)]
struct Alerts {
    list: Vec<Value>,
    parts: BTreeMap<&'static str, Value>,
    unknown: Unknown,
}

impl Object for Alerts {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let Some(name) = key.as_str() else { return self.list.get(key.as_usize()?).cloned() };
        let found = self.parts.get(name).cloned();
        if found.is_none() {
            note(&self.unknown, "alerts", key, self.parts.keys().copied());
        }
        found
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.list.len())
    }
}
