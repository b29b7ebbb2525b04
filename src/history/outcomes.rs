//! When a person was first notified of each firing: by Alertmanager's groups, and by Squelch.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::report::SeverityFigures;
use super::time::SAME_MS;
use super::told::Telling;
use crate::config::Severities;
use crate::model::{AlertId, Duration, Kind, Timestamp};

/// Firings that are remembered of each configuration. Those beyond them are not judged.
pub(super) const MOST: usize = 2_000_000;

/// The first notification of an alert may be the update of an incident of at most this age. Beyond it the
/// alert is swallowed: people do not look at an old incident again.
pub const SWALLOWED_AFTER: Duration = Duration::from_mins(15);

/// One firing of an alert at one receiver, and when Alertmanager notifies of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Firing {
    /// See [`key`].
    pub(super) key: u64,
    /// The position of its level of severity, 0 = the highest.
    pub(super) level: u8,
    pub(super) starts_at: Timestamp,
    pub(super) told: Told,
}

/// How a person was first notified of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Not at all.
    Not,
    /// Not anew: the alert stood in an open incident at this time, and still does.
    Open(Timestamp),
    /// At this time, in an incident that was opened then or before.
    At { at: Timestamp, opened: Timestamp },
}

/// An alert at a receiver.
pub(super) fn key(receiver: &str, alert: AlertId) -> u64 {
    let mut hash = DefaultHasher::new();
    (receiver, alert).hash(&mut hash);
    hash.finish()
}

/// The notifications that the receivers got from Squelch.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// By [`key`]: in order of their start, once [`Heard::sort`] is called.
    alerts: HashMap<u64, Vec<Entry>>,
    /// When each incident was paged, and closed.
    incidents: Vec<(Timestamp, Option<Timestamp>)>,
    /// The latest incident of each receiver and dedup key. A later incident of a group may have a key again.
    latest: HashMap<u64, usize>,
    entries: usize,
    pub(super) truncated: bool,
}

/// One firing of which a receiver was notified.
#[derive(Debug, Clone, Copy)]
struct Entry {
    starts_at: Timestamp,
    at: Timestamp,
    opened: Timestamp,
    /// The latest incident in which it stands.
    incident: usize,
}

impl Heard {
    pub(super) fn note(&mut self, telling: &Telling<'_>) {
        let n = telling.notification;
        if matches!(n.kind, Kind::Digest | Kind::Acknowledge) {
            return;
        }
        let mut hash = DefaultHasher::new();
        (&n.receiver, &n.dedup_key).hash(&mut hash);
        let incident = self.incident(hash.finish(), n.kind, n.at);
        let (opened, _) = self.incidents[incident];
        for alert in telling.alerts.iter().filter(|alert| alert.problem.is_none()) {
            if self.entries >= MOST {
                self.truncated = true;
                return;
            }
            let entries = self.alerts.entry(key(&n.receiver, alert.id)).or_default();
            match entries.last_mut() {
                Some(last) if last.starts_at == alert.starts_at => last.incident = incident,
                _ => {
                    self.entries += 1;
                    entries.push(Entry { starts_at: alert.starts_at, at: n.at, opened, incident });
                }
            }
        }
    }

    /// The incident of a notification under this key. A page after a resolve opens another one.
    fn incident(&mut self, key: u64, kind: Kind, at: Timestamp) -> usize {
        let known = self.latest.get(&key).copied();
        let goes_on = |index: &usize| kind != Kind::Page || self.incidents[*index].1.is_none();
        let index = known.filter(goes_on).unwrap_or_else(|| {
            self.incidents.push((at, None));
            self.incidents.len() - 1
        });
        self.latest.insert(key, index);
        if kind == Kind::Resolve {
            self.incidents[index].1 = Some(at);
        }
        index
    }

    fn sort(&mut self) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the order in which the lists are sorted changes none"
        )]
        self.alerts.values_mut().for_each(|entries| entries.sort_by_key(|entry| entry.starts_at));
    }

    /// How a person was notified of `firing`. `asked` is the time of interest.
    fn told(&self, firing: &Firing, asked: Timestamp) -> Told {
        let Some(entries) = self.alerts.get(&firing.key) else { return Told::Not };
        let later = entries.partition_point(|entry| entry.starts_at <= firing.starts_at);
        let Some(entry) = later.checked_sub(1).map(|index| entries[index]) else { return Told::Not };
        if entry.starts_at == firing.starts_at {
            // Alertmanager does not notify anew either. A repeat of the incident lists the firing later.
            let before = later.checked_sub(2).map(|index| entries[index]);
            let open = matches!(firing.told, Told::Open(_)) && entry.at > asked;
            return match before {
                Some(before) if open && self.lists(&before, asked) => Told::Open(asked),
                _ => Told::At { at: entry.at, opened: entry.opened },
            };
        }
        if self.lists(&entry, asked) { Told::Open(asked) } else { Told::Not }
    }

    /// Whether an open incident lists the alert at this time.
    fn lists(&self, entry: &Entry, at: Timestamp) -> bool {
        let closed = self.incidents[entry.incident].1;
        entry.at <= at && closed.is_none_or(|closed| closed > at)
    }
}

/// The figures of Alertmanager's grouping, and of Squelch, for each level of severity in order.
pub(super) fn judge(
    severities: &Severities,
    firings: &[Firing],
    heard: &mut Heard,
) -> (Vec<SeverityFigures>, Vec<SeverityFigures>) {
    heard.sort();
    let empty = || severities.levels.iter().map(|level| SeverityFigures::new(&level.name)).collect();
    let (mut before, mut after): (Vec<SeverityFigures>, Vec<SeverityFigures>) = (empty(), empty());
    for firing in firings {
        let level = usize::from(firing.level);
        let asked = match firing.told {
            Told::At { at, .. } | Told::Open(at) => at,
            Told::Not => firing.starts_at,
        };
        let told = heard.told(firing, asked);
        if let Some(figures) = before.get_mut(level) {
            figures.count(firing.starts_at, firing.told);
        }
        if let Some(figures) = after.get_mut(level) {
            figures.count(firing.starts_at, told);
            if let Told::At { at: before, .. } = firing.told {
                match told {
                    Told::At { at, .. } => figures.later += u64::from(at.since(before).as_millis() > SAME_MS),
                    Told::Open(_) => {}
                    Told::Not => figures.never += 1,
                }
            }
        }
    }
    (before, after)
}

impl SeverityFigures {
    fn count(&mut self, starts_at: Timestamp, told: Told) {
        self.firings += 1;
        match told {
            Told::Not => self.not_notified += 1,
            Told::Open(_) => self.open += 1,
            Told::At { at, opened } => {
                self.delay.add(at.since(starts_at));
                match at.since(opened) {
                    Duration::ZERO => self.paged += 1,
                    age if age <= SWALLOWED_AFTER => self.joined += 1,
                    _ => self.swallowed += 1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    #[test]
    fn each_firing_is_judged_by_when_a_person_first_hears_of_it() {
        let severities = Severities::default();
        let told = |s: i64| Told::At { at: at(s), opened: at(30) };
        let firing = |key, starts: i64, told| Firing { key, level: 0, starts_at: at(starts), told };
        let firings = [
            firing(1, 0, told(30)),
            firing(2, 10, told(330)),
            firing(2, 2000, told(2130)),
            firing(3, 0, told(30)),
            firing(4, 0, Told::Not),
            firing(5, 100, Told::Open(at(100))),
        ];
        let mut heard = Heard::default();
        heard.incidents.push((at(0), Some(at(3000))));
        let entry =
            |starts: i64, s: i64| Entry { starts_at: at(starts), at: at(s), opened: at(0), incident: 0 };
        heard.alerts.insert(1, vec![entry(0, 0)]);
        heard.alerts.insert(2, vec![entry(10, 10)]);
        heard.alerts.insert(3, vec![entry(0, 1000)]);
        heard.alerts.insert(5, vec![entry(0, 0), entry(100, 2000)]);
        let (before, after) = judge(&severities, &firings, &mut heard);
        let counts =
            |f: &SeverityFigures| [f.firings, f.paged, f.joined, f.swallowed, f.open, f.not_notified];
        assert_eq!(counts(&before[0]), [6, 2, 1, 1, 1, 1]);
        assert_eq!(counts(&after[0]), [6, 1, 1, 1, 2, 1]);
        assert_eq!((after[0].later, after[0].never), (1, 0));
        assert_eq!(after[0].delay.max(), Some(Duration::from_secs(1000)));
        assert_eq!(before[1].firings, 0);
        // A closed incident notifies of nothing.
        heard.incidents[0] = (at(0), Some(at(100)));
        let (_, after) = judge(&severities, &firings, &mut heard);
        assert_eq!((after[0].open, after[0].never), (0, 1));
    }

    #[test]
    fn a_page_under_a_key_that_was_resolved_opens_another_incident() {
        let mut heard = Heard::default();
        let first = heard.incident(9, Kind::Page, at(0));
        assert_eq!(heard.incident(9, Kind::Page, at(60)), first, "a repeated page goes on");
        assert_eq!(heard.incident(9, Kind::Resolve, at(100)), first);
        assert_eq!(heard.incident(9, Kind::Resolve, at(101)), first);
        let second = heard.incident(9, Kind::Page, at(200_000));
        assert_eq!(heard.incident(9, Kind::Update, at(200_100)), second);
        assert_eq!(heard.incidents, [(at(0), Some(at(101))), (at(200_000), None)]);
        assert_ne!(first, second);
    }
}
