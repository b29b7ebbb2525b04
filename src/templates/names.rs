//! The names that Go's values have, for errors and for the check of a configuration.

use super::value::Struct;

/// The fields of the notification: those of Alertmanager, then those of Squelch.
pub(super) const DATA: &[&str] = &[
    "Receiver",
    "Status",
    "Alerts",
    "GroupLabels",
    "CommonLabels",
    "CommonAnnotations",
    "ExternalURL",
    "RouteLabels",
    "NotificationReason",
    "TruncatedAlerts",
    "TruncatedFiring",
    "TruncatedResolved",
    "Kind",
    "Severity",
    "Title",
    "Why",
    "Baseline",
    "DedupKey",
    "IncidentKey",
    "IncidentURL",
    "PossibleRepeat",
];
/// The fields of an alert.
pub(super) const ALERT: &[&str] = &[
    "Status",
    "Labels",
    "Annotations",
    "StartsAt",
    "EndsAt",
    "GeneratorURL",
    "Fingerprint",
    "Flaps",
    "Value",
    "Graph",
];
/// The fields of a pair.
pub(super) const PAIR: &[&str] = &["Name", "Value"];
/// The methods of a time.
pub(super) const TIME: &[&str] = &[
    "Format",
    "Unix",
    "UnixMilli",
    "UnixMicro",
    "UnixNano",
    "Add",
    "AddDate",
    "Sub",
    "Equal",
    "Before",
    "After",
    "In",
    "UTC",
    "Local",
    "Round",
    "Truncate",
    "Year",
    "Month",
    "Day",
    "YearDay",
    "Weekday",
    "Hour",
    "Minute",
    "Second",
    "Nanosecond",
    "IsZero",
    "String",
];
/// The methods of a duration.
pub(super) const DURATION: &[&str] = &[
    "Hours",
    "Minutes",
    "Seconds",
    "Milliseconds",
    "Microseconds",
    "Nanoseconds",
    "Round",
    "Truncate",
    "Abs",
    "String",
];
/// The methods of a list of alerts, of pairs, and of texts.
pub(super) const LISTS: &[&str] = &["Firing", "Resolved", "Names", "Values", "Join"];

/// The names that a struct has.
pub(super) fn of_struct(kind: Struct) -> &'static [&'static str] {
    match kind {
        Struct::Data => DATA,
        Struct::Alert => ALERT,
        Struct::Pair => PAIR,
        Struct::Time => TIME,
        Struct::Duration => DURATION,
    }
}

/// The error for an unknown name, with the name that was probably meant.
pub(super) fn missing(of: &str, name: &str, known: &[&str]) -> String {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("Did you mean .{near}?"),
        None => format!("There are .{}", known.join(", .")),
    };
    format!("{of} has no .{name}. {hint}")
}

/// The one of `names` that `name` was probably meant to be: at most a third of it differs.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let name: String = name.chars().take(64).collect::<String>().to_ascii_lowercase();
    let (distance, near) =
        names.map(|n| (distance(&name, &n.to_ascii_lowercase()), n)).min_by_key(|(d, _)| *d)?;
    (distance <= 1 + name.chars().count().min(near.len()) / 3).then_some(near)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_one_change() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert!(missing("an alert", "Lables", ALERT).ends_with("Did you mean .Labels?"));
    }
}
