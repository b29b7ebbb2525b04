//! The values of Go that templates see, as the renderer's values.
//!
//! The renderer knows texts, numbers, lists and maps. A label set is a map. A struct of Go is a map with one
//! more key that names its type, because its fields are not those of a label set.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use super::names;
use super::time::{GoDuration, GoTime};

/// The key that a struct has beside its fields. No label has this name.
const TYPE: &str = "\u{0}type";
/// The place of an alert among those of its message, the worst first.
pub(super) const PLACE: &str = "\u{0}place";

/// A struct of Go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Struct {
    /// The notification.
    Data,
    /// One alert.
    Alert,
    /// A name and its value.
    Pair,
    /// `time.Time`
    Time,
    /// `time.Duration`
    Duration,
}

impl Struct {
    const ALL: [Struct; 5] = [Struct::Data, Struct::Alert, Struct::Pair, Struct::Time, Struct::Duration];

    fn key(self) -> &'static str {
        match self {
            Struct::Data => "data",
            Struct::Alert => "alert",
            Struct::Pair => "pair",
            Struct::Time => "time",
            Struct::Duration => "duration",
        }
    }

    /// Its name in errors.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Struct::Data => "the notification",
            Struct::Alert => "an alert",
            Struct::Pair => "a pair",
            Struct::Time => "a time",
            Struct::Duration => "a duration",
        }
    }

    /// The fields that Alertmanager has, in its order.
    fn printed(self) -> &'static [&'static str] {
        match self {
            Struct::Data => &names::DATA[..7],
            Struct::Alert => &names::ALERT[..7],
            Struct::Pair => names::PAIR,
            // Both have a text of their own.
            Struct::Time | Struct::Duration => &[],
        }
    }

    /// The struct that a value is.
    pub(super) fn of(value: &Value) -> Option<Struct> {
        let name = value.field(TYPE)?.as_str()?;
        Struct::ALL.into_iter().find(|one| one.key() == name)
    }
}

/// A struct with these fields.
pub(super) fn record<'f>(kind: Struct, fields: impl IntoIterator<Item = (&'f str, Value)>) -> Value {
    let of_type = [(TYPE, text(kind.key()))];
    let fields = fields.into_iter().chain(of_type).map(|(name, value)| (Arc::from(name), value));
    Value::Map(Arc::new(fields.collect()))
}

/// A text.
pub(super) fn text(text: impl AsRef<str>) -> Value {
    Value::String(Arc::from(text.as_ref()))
}

/// A list.
pub(super) fn list(items: impl IntoIterator<Item = Value>) -> Value {
    Value::List(items.into_iter().collect())
}

/// A label set.
pub(super) fn set<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Value {
    let pairs = labels.into_iter().map(|(name, value)| (Arc::from(name), text(value)));
    Value::Map(Arc::new(pairs.collect()))
}

/// The label set that a value is: a map of texts.
pub(super) fn as_set(value: &Value) -> Option<&BTreeMap<Arc<str>, Value>> {
    let Value::Map(map) = value else { return None };
    map.values()
        .all(|value| matches!(value, Value::String(_)))
        .then_some(&**map)
        .filter(|_| Struct::of(value).is_none())
}

/// The names of a label set, `alertname` first, as Alertmanager sorts them.
pub(super) fn sorted(set: &BTreeMap<Arc<str>, Value>) -> impl Iterator<Item = (&str, &Value)> {
    let first = set.get_key_value("alertname");
    let others = set.iter().filter(|(name, _)| &***name != "alertname");
    first.into_iter().chain(others).map(|(name, value)| (&**name, value))
}

/// The text that Go writes for a value. `None` where it is a text, a number or the like already.
pub(super) fn shown(value: &Value) -> Option<String> {
    if let Some(time) = GoTime::of(value) {
        return Some(time.to_string());
    }
    if let Some(duration) = GoDuration::of(value) {
        return Some(duration.to_string());
    }
    match value {
        Value::Float(float) => Some(float_text(*float)),
        Value::List(items) if items.iter().any(|item| Struct::of(item) == Some(Struct::Pair)) => {
            Some(items.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::List(items) => {
            let items = items.iter().map(|item| shown(item).unwrap_or_else(|| item.to_string()));
            Some(format!("[{}]", items.collect::<Vec<_>>().join(" ")))
        }
        Value::Map(map) => Some(match Struct::of(value) {
            Some(Struct::Pair) => format!("{{{}}}", pair(value).replacen('=', " ", 1)),
            Some(kind) => {
                // Go writes the fields of a struct in their order.
                let fields = kind.printed().iter().filter_map(|name| map.get(*name));
                let fields = fields.map(|value| shown(value).unwrap_or_else(|| value.to_string()));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(" "))
            }
            None if as_set(value).is_some() => {
                sorted(map).map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
            }
            None => {
                let one = |(name, value): (&Arc<str>, &Value)| {
                    format!("{name}:{}", shown(value).unwrap_or_else(|| value.to_string()))
                };
                format!("map[{}]", map.iter().map(one).collect::<Vec<_>>().join(" "))
            }
        }),
        _ => None,
    }
}

fn pair(value: &Value) -> String {
    let part = |name| value.field(name).map(ToString::to_string).unwrap_or_default();
    format!("{}={}", part("Name"), part("Value"))
}

/// A number as Go's `%v` writes it.
fn float_text(float: f64) -> String {
    let size = float.abs();
    if float == 0.0 || !float.is_finite() || (1e-4..1e21).contains(&size) {
        return match float {
            f64::INFINITY => "+Inf".into(),
            f64::NEG_INFINITY => "-Inf".into(),
            _ => float.to_string(),
        };
    }
    let text = format!("{float:e}");
    let Some((digits, power)) = text.split_once('e') else { return text };
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_writes_them() {
        let labels = set([("b", "2"), ("alertname", "X"), ("a", "1")]);
        let pairs = list([record(Struct::Pair, [("Name", text("a")), ("Value", text("1"))])]);
        for (value, expected) in [
            (labels, "alertname=X, a=1, b=2"),
            (pairs, "a=1"),
            (
                record(
                    Struct::Alert,
                    [("GeneratorURL", text("g")), ("Status", text("s")), ("Flaps", Value::Int(1))],
                ),
                "{s g}",
            ),
            (list([text("x"), Value::Int(2)]), "[x 2]"),
            (Value::Float(1.5), "1.5"),
            (Value::Float(3600.0), "3600"),
            (Value::Float(1e21), "1e+21"),
            (Value::Float(0.00001), "1e-05"),
            (Value::Map(Arc::new([(Arc::from("n"), Value::Int(1))].into())), "map[n:1]"),
        ] {
            assert_eq!(shown(&value).as_deref(), Some(expected), "{value:?}");
        }
    }
}
