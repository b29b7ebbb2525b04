//! The title of an incident. The pager, the pages and the API call this one function, so that a person
//! finds the same words everywhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LabelSet, Share, partial_shares};

/// The label that names the severity of an alert, unless the configuration names another one.
pub const SEVERITY: &str = "severity";

/// So many alert names stand in a title at most.
const NAMES: usize = 3;

/// A title in parts: the names of the alerts, and the other labels that they share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headline {
    /// Of merged pages: how many alerts fire at each severity level, the highest level first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub counts: String,
    /// The name that all alerts share, or up to three names and how many more there are.
    pub names: String,
    /// The values of the group's labels, then in brackets the other labels that the alerts share.
    pub rest: String,
}

impl fmt::Display for Headline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.names.is_empty() || self.rest.is_empty() { "" } else { " " };
        let colon = if self.counts.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}{space}{}", self.counts, self.names, self.rest)
    }
}

/// `HighLatency eu-west (checkout critical)`: the name, the values of the group's labels, and in brackets
/// the other labels that the alerts share. As Alertmanager's `__subject`, with two differences. The name of
/// an alert always comes first, also where the alerts do not share one. With `most`, the title also names
/// the labels that most alerts share, and how many do: `(critical, service=db: 12 of 14 alerts)`.
///
/// The label `severity` never stands there, because one of the others may be more severe. If `left_out`
/// further alerts exist, the title does not name it at all.
pub fn headline(
    group: &LabelSet,
    alerts: &[&LabelSet],
    severity: &str,
    most: bool,
    left_out: u64,
) -> Headline {
    let common = LabelSet::common(alerts.iter().copied());
    let names = match common.value("alertname") {
        "" => names(alerts),
        name => name.to_owned(),
    };
    // The title of merged pages names the labels that most of their alerts have. A label that not all of
    // them have goes into a separate part.
    let of_all = |(name, value): &(&str, &str)| {
        let having = alerts.iter().filter(|labels| labels.value(name) == *value).count();
        having == 0 || having == alerts.len()
    };
    let of_group = group.iter().filter(|(name, _)| *name != "alertname").filter(of_all).map(|(_, v)| v);
    let mut words: Vec<String> = of_group.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    let shared: Vec<&str> = common
        .iter()
        .filter(|(name, value)| *name != "alertname" && group.value(name) != *value)
        .filter(|(name, _)| left_out == 0 || *name != severity)
        .map(|(_, value)| value)
        .collect();
    let mut brackets: Vec<String> =
        Some(shared.join(" ")).filter(|text| !text.is_empty()).into_iter().collect();
    if most {
        let shares = partial_shares(alerts, 2, |name| name == "alertname" || name == severity);
        let said = |s: &Share<'_>| format!("{}={}: {} of {} alerts", s.name, s.value, s.sets, alerts.len());
        brackets.extend(shares.iter().map(said));
    }
    if !brackets.is_empty() {
        words.push(format!("({})", brackets.join(", ")));
    }
    Headline { counts: String::new(), names, rest: words.join(" ") }
}

/// `28 critical, 264 warning: Down, Full and 288 more`: the title of merged pages. `counts` has the names of
/// severity levels and how many alerts fire at each, the highest level first.
pub fn merged_headline(
    group: &LabelSet,
    alerts: &[&LabelSet],
    severity: &str,
    counts: &[(&str, usize)],
) -> Headline {
    let said: Vec<String> = counts.iter().map(|(level, alerts)| format!("{alerts} {level}")).collect();
    // The counts have the severity. Without them it stands in brackets, as in other titles: behind "and 6
    // more", a bare "critical" would read as a part of the number.
    let group = group.filter(|name| name != severity);
    let named = u64::from(!counts.is_empty());
    Headline { counts: said.join(", "), ..headline(&group, alerts, severity, true, named) }
}

/// The names of alerts that do not share one: up to three, and how many more.
fn names(alerts: &[&LabelSet]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in alerts.iter().map(|labels| labels.value("alertname")) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let shown = names.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
