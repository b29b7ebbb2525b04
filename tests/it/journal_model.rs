//! Any sequence of calls, against a model of the contract in a few lines.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use squelch::journal::{Commit, Journal, Seq};
use squelch::model::NotificationId;

use crate::journal::{
    Store, accepted, at, dead, ids, memory, nothing_was_damaged, notification, postgres, record, rejected,
    sqlite,
};

/// The actions of a caller, in any order.
#[derive(Debug, Clone)]
enum Step {
    Commit { events: u64, notifications: u64, reports: Vec<(u64, bool)>, resend: Vec<u64>, good: Vec<u64> },
    Snapshot { back: u64 },
    Prune { back: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let report = (1..12u64, any::<bool>());
    let letters = || prop::collection::vec(1..12u64, 0..2);
    let commit = (0..4u64, 0..3u64, prop::collection::vec(report, 0..4), letters(), letters());
    prop_oneof![
        6 => commit.prop_map(|(events, notifications, reports, resend, good)| {
            Step::Commit { events, notifications, reports, resend, good }
        }),
        1 => (0..4u64).prop_map(|back| Step::Snapshot { back }),
        1 => (0..9u64).prop_map(|back| Step::Prune { back }),
        2 => Just(Step::Reopen),
    ]
}

/// The contract in a few lines: the required content of a reopened journal.
#[derive(Default)]
struct Model {
    end: Seq,
    next_id: u64,
    snapshot: Option<Seq>,
    outbox: BTreeMap<u64, ()>,
    dead: BTreeMap<u64, Seq>,
}

impl Model {
    fn apply(&mut self, journal: &mut dyn Journal, step: &Step) {
        match step {
            Step::Commit { events, notifications, reports, resend, good } => {
                let records: Vec<_> = (self.end + 1..=self.end + events).map(record).collect();
                self.end += events;
                let new: Vec<_> =
                    (1..=*notifications).map(|n| notification(self.next_id + n, at(self.end))).collect();
                self.next_id += notifications;
                self.outbox.extend(new.iter().map(|n| (n.id.0, ())));
                for (id, ok) in reports {
                    if self.outbox.remove(id).is_some() && !ok {
                        self.dead.insert(*id, self.end);
                    }
                }
                for id in resend {
                    self.outbox.extend(self.dead.remove(id).map(|_| (*id, ())));
                }
                self.dead.retain(|id, _| !good.contains(id));
                let good: Vec<_> = good.iter().map(|id| NotificationId(*id)).collect();
                let reports: Vec<_> =
                    reports.iter().map(|(id, ok)| if *ok { accepted(*id) } else { rejected(*id) }).collect();
                let resend: Vec<_> = resend.iter().map(|id| NotificationId(*id)).collect();
                let commit = Commit {
                    records: &records,
                    decisions: &[],
                    history: &[],
                    notifications: &new,
                    reports: &reports,
                    resend: &resend,
                    made_good: &good,
                    taken: None,
                };
                journal.commit(&commit).unwrap();
            }
            Step::Snapshot { back } => {
                let seq = self.end.saturating_sub(*back);
                let allowed = self.snapshot.is_none_or(|newest| seq >= newest);
                assert_eq!(journal.snapshot(seq, &seq.to_be_bytes()).is_ok(), allowed);
                self.snapshot = self.snapshot.max(Some(seq));
            }
            Step::Prune { back } => {
                journal.prune(at(self.end.saturating_sub(*back))).unwrap();
            }
            Step::Reopen => {}
        }
    }

    fn check(&self, journal: &mut dyn Journal) {
        let recovered = journal.recover().unwrap();
        nothing_was_damaged(&recovered);
        let base = self.snapshot.unwrap_or(0);
        assert_eq!(recovered.snapshot, self.snapshot.map(|seq| (seq, seq.to_be_bytes().to_vec())));
        assert_eq!(recovered.records, (base + 1..=self.end).map(record).collect::<Vec<_>>());
        assert_eq!(ids(&recovered), self.outbox.keys().copied().collect::<Vec<_>>());
        let mut letters: Vec<_> = self.dead.iter().map(|(id, seq)| (*seq, *id)).collect();
        letters.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(dead(journal), letters.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    }
}

fn follows_the_model(store: &dyn Store, steps: &[Step]) {
    let mut model = Model::default();
    let mut journal = store.open();
    journal.recover().unwrap();
    for step in steps {
        model.apply(&mut *journal, step);
        if matches!(step, Step::Reopen) {
            drop(journal);
            journal = store.open();
            model.check(&mut *journal);
        }
    }
    drop(journal);
    model.check(&mut *store.open());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_follows_the_model(steps in prop::collection::vec(step(), 1..30)) {
        follows_the_model(&memory(), &steps);
        follows_the_model(&sqlite(), &steps);
    }
}

proptest! {
    // Each case makes a database.
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_follows_the_model_on_postgres(steps in prop::collection::vec(step(), 1..30)) {
        if let Some(store) = postgres() {
            follows_the_model(&store, &steps);
        }
    }
}
