//! Senders whose clock is wrong: their names and the error. The content of their alerts still counts.
//!
//! Only evidence that a slow network cannot cause counts. A sender is ahead if it states a start, or the
//! end of a resolved alert, that has not come yet. A sender is behind if the end that it gives has passed
//! each time and moves on each time. Prometheus moves the end of a firing alert on with each repeat, and
//! never that of a resolved one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::occurrences::{CLOCK_SLACK, Moment, PeerId, lateness};
use crate::engine::pages::Pages;
use crate::engine::self_check::watch::Watch;
use crate::engine::timers::Timer;
use crate::engine::world::World;
use crate::model::{
    AlertId, Batch, ClockError, Duration, Observation, Problem, Source, Status, Timestamp, beginning,
};

/// So many senders are named at most. The one that was wrong longest ago goes first.
const SENDERS: usize = 100;

/// A sender counts as wrong for this long after it last showed it.
const LASTS: Duration = Duration::from_hours(1);

/// So much of the name of a sender is kept.
const NAME: usize = 200;

/// The number of senders that an alarm names.
const NAMED: usize = 5;

/// Senders whose clock is wrong.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clocks {
    senders: BTreeMap<SmolStr, Wrong>,
}

/// By how much, and until when that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wrong {
    /// Milliseconds, at least: above 0 if the clock is ahead.
    by: i64,
    until: Timestamp,
}

impl Clocks {
    /// The clock of `name` is wrong by `by` milliseconds or more.
    fn note(&mut self, now: Timestamp, name: &str, by: i64) {
        let name = beginning(name, NAME);
        let before = self.senders.get(name).filter(|wrong| wrong.until > now).map_or(0, |wrong| wrong.by);
        // The largest error is nearest to the truth, as long as it is on the same side.
        let by = if before.signum() == by.signum() && before.abs() > by.abs() { before } else { by };
        if self.senders.len() >= SENDERS && !self.senders.contains_key(name) {
            let oldest =
                self.senders.iter().min_by_key(|(_, wrong)| wrong.until).map(|(name, _)| name.clone());
            oldest.map(|name| self.senders.remove(&name));
        }
        self.senders.insert(name.into(), Wrong { by, until: now + LASTS });
    }

    /// The senders whose clock is wrong at `now`, and by how many milliseconds.
    pub(crate) fn wrong(&self, now: Timestamp) -> impl Iterator<Item = (&SmolStr, i64)> {
        self.senders.iter().filter(move |(_, wrong)| wrong.until > now).map(|(name, wrong)| (name, wrong.by))
    }

    /// How late the `endsAt` times are that a sender states for firing alerts, if its clock is behind.
    fn late(&self, now: Timestamp, name: &str) -> Option<Duration> {
        let wrong =
            self.senders.get(beginning(name, NAME)).filter(|wrong| wrong.until > now && wrong.by < 0)?;
        Some(Duration::from_millis(wrong.by.unsigned_abs()))
    }

    fn forget(&mut self, now: Timestamp) {
        self.senders.retain(|_, wrong| wrong.until > now);
    }
}

/// By how many milliseconds the sender of `said` is ahead at least, if that is beyond doubt.
fn ahead(at: Moment, said: &Observation) -> Option<i64> {
    let start = Some(said.starts_at).filter(|_| !said.start_unknown);
    let end = said.ends_at.filter(|_| said.status == Status::Resolved);
    let latest = start.max(end)?;
    (latest > at.wall + CLOCK_SLACK).then(|| latest.since(at.wall).as_millis().cast_signed())
}

impl Clocks {
    /// The statements of a request, corrected for the clock of its sender. It names the sender if the clock
    /// is wrong.
    pub(crate) fn by_clock<'a>(
        &mut self,
        world: &mut World,
        batch: &'a Batch,
        peer: PeerId,
    ) -> Cow<'a, Batch> {
        let (now, at) = (world.now, world.alerts.moment(world.now));
        if let Some(by) = batch.observations.iter().filter_map(|said| ahead(at, said)).max() {
            self.wrong_clock(world, &batch.peer, by);
        }
        let late = self.late(now, &batch.peer);
        let mut judged = Cow::Borrowed(batch);
        for (index, said) in batch.observations.iter().enumerate() {
            let lateness = lateness(at, said);
            if batch.source != Source::Prometheus
                || said.status == Status::Firing
                || said.start_unknown
                || lateness <= CLOCK_SLACK
            {
                continue;
            }
            let instance = AlertId::of(&said.labels, |_| false);
            let alert = world.alerts.owner(instance, &said.labels, &world.policy);
            if world.alerts.judge(now, (alert, instance, peer), said, late) == Status::Firing {
                judged.to_mut().observations[index].status = Status::Firing;
                self.wrong_clock(world, &batch.peer, -lateness.as_millis().cast_signed());
            }
        }
        judged
    }

    fn wrong_clock(&mut self, world: &mut World, sender: &str, by: i64) {
        self.note(world.now, sender, by);
        world.timers.set_if_unset(Timer::SelfCheck, world.now);
    }

    /// Tells a person of the clocks that are wrong.
    pub(crate) fn say(&mut self, watch: &mut Watch, world: &mut World, pages: &mut Pages) {
        self.forget(world.now);
        let wrong: Vec<(&SmolStr, i64)> = self.wrong(world.now).collect();
        let senders = wrong.iter().take(NAMED).map(|(sender, by)| ClockError {
            sender: (*sender).clone(),
            by: Duration::from_secs(by.unsigned_abs() / 1000),
            ahead: *by > 0,
        });
        let (senders, others) = (senders.collect(), wrong.len().saturating_sub(NAMED));
        let found = !wrong.is_empty();
        watch.put(world, pages, Problem::SenderClocksWrong { senders, others }, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_that_were_wrong_longest_ago_give_way() {
        let mut clocks = Clocks::default();
        let at = |ms| Timestamp::from_millis(ms);
        for n in 0..SENDERS as i64 + 5 {
            clocks.note(at(n), &format!("sender-{n}"), 60_000);
        }
        assert_eq!(clocks.wrong(at(200)).count(), SENDERS);
        assert!(clocks.wrong(at(200)).all(|(name, _)| name != "sender-0"));
        assert_eq!(clocks.wrong(at(200) + LASTS).count(), 0);
    }

    #[test]
    fn the_most_that_was_shown_counts_and_a_change_of_side_replaces_it() {
        let mut clocks = Clocks::default();
        let now = Timestamp::from_millis(0);
        for (by, counts) in [(40_000, 40_000), (90_000, 90_000), (50_000, 90_000), (-60_000, -60_000)] {
            clocks.note(now, "a", by);
            assert_eq!(clocks.wrong(now).next(), Some((&"a".into(), counts)));
        }
    }

    #[test]
    fn an_error_counts_for_an_hour_and_is_forgotten() {
        let (mut clocks, now) = (Clocks::default(), Timestamp::from_millis(0));
        clocks.note(now, "a", -90_000);
        let just_before = now + LASTS - Duration::from_millis(1);
        assert_eq!(clocks.late(just_before, "a"), Some(Duration::from_secs(90)));
        assert_eq!(clocks.wrong(just_before).count(), 1);
        assert_eq!((clocks.late(now + LASTS, "a"), clocks.wrong(now + LASTS).count()), (None, 0));
        clocks.note(now + LASTS, "a", -40_000);
        assert_eq!(clocks.late(now + LASTS, "a"), Some(Duration::from_secs(40)), "the larger one is over");
        clocks.note(now + LASTS, "ahead", 90_000);
        assert_eq!(clocks.late(now + LASTS, "ahead"), None);
        clocks.forget(now + LASTS);
        assert_eq!(clocks.senders.len(), 2);
        clocks.forget(now + LASTS + LASTS);
        assert_eq!(clocks, Clocks::default());
    }

    #[test]
    fn a_sender_is_ahead_if_it_states_a_time_beyond_the_slack() {
        let at = Moment::new(Timestamp::EPOCH, 0);
        let said = |start| crate::engine::testing::firing(&Default::default(), start);
        let slack = Timestamp::EPOCH + CLOCK_SLACK;
        assert_eq!(ahead(at, &said(slack)), None);
        assert_eq!(ahead(at, &said(slack + Duration::from_secs(1))), Some(31_000));
    }
}
