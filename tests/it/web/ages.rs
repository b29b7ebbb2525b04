//! Ages and countdowns on the pages and in API v1.

use super::*;

/// The engine's own time stands still while nothing happens. Here it is 15 minutes behind.
#[tokio::test]
async fn ages_and_countdowns_go_on_while_the_engine_stands_still() {
    use squelch::engine::{Effects, Engine, Event};
    use squelch::model::{LabelSet, Observation, Status};
    let policy = squelch::config::Config::default().policy;
    let mut engine = Engine::new(policy);
    let then = Timestamp::parse("2026-11-23T00:00:00Z").unwrap();
    let observation = Observation::new(
        Status::Firing,
        LabelSet::from_pairs([("alertname", "Down"), ("severity", "critical")]),
        then,
        None,
    );
    let batch = Batch::new(Source::Alertmanager, "a", vec![observation]);
    engine.handle(then, &Event::Observe(batch), &mut Effects::default());
    let running = start_with(ServerLimits::default(), engine).await;
    let page = running.get("/").await;
    let age = |page: &str| {
        let cell = page.split_once("data-label=\"Age\">").unwrap_or_else(|| panic!("{page}")).1;
        let inner = cell.split_once('>').unwrap().1;
        inner.split_once('<').unwrap().0.to_owned()
    };
    assert_eq!(age(&page.body), "15m");
    let now = Timestamp::parse("2026-11-23T00:15:00Z").unwrap();
    assert!(page.body.contains(&format!("data-now=\"{}\"", now.as_millis())), "{}", page.body);
    assert!(page.body.contains("as of <time"), "a page that is not refreshed says when it was made");
    let listed = running.get("/api/v1/incidents").await.json();
    assert_eq!(listed["now"], "2026-11-23T00:15:00Z");
    let key = listed["incidents"][0]["dedupKey"].as_str().unwrap().to_owned();
    let incident = running.get(&format!("/incident?key={key}")).await.body;
    assert!(incident.contains(">15m<"), "{incident}");
    assert_eq!(running.get("/api/v1/alerts").await.json()["now"], "2026-11-23T00:15:00Z");
    let dry = running.get("/routing?labels=alertname%3DDown%2Cseverity%3Dcritical").await.body;
    let starting = dry.split_once(", starting ").unwrap().1;
    assert!(starting[..200].contains("2026-11-23T00:15:00Z"), "{}", &starting[..200]);
}
