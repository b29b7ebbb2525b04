//! An engine that hears nothing any more forgets all that it knew.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::scene::*;
use crate::engine::pages::digest::Digests;
use crate::engine::pages::forwards::Forwards;
use crate::model::Duration;
use crate::policy::{Hold, Mode, Noise};

/// Longer than any memory of the engine: 100 days, in seconds.
const LONG: u64 = 100 * 24 * 3_600;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_of_alerts_that_are_over(
        scene in scenes(20),
        mode in prop::sample::select(vec![Mode::Enforce, Mode::Observe]),
        wait in prop::sample::select(vec![0, 5]),
    ) {
        let scene = scene.with(|noise| {
            let hold = Hold { time: Duration::from_mins(10), levels: vec!["critical".into()] };
            let (wait, digest) = (Duration::from_mins(wait), Duration::from_hours(4));
            *noise = Noise { mode, hold, wait, digest, ..noise.clone() };
        });
        let mut policy = scene.policy();
        policy.severities.levels[1].hold = Duration::from_mins(2 * wait);
        let world = play(policy, &scene.webhook(300), scene.end() + LONG);
        let pages = &world.engine.pages;
        prop_assert_eq!(world.engine.next_deadline(), None);
        prop_assert_eq!(&pages.groups, &BTreeMap::new());
        prop_assert_eq!(pages.series.len(), 0);
        prop_assert_eq!(pages.incidents.all.len(), 0);
        prop_assert_eq!(pages.incidents.in_flight.len(), 0);
        prop_assert_eq!(&pages.digests, &Digests::default());
        prop_assert_eq!(&pages.forwards, &Forwards::default());
        prop_assert_eq!(world.engine.world.alerts.len(), 0);
        let stats = world.engine.query().stats();
        for one in stats.receivers.values().chain(stats.observed.values()) {
            prop_assert!(one.is_idle(), "{one:?}");
        }
    }
}
