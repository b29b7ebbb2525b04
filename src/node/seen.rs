//! Unchanged repeats, gathered until they are worth an event.

use std::collections::{BTreeMap, HashMap};

use crate::engine::{PeerId, Seen, SeenOccurrence};
use crate::model::{AlertId, Duration, Source, Timestamp};

/// How long repeats are gathered at most.
pub const FLUSH_AFTER: Duration = Duration::from_secs(30);

/// How many label sets are gathered at most; more are an event earlier.
pub const FLUSH_AT: usize = 50_000;

/// Repeats of one or more requests, merged by (source, peer, label set).
///
/// Repeats change nothing but when an alert was last heard of, so what is gathered here and lost
/// with the process costs at most [`FLUSH_AFTER`] of evidence of life.
#[derive(Debug, Default)]
pub struct SeenBuffer {
    /// By peer and full label set, without an order: [`Self::take`] gives one.
    by_peer: BTreeMap<(Source, PeerId), HashMap<AlertId, SeenOccurrence>>,
    len: usize,
    since: Option<Timestamp>,
}

impl SeenBuffer {
    /// Adds what one request repeated at `now`.
    pub fn add(&mut self, now: Timestamp, seen: Seen) {
        if seen.occurrences.is_empty() {
            return;
        }
        self.since.get_or_insert(now);
        let occurrences = self.by_peer.entry((seen.source, seen.peer)).or_default();
        for new in seen.occurrences {
            match occurrences.get_mut(&new.instance) {
                Some(known) => {
                    known.count = known.count.saturating_add(new.count);
                    known.ends_at = known.ends_at.max(new.ends_at);
                }
                None => {
                    self.len += 1;
                    occurrences.insert(new.instance, new);
                }
            }
        }
    }

    /// When what is gathered must become an event; `None` if nothing is.
    pub fn due(&self) -> Option<Timestamp> {
        let since = self.since?;
        Some(if self.len >= FLUSH_AT { since } else { since + FLUSH_AFTER })
    }

    /// What is gathered, one event a peer; nothing is left. In the order of the label sets, so that the
    /// same repeats always make the same event.
    #[expect(clippy::disallowed_methods, reason = "sorted at once")]
    pub fn take(&mut self) -> impl Iterator<Item = Seen> + use<> {
        let all = std::mem::take(self);
        all.by_peer.into_iter().map(|((source, peer), map)| {
            let mut occurrences: Vec<_> = map.into_values().collect();
            occurrences.sort_unstable_by_key(|one| one.instance);
            Seen { source, peer, occurrences }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(source: Source, instance: u128, count: u64, ends_at: Option<i64>) -> Seen {
        let ends_at = ends_at.map(Timestamp::from_millis);
        let occurrence = SeenOccurrence { alert: AlertId(1), instance: AlertId(instance), count, ends_at };
        Seen { source, peer: PeerId::default(), occurrences: vec![occurrence] }
    }

    #[test]
    fn merges_by_source_and_label_set() {
        let mut buffer = SeenBuffer::default();
        let t = Timestamp::from_millis(0);
        assert_eq!(buffer.due(), None);
        buffer.add(t, seen(Source::Prometheus, 2, 1, Some(10)));
        buffer.add(t + Duration::from_secs(9), seen(Source::Prometheus, 2, 2, Some(5)));
        buffer.add(t, seen(Source::Prometheus, 1, 1, None));
        buffer.add(t, seen(Source::Alertmanager, 2, 1, None));
        assert_eq!(buffer.due(), Some(t + FLUSH_AFTER), "counts from the first");
        let all: Vec<Seen> = buffer.take().collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], seen(Source::Alertmanager, 2, 1, None));
        assert_eq!(all[1].occurrences.iter().map(|o| o.instance.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all[1].occurrences[1], seen(Source::Prometheus, 2, 3, Some(10)).occurrences[0]);
        assert_eq!((buffer.take().count(), buffer.due()), (0, None));
        buffer.add(t, Seen { occurrences: Vec::new(), ..seen(Source::Prometheus, 1, 1, None) });
        assert_eq!((buffer.take().count(), buffer.due()), (0, None), "nothing said is nothing gathered");
    }

    #[test]
    fn a_full_buffer_is_due_at_once() {
        let mut buffer = SeenBuffer::default();
        let t = Timestamp::from_millis(0);
        for n in 0..FLUSH_AT as u128 {
            assert_eq!(buffer.due(), (n > 0).then_some(t + FLUSH_AFTER));
            buffer.add(t, seen(Source::Alertmanager, n, 1, None));
        }
        assert_eq!(buffer.due(), Some(t));
    }
}
