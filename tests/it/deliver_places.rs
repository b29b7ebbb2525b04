//! A reload gives an integration another position in its receiver, corrects where it leads, or removes it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use squelch::commands::fake_pager::{FakePager, Fault};
use squelch::config::Integration;
use squelch::model::{Kind, Notification, NotificationId, Outcome};

use crate::deliver::{World, notification, pager, webhook};

type Receivers = std::collections::BTreeMap<smol_str::SmolStr, Vec<Integration>>;

/// A receiver with one webhook for each of these paths of the pager, in order.
fn receiver(name: &str, pager: &FakePager, paths: &[&str]) -> Receivers {
    let one = |(index, path): (usize, &&str)| Integration {
        name: format!("webhook[{index}]").into(),
        ..webhook(pager.url(&format!("/webhook/{path}")))
    };
    [(name.into(), paths.iter().enumerate().map(one).collect())].into()
}

/// A notification for the webhook of this path, under the name that it had.
fn to(pager: &FakePager, path: &str, (id, position): (u64, usize), kind: Kind) -> Notification {
    let endpoint = webhook(pager.url(&format!("/webhook/{path}"))).notifier.endpoint();
    let integration = format!("webhook[{position}]");
    let n = notification(1, "r", &integration, kind);
    Notification { id: NotificationId(id), endpoint, ..n }
}

/// The paths that opened an incident, each with whether it is open.
fn shown(pager: &FakePager) -> Vec<(String, bool)> {
    let all = pager.incidents().into_iter();
    let mut all: Vec<_> = all.map(|i| (i.routing_key.to_string(), i.closed_at.is_none())).collect();
    all.sort();
    all
}

fn open(path: &str) -> (String, bool) {
    (format!("webhook/{path}"), true)
}

async fn accepted(world: &mut World, notifications: usize) {
    for _ in 0..notifications {
        assert_eq!(world.report().await.outcome, Outcome::Accepted);
    }
}

/// The pager refuses until the test says otherwise.
async fn down(pager: &FakePager, world: &World, n: Notification) {
    pager.script(Fault { answer: Some(500), next: u32::MAX, ..Fault::default() });
    world.deliverer.send(n, false);
    pager.wait_until(|p| p.requests().total >= 1).await;
}

#[tokio::test]
async fn a_page_that_waits_follows_its_integration_to_another_position() {
    for now in [["c", "a"], ["b", "a"]] {
        let pager = pager().await;
        let mut world = World::new(&receiver("r", &pager, &["a", "b"]));
        down(&pager, &world, to(&pager, "a", (1, 0), Kind::Page)).await;
        world.deliverer.reload(&receiver("r", &pager, &now)).unwrap();
        pager.clear();
        accepted(&mut world, 1).await;
        world.deliverer.send(to(&pager, "a", (2, 1), Kind::Resolve), false);
        accepted(&mut world, 1).await;
        assert_eq!(shown(&pager), [("webhook/a".into(), false)], "{now:?}");
    }
}

#[tokio::test]
async fn a_removed_integration_gets_its_end_where_another_one_has_its_position() {
    let pager = pager().await;
    let mut world = World::new(&receiver("r", &pager, &["a", "b"]));
    world.deliverer.send(to(&pager, "a", (1, 0), Kind::Page), false);
    world.deliverer.send(to(&pager, "b", (2, 1), Kind::Page), false);
    accepted(&mut world, 2).await;
    world.deliverer.reload(&receiver("r", &pager, &["b"])).unwrap();
    world.deliverer.send(to(&pager, "a", (3, 0), Kind::Resolve), false);
    accepted(&mut world, 1).await;
    assert_eq!(shown(&pager), [("webhook/a".into(), false), open("b")]);
    // After a restart only the new configuration is known.
    let mut world = World::new(&receiver("r", &pager, &["b"]));
    world.deliverer.send(to(&pager, "a", (4, 0), Kind::Resolve), false);
    assert!(world.rejection().await.detail.contains("no integration webhook[0]"));
}

#[tokio::test]
async fn a_page_that_waits_goes_where_a_correction_leads() {
    let pager = pager().await;
    let mut world = World::new(&receiver("r", &pager, &["a"]));
    down(&pager, &world, to(&pager, "a", (1, 0), Kind::Page)).await;
    world.deliverer.reload(&receiver("r", &pager, &["right"])).unwrap();
    pager.clear();
    accepted(&mut world, 1).await;
    // The engine decided it before it took the correction over.
    world.deliverer.send(to(&pager, "a", (2, 0), Kind::Update), false);
    accepted(&mut world, 1).await;
    assert_eq!(shown(&pager), [open("right")]);
}

#[tokio::test]
async fn an_integration_is_known_by_where_it_leads_at_another_receiver_too() {
    let pager = pager().await;
    let mut world = World::new(&receiver("renamed", &pager, &["c", "a"]));
    world.deliverer.send(to(&pager, "a", (1, 0), Kind::Page), true);
    accepted(&mut world, 1).await;
    assert_eq!(shown(&pager), [open("a")]);
}
