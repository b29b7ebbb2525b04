//! Laws that the messages of any scene must obey, given only the true events.

use proptest::prelude::*;

use super::scene::*;
use crate::engine::testing::*;
use crate::model::{AlertId, Cause, Duration, Kind, Notification, Status};

/// The time in seconds within which a receiver is notified of an alert. Updates wait for `group_interval`,
/// storms merge for a minute, twice where one follows the other.
fn bound(scene: &Scene, alert: &Alert) -> u64 {
    let limits = 2 * scene.noise.limit.per.as_millis() + scene.noise.storm.window.as_millis();
    2 * 60 + 2 * 15 + 5 + if is_minor(alert) { limits / 1_000 } else { 0 }
}

fn is_minor(alert: &Alert) -> bool {
    alert.labels.value("severity") != "critical"
}

fn seconds(n: &Notification) -> u64 {
    n.at.since(START).as_millis() / 1_000
}

fn id(world: &World, alert: &Alert) -> AlertId {
    world.engine.policy().identity(&alert.labels)
}

/// The state of the pager `at` so many seconds after the start.
fn shown(world: &World, at: u64) -> Board {
    let mut shown = Board::default();
    world.sent.iter().take_while(|n| seconds(n) <= at).for_each(|n| shown.read(n));
    shown
}

/// The messages about one incident, in order.
fn about<'a>(world: &'a World, key: &'a str) -> impl Iterator<Item = &'a Notification> {
    world.sent.iter().filter(move |n| n.kind != Kind::Digest && n.dedup_key == key)
}

/// Whether a message says that an alert fires.
fn says_firing(n: &Notification, id: AlertId) -> bool {
    let notified = matches!(n.kind, Kind::Page | Kind::Update);
    notified && n.alerts.iter().any(|a| a.id == id && a.status == Status::Firing)
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
                    let notified = shown(&world, from + bound).fires(id(&world, alert));
                    prop_assert!(notified, "{} fires from {from} to {to}", alert.labels);
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
                let notified = shown(&world, from + most).fires(id(&world, alert));
                prop_assert!(notified, "{} fires from {from} to {to}", alert.labels);
            }
        }
    }

    #[test]
    fn every_incident_is_closed(scene in scenes(20)) {
        let world = played(&scene, 300);
        prop_assert!(shown(&world, u64::MAX).is_empty());
    }

    /// The receiver may not be notified yet of an alert that started again a moment ago.
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

    /// Alerts of one severity, since a higher one is a new problem. A page confirms an alert that flaps.
    #[test]
    fn no_page_names_only_alerts_without_news(scene in scenes(20)) {
        let world = played(&scene, 300);
        let same = |alert: &Alert| alert.labels.value("severity") == scene.alerts[0].labels.value("severity");
        prop_assume!(scene.alerts.iter().all(same));
        for (i, page) in world.sent.iter().enumerate().filter(|(_, n)| n.kind == Kind::Page) {
            let now = seconds(page);
            let notified = |alert: &Alert| {
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
            let news = named.any(|alert| !notified(alert) || scene.may_flap(alert, now));
            prop_assert!(news, "all of the page at {now} was told before: {:?}", page.cause);
        }
    }

    /// An alert that starts pages a person. The exceptions: the page of its incident is recent, it was gone
    /// for a moment, or it is more of the same. A storm or a limit may merge it, if it is not critical.
    #[test]
    fn what_starts_wakes_somebody(scene in scenes(20)) {
        let world = played(&scene, 300);
        let noise = &scene.noise;
        let merges = noise.storm.start > 0 || noise.limit.pages > 0;
        for alert in scene.alerts.iter().filter(|alert| !is_minor(alert) || !merges) {
            let (id, bound) = (id(&world, alert), bound(&scene, alert));
            for (i, &(from, to)) in alert.fires.iter().enumerate() {
                if to - from <= bound + 1 || scene.may_flap(alert, from + bound) {
                    continue;
                }
                let says = |n: &&Notification| seconds(n) >= from && says_firing(n, id);
                let Some(first) = world.sent.iter().find(says) else { continue };
                let at_once = world.sent.iter().filter(|n| n.at == first.at && says_firing(n, id));
                if at_once.clone().any(|n| n.kind == Kind::Page) {
                    continue;
                }
                let earlier = || about(&world, &first.dedup_key).filter(|n| n.id < first.id);
                let page = earlier().find(|n| n.kind == Kind::Page).unwrap();
                let was_in = earlier().any(|n| seconds(n) < from && n.alerts.iter().any(|a| a.id == id));
                let of_its_group = |other: &Alert| {
                    scene.group_by.iter().all(|by| other.labels.value(by) == alert.labels.value(by))
                };
                let kin = |other: &&Alert| other.labels != alert.labels && of_its_group(other);
                let kin: Vec<AlertId> =
                    scene.alerts.iter().filter(kin).map(|other| self::id(&world, other)).collect();
                let listed = |n: &Notification| n.alerts.iter().any(|a| kin.contains(&a.id));
                prop_assert!(
                    was_in || listed(first) || earlier().any(listed),
                    "{} starts at {from} and joins an incident of other groups", alert.labels
                );
                let gone = i.checked_sub(1).map(|before| from - alert.fires[before].1);
                let back = was_in && gone.is_some_and(|gone| gone <= noise.resolve_hold.as_millis() / 1_000);
                let rolls = is_minor(alert) && !was_in && !noise.rolling.is_zero();
                let recent = from <= seconds(page) + noise.merge_window.as_millis() / 1_000;
                prop_assert!(
                    recent || back || rolls,
                    "{} starts at {from}, and is an update of the page at {}", alert.labels, seconds(page)
                );
            }
        }
    }

    /// A critical alert that fires is shown by an incident that was paged as critical.
    #[test]
    fn what_is_critical_was_paged_as_critical(scene in scenes(20)) {
        let world = played(&scene, 300);
        for alert in scene.alerts.iter().filter(|alert| !is_minor(alert)) {
            let (id, bound) = (id(&world, alert), bound(&scene, alert));
            for &(from, _) in alert.fires.iter().filter(|(from, to)| to - from > bound + 1) {
                let by = from + bound;
                if scene.may_flap(alert, by) {
                    continue;
                }
                let paged = world.sent.iter().any(|n| {
                    let shows = || about(&world, &n.dedup_key).filter(|m| seconds(m) <= by).last();
                    n.kind == Kind::Page && n.level.0 == 0 && shows().is_some_and(|m| says_firing(m, id))
                });
                prop_assert!(paged, "{} fires from {from}, and no critical page shows it", alert.labels);
            }
        }
    }

    #[test]
    fn updates_of_an_incident_keep_its_group_interval(scene in scenes(20)) {
        let world = played(&scene, 300);
        let interval = scene.policy().routes[0].group_interval;
        for update in world.sent.iter().filter(|n| n.kind == Kind::Update) {
            let before = about(&world, &update.dedup_key).filter(|n| n.id < update.id).last().unwrap();
            let paced = before.kind == Kind::Page || update.at >= before.at + interval;
            let repeats = matches!(update.cause, Cause::Repeated { .. });
            let cause = brief(&update.cause);
            prop_assert!(paced || repeats, "{} comes {} after {}", cause, update.at, before.at);
        }
    }

    #[test]
    fn what_fires_is_repeated(scene in scenes(20)) {
        let (mut policy, repeat) = (scene.policy(), 20 * 60);
        policy.routes[0].repeat_interval = Duration::from_secs(repeat);
        let world = play(policy, &scene.webhook(300), scene.end());
        for (i, n) in world.sent.iter().enumerate() {
            let now = seconds(n);
            let by = now + repeat + 1;
            let fires_on = |alert: &&Alert| {
                let lasts = alert.fires.iter().any(|(from, to)| *from <= now && by < *to);
                lasts && says_firing(n, id(&world, alert))
            };
            if let Some(alert) = scene.alerts.iter().find(fires_on) {
                let mut later = world.sent[i + 1..].iter().filter(|m| m.dedup_key == n.dedup_key);
                let notified = later.next().is_some_and(|m| seconds(m) <= by);
                prop_assert!(notified, "{} fires on, and nothing says so from {now} on", alert.labels);
            }
        }
    }
}
