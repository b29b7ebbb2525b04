//! What must hold of the messages of any scene, by what truly happened alone.

use proptest::prelude::*;

use super::scene::*;
use crate::engine::testing::*;
use crate::model::{AlertId, Kind, Notification, Status};

/// Within so many seconds an alert is told: updates wait for `group_interval`, storms merge for a minute,
/// twice where one follows the other.
fn bound(scene: &Scene, alert: &Alert) -> u64 {
    let minor = alert.labels.value("severity") != "critical";
    let limits = 2 * scene.noise.limit.per.as_millis() + scene.noise.storm.window.as_millis();
    2 * 60 + 2 * 15 + 5 + if minor { limits / 1_000 } else { 0 }
}

fn seconds(n: &Notification) -> u64 {
    n.at.since(START).as_millis() / 1_000
}

fn id(world: &World, alert: &Alert) -> AlertId {
    world.engine.policy().identity(&alert.labels)
}

/// What the pager shows `at` so many seconds after the start.
fn shown(world: &World, at: u64) -> Board {
    let mut shown = Board::default();
    world.sent.iter().take_while(|n| seconds(n) <= at).for_each(|n| shown.read(n));
    shown
}

fn played(scene: &Scene, repeat: u64) -> World {
    play(scene.policy(), &scene.webhook(repeat), scene.end())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn what_fires_is_told_in_time(scene in scenes(20)) {
        let world = played(&scene, 300);
        for alert in &scene.alerts {
            let bound = bound(&scene, alert);
            for &(from, to) in alert.fires.iter().filter(|(from, to)| to - from > bound + 1) {
                if !scene.may_flap(alert, from + bound) {
                    let told = shown(&world, from + bound).fires(id(&world, alert));
                    prop_assert!(told, "{} fires from {from} to {to}", alert.labels);
                }
            }
        }
    }

    #[test]
    fn what_flaps_and_is_down_is_told_in_the_end(scene in scenes(20)) {
        let world = played(&scene, 300);
        let noise = &scene.noise;
        for alert in &scene.alerts {
            let most = bound(&scene, alert) + noise.flapping.confirm.as_millis() / 1_000 + 60;
            for &(from, to) in alert.fires.iter().filter(|(from, to)| to - from > most + 1) {
                let told = shown(&world, from + most).fires(id(&world, alert));
                prop_assert!(told, "{} fires from {from} to {to}", alert.labels);
            }
        }
    }

    #[test]
    fn every_incident_is_closed(scene in scenes(20)) {
        let world = played(&scene, 300);
        prop_assert!(shown(&world, u64::MAX).is_empty());
    }

    /// An alert that started again a moment ago may not be told yet.
    #[test]
    fn no_firing_alert_is_listed_as_resolved(scene in scenes(20)) {
        let world = played(&scene, 300);
        let mut shown = Board::default();
        for n in &world.sent {
            shown.read(n);
            let now = seconds(n);
            for alert in scene.alerts.iter().filter(|_| n.kind != Kind::Digest) {
                let id = id(&world, alert);
                let listed = n.alerts.iter().any(|a| a.id == id && a.status == Status::Resolved);
                let slack = bound(&scene, alert);
                let fires = alert.fires.iter().any(|(from, to)| from + slack < now && now < *to);
                let flaps = scene.may_flap(alert, now);
                prop_assert!(
                    !listed || !fires || flaps || shown.fires(id),
                    "{} fires at {now}, and is listed as resolved", alert.labels
                );
            }
        }
    }

    #[test]
    fn no_alert_is_told_before_it_fires_or_after(scene in scenes(20)) {
        let world = played(&scene, 300);
        for n in world.sent.iter().filter(|n| matches!(n.kind, Kind::Page | Kind::Update)) {
            let now = seconds(n);
            for alert in &scene.alerts {
                let id = id(&world, alert);
                let listed = n.alerts.iter().any(|a| a.id == id && a.status == Status::Firing);
                let fires = alert.fires.iter().any(|(from, to)| *from <= now && now <= *to);
                let flaps = scene.may_flap(alert, now);
                prop_assert!(!listed || fires || flaps, "{} does not fire at {now}", alert.labels);
            }
        }
    }

    /// Alerts of one severity: a higher one is news. What flaps is confirmed by a page.
    #[test]
    fn no_page_names_only_alerts_without_news(scene in scenes(20)) {
        let world = played(&scene, 300);
        let same = |alert: &Alert| alert.labels.value("severity") == scene.alerts[0].labels.value("severity");
        prop_assume!(scene.alerts.iter().all(same));
        for (i, page) in world.sent.iter().enumerate().filter(|(_, n)| n.kind == Kind::Page) {
            let now = seconds(page);
            let told = |alert: &Alert| {
                let id = id(&world, alert);
                let since = alert.fires.iter().map(|f| f.0).rev().find(|from| *from <= now).unwrap_or(0);
                world.sent[..i].iter().any(|n| {
                    matches!(n.kind, Kind::Page | Kind::Update)
                        && seconds(n) >= since
                        && n.alerts.iter().any(|a| a.id == id && a.status == Status::Firing)
                })
            };
            let named = |alert: &&Alert| page.alerts.iter().any(|a| a.id == id(&world, alert));
            let mut named = scene.alerts.iter().filter(named);
            let news = named.any(|alert| !told(alert) || scene.may_flap(alert, now));
            prop_assert!(news, "all of the page at {now} was told before: {}", page.why);
        }
    }
}
