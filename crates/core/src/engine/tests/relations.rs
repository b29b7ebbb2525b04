//! Changes of the input that must not change which pages leave, and changes that must add none.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::scene::*;
use crate::engine::testing::*;
use crate::model::{Cause, Duration, Kind, LabelSet, Notification, parse_matchers};
use crate::policy::{GroupBy, IntegrationRef, KnownBy, Limit, Noise, Policy, Receiver, Route, Storm};

/// How often an Alertmanager repeats unless a relation is about that.
const REPEAT: u64 = 300;

fn of(scene: &Scene, words: &[Word]) -> Pages {
    pages(&play(scene.policy(), words, scene.end()))
}

fn count(scene: &Scene) -> usize {
    of(scene, &scene.webhook(REPEAT)).len()
}

/// Another name for the value, in another order.
fn renamed(name: &str, value: &str) -> String {
    match (name, value) {
        ("alertname", "A") => "Zeta".into(),
        ("alertname", _) => "Alpha".into(),
        ("cluster", "eu") => "zulu".into(),
        ("cluster", _) => "a".into(),
        ("instance", n) => format!("host-{}", 9 - n.parse::<u32>().unwrap_or(0)),
        (_, value) => value.into(),
    }
}

fn renamed_labels(labels: &LabelSet) -> LabelSet {
    let pairs: Vec<(String, String)> =
        labels.iter().map(|(name, value)| (name.to_string(), renamed(name, value))).collect();
    LabelSet::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// The policy with another route, which takes `job="extra"` to a receiver of its own.
fn with_stranger(mut policy: Policy) -> Policy {
    let root = &policy.routes[0];
    let child = Route {
        key: r#"{}/{job="extra"}"#.into(),
        matchers: parse_matchers("job=extra").unwrap(),
        receiver: "other".into(),
        group_by: GroupBy::Labels(vec!["job".into()]),
        ..root.clone()
    };
    policy.routes[0].children = vec![1];
    policy.routes.push(child);
    let integration = IntegrationRef::new("webhook[0]", KnownBy::DedupKey);
    policy.receivers.insert("other".into(), Receiver::new(vec![integration]));
    policy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn the_order_inside_a_request_does_not_matter(scene in scenes(20), turn in 0usize..6) {
        let words = scene.webhook(REPEAT);
        let turned: Vec<Word> = requests(&words)
            .flat_map(|request| {
                let mut request = request.to_vec();
                let by = turn / 2 % request.len();
                request.rotate_left(by);
                if turn % 2 == 0 {
                    request.reverse();
                }
                request
            })
            .collect();
        prop_assert_eq!(of(&scene, &words), of(&scene, &turned));
    }

    /// Which of two groups of one instant takes the last place under a limit goes by their names.
    #[test]
    fn the_values_of_labels_do_not_matter(scene in scenes(20)) {
        let scene = scene.with(|noise| (noise.storm, noise.limit) = off(noise));
        let mut other = scene.clone();
        for alert in &mut other.alerts {
            alert.labels = renamed_labels(&alert.labels);
        }
        let before = play(scene.policy(), &scene.webhook(REPEAT), scene.end());
        let before = pages_as(&before, |labels| renamed_labels(labels).to_string());
        prop_assert_eq!(before, of(&other, &other.webhook(REPEAT)));
    }

    #[test]
    fn a_twin_that_says_the_same_a_second_later_changes_nothing(scene in scenes(130)) {
        let words = scene.webhook(REPEAT);
        let twin = words.iter().map(|word| Word { at: word.at + 1_000, peer: "am1", ..word.clone() });
        let both = in_order(words.iter().cloned().chain(twin).collect());
        prop_assert_eq!(of(&scene, &words), of(&scene, &both));
    }

    #[test]
    fn the_rhythm_of_repeats_does_not_matter(
        scene in scenes(20),
        repeat in prop::sample::select(vec![1u64, 10, 59, 60, 97, 3_600]),
    ) {
        prop_assume!(repeat >= 10 || scene.end() < 60_000);
        prop_assert_eq!(of(&scene, &scene.webhook(REPEAT)), of(&scene, &scene.webhook(repeat)));
    }

    #[test]
    fn the_door_does_not_matter(scene in scenes(20)) {
        prop_assert_eq!(of(&scene, &scene.webhook(REPEAT)), of(&scene, &scene.api_v2()));
    }

    #[test]
    fn an_unrelated_critical_alert_changes_nothing(scene in scenes(20), from in 0u64..8_000) {
        let words = scene.webhook(REPEAT);
        let policy = || with_stranger(scene.policy());
        let before = pages(&play(policy(), &words, scene.end()));
        let stranger = Alert {
            labels: labels(&[("alertname", "X"), ("job", "extra"), ("severity", "critical")]),
            fires: vec![(from, from + 900), (from + 2_000, from + 4_000)],
        };
        let alone = Scene { alerts: vec![stranger], ..scene.clone() };
        let both = in_order([words, alone.webhook(REPEAT)].concat());
        prop_assert_eq!(before, pages(&play(policy(), &both, scene.end().max(alone.end()))));
    }

    /// A higher severity is a page of its own, if it comes a moment later.
    #[test]
    fn requests_that_are_cut_in_two_page_as_often(scene in scenes(20), keep in 0usize..4) {
        let severity = |alert: &Alert| alert.labels.value("severity").to_owned();
        prop_assume!(scene.alerts.iter().all(|alert| severity(alert) == severity(&scene.alerts[0])));
        let words = scene.webhook(REPEAT);
        let cut: Vec<Word> = requests(&words)
            .flat_map(|request| {
                let later = |(i, word): (usize, &Word)| Word {
                    at: word.at + u64::from(i >= keep),
                    ..word.clone()
                };
                request.iter().enumerate().map(later).collect::<Vec<_>>()
            })
            .collect();
        let times = |pages: Pages| pages.iter().map(|(at, _)| (at + 400) / 1_000).collect::<Vec<_>>();
        prop_assert_eq!(times(of(&scene, &words)), times(of(&scene, &in_order(cut))));
    }

    #[test]
    fn groups_page_as_each_does_alone(scene in scenes(20)) {
        let scene = scene.with(|noise| (noise.storm, noise.limit) = off(noise));
        let mut parts: BTreeMap<Vec<String>, Scene> = BTreeMap::new();
        for alert in &scene.alerts {
            let group = scene.group_by.iter().map(|name| alert.labels.value(name).to_owned()).collect();
            let nobody = || Scene { alerts: Vec::new(), ..scene.clone() };
            parts.entry(group).or_insert_with(nobody).alerts.push(alert.clone());
        }
        let mut alone: Pages =
            parts.values().flat_map(|part| of(part, &part.webhook(REPEAT))).collect();
        alone.sort();
        prop_assert_eq!(of(&scene, &scene.webhook(REPEAT)), alone);
    }

    #[test]
    fn a_storm_adds_no_page(scene in scenes(20)) {
        adds_none(&scene, |noise| noise.storm = off(noise).0)?;
    }

    #[test]
    fn a_limit_adds_no_page(scene in scenes(20)) {
        adds_none(&scene, |noise| noise.limit = off(noise).1)?;
    }

    #[test]
    fn rolling_adds_no_page(scene in scenes(20)) {
        adds_none(&scene, |noise| noise.rolling = Duration::ZERO)?;
    }

    /// One page is exempt. It says that an alert which flapped fires for good. The alert fired for
    /// `confirm` without a break, and the receiver so far knew that it comes and goes.
    #[test]
    fn flap_damping_adds_no_page(scene in scenes(20)) {
        let world = play(scene.policy(), &scene.webhook(REPEAT), scene.end());
        let still = |n: &Notification| matches!(n.cause, Cause::StillFiring { .. });
        let confirms = |n: &&Notification| n.kind == Kind::Page && still(n);
        let with = pages(&world).len() - world.sent.iter().filter(confirms).count();
        let without = count(&scene.with(|noise| noise.flapping.suppress_at = 0));
        prop_assert!(with <= without, "{} pages with it, {} without it", with, without);
    }

    #[test]
    fn a_merge_window_adds_no_page(scene in scenes(20)) {
        adds_none(&scene, |noise| noise.merge_window = Duration::ZERO)?;
    }
}

fn off(noise: &Noise) -> (Storm, Limit) {
    (Storm { start: 0, ..noise.storm }, Limit { pages: 0, ..noise.limit })
}

/// With the mechanism there are no more pages than without it.
fn adds_none(scene: &Scene, without: impl FnOnce(&mut Noise)) -> Result<(), TestCaseError> {
    let (with, without) = (count(scene), count(&scene.with(without)));
    prop_assert!(with <= without, "{} pages with it, {} without it", with, without);
    Ok(())
}
