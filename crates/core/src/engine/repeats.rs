//! Repeats: observations that change nothing. [`Query::repeats`](crate::engine::Query::repeats) recognises
//! them, [`GatheredRepeats`] gathers them, and one [`Event::Repeats`](crate::engine::Event::Repeats) counts
//! many, without a decision for each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::engine::occurrences::PeerId;
use crate::model::{AlertId, Cause, Duration, Reason, Source, Timestamp};

/// Repeats of one peer since the last such event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Repeats {
    /// The source.
    pub source: Source,
    /// The peer.
    pub peer: PeerId,
    /// The statements that it repeated.
    pub statements: Vec<Repeat>,
}

/// A repeated statement about one full label set. Most of a journal consists of these, so each is written
/// as a list: the alert and the number of repeats. If there is more to record, `endsAt` in milliseconds of
/// the epoch and the full label set follow.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(from = "RepeatList")]
pub struct Repeat {
    /// Identity of the alert.
    pub alert: AlertId,
    /// Identity of the full label set.
    pub instance: AlertId,
    /// How often.
    pub count: u64,
    /// The latest `endsAt` stated, for a firing one from API v2.
    pub ends_at: Option<Timestamp>,
}

/// [`Repeat`] in its written form.
#[derive(Deserialize)]
struct RepeatList(AlertId, u64, #[serde(default)] Option<i64>, #[serde(default)] Option<AlertId>);

impl From<RepeatList> for Repeat {
    fn from(RepeatList(alert, count, ends_at, instance): RepeatList) -> Self {
        let instance = instance.unwrap_or(alert);
        Repeat { alert, instance, count, ends_at: ends_at.map(Timestamp::from_millis) }
    }
}

impl Serialize for Repeat {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let own = Some(self.instance).filter(|instance| *instance != self.alert);
        let ends_at = self.ends_at.map(Timestamp::as_millis);
        match (ends_at, own) {
            (None, None) => (self.alert, self.count).serialize(s),
            (Some(ends_at), None) => (self.alert, self.count, ends_at).serialize(s),
            (ends_at, Some(own)) => (self.alert, self.count, ends_at, own).serialize(s),
        }
    }
}

/// Repeats are gathered for this long at most.
pub const GATHER_FOR: Duration = Duration::from_secs(30);

/// At most so many statements are gathered. More are an event earlier.
pub const GATHER_AT_MOST: usize = 50_000;

/// Repeats of one or more requests that are not an event yet, merged by source, peer and full label set.
///
/// A repeat changes nothing but when its peer spoke last. A crash loses the repeats that are gathered here,
/// so it loses at most 30 s of signs of life.
#[derive(Debug, Default)]
pub struct GatheredRepeats {
    by_peer: BTreeMap<(Source, PeerId), BTreeMap<AlertId, Repeat>>,
    len: usize,
    since: Option<Timestamp>,
}

impl GatheredRepeats {
    /// Adds the repeats of one request, which came at `now`.
    pub fn add(&mut self, now: Timestamp, repeats: Repeats) {
        if repeats.statements.is_empty() {
            return;
        }
        self.since.get_or_insert(now);
        let gathered = self.by_peer.entry((repeats.source, repeats.peer)).or_default();
        let before = gathered.len();
        for new in repeats.statements {
            let ends_at = new.ends_at;
            let fresh = Repeat { count: 0, ..new };
            let repeat = gathered.entry(fresh.instance).or_insert(fresh);
            repeat.count = repeat.count.saturating_add(new.count);
            repeat.ends_at = repeat.ends_at.max(ends_at);
        }
        self.len += gathered.len() - before;
    }

    /// When the gathered repeats must become an event. `None` if there are none.
    pub fn due(&self) -> Option<Timestamp> {
        let since = self.since?;
        Some(if self.len >= GATHER_AT_MOST { since } else { since + GATHER_FOR })
    }

    /// The gathered repeats, one event for each peer. None are left.
    pub fn take(&mut self) -> impl Iterator<Item = Repeats> + use<> {
        let all = std::mem::take(self);
        all.by_peer.into_iter().map(|((source, peer), gathered)| {
            let statements = gathered.into_values().collect();
            Repeats { source, peer, statements }
        })
    }
}

/// The cause for which unchanged repeats are suppressed: [`Reason::Muted`] where no receiver is notified.
pub(crate) fn cause_of_repeats(reason: Reason) -> Cause {
    if reason == Reason::Muted { Cause::NoIntegration } else { Cause::UnchangedRepeats }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeats(source: Source, instance: u128, count: u64, ends_at: Option<i64>) -> Repeats {
        let ends_at = ends_at.map(Timestamp::from_millis);
        let one = Repeat { alert: AlertId(1), instance: AlertId(instance), count, ends_at };
        Repeats { source, peer: PeerId::default(), statements: vec![one] }
    }

    #[test]
    fn a_repeat_is_written_short_and_read_back() {
        let own = AlertId(2);
        for (ends_at, instance, written) in [
            (None, AlertId(1), r#"["00000000000000000000000000000001",3]"#),
            (Some(7), AlertId(1), r#"["00000000000000000000000000000001",3,7]"#),
            (None, own, r#"["00000000000000000000000000000001",3,null,"00000000000000000000000000000002"]"#),
            (
                Some(-7),
                own,
                r#"["00000000000000000000000000000001",3,-7,"00000000000000000000000000000002"]"#,
            ),
        ] {
            let ends_at = ends_at.map(Timestamp::from_millis);
            let repeat = Repeat { alert: AlertId(1), instance, count: 3, ends_at };
            assert_eq!(serde_json::to_string(&repeat).unwrap(), written);
            assert_eq!(serde_json::from_str::<Repeat>(written).unwrap(), repeat);
        }
    }

    #[test]
    fn repeats_are_merged_by_source_and_label_set() {
        let mut gathered = GatheredRepeats::default();
        let t = Timestamp::from_millis(0);
        assert_eq!(gathered.due(), None);
        gathered.add(t, repeats(Source::Prometheus, 2, 1, Some(10)));
        gathered.add(t + Duration::from_secs(9), repeats(Source::Prometheus, 2, 2, Some(5)));
        gathered.add(t, repeats(Source::Prometheus, 1, 1, None));
        gathered.add(t, repeats(Source::Alertmanager, 2, 1, None));
        assert_eq!(gathered.due(), Some(t + GATHER_FOR), "counts from the first");
        let all: Vec<Repeats> = gathered.take().collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], repeats(Source::Alertmanager, 2, 1, None));
        assert_eq!(all[1].statements.iter().map(|o| o.instance.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all[1].statements[1], repeats(Source::Prometheus, 2, 3, Some(10)).statements[0]);
        assert_eq!((gathered.take().count(), gathered.due()), (0, None));
        gathered.add(t, Repeats { statements: Vec::new(), ..repeats(Source::Prometheus, 1, 1, None) });
        assert_eq!((gathered.take().count(), gathered.due()), (0, None), "no statement, no event");
    }

    #[test]
    fn too_many_repeats_are_due_at_once() {
        let mut gathered = GatheredRepeats::default();
        let t = Timestamp::from_millis(0);
        for n in 0..GATHER_AT_MOST as u128 {
            assert_eq!(gathered.due(), (n > 0).then_some(t + GATHER_FOR));
            gathered.add(t, repeats(Source::Alertmanager, n, 1, None));
        }
        assert_eq!(gathered.due(), Some(t));
    }
}
