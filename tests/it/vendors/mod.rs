//! Receivers against fakes of their vendors, which have the documented limits, states and error bodies.

mod incidentio;
mod jira;
mod opsgenie;
mod pagerduty;
mod pushover;
mod sns;
mod victorops;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use squelch::config;
use squelch::model::{Kind, Notification, NotificationId, Outcome, Report};

use crate::conformance::sink::{Answered, Request, Sink};
use crate::deliver::{Receivers, World, notification};

/// A vendor: its state, and answers that a test gives in its place.
pub struct Fake<S> {
    pub sink: Sink,
    state: Arc<Mutex<S>>,
    next: Arc<Mutex<VecDeque<Answered>>>,
}

impl<S: Default + Send + 'static> Fake<S> {
    /// A vendor that answers with `answer`.
    pub async fn start(answer: fn(&mut S, &Request) -> Answered) -> Fake<S> {
        let (state, next) = (Arc::<Mutex<S>>::default(), Arc::<Mutex<VecDeque<Answered>>>::default());
        let (known, scripted) = (state.clone(), next.clone());
        let sink = Sink::start(move |request| {
            let scripted = scripted.lock().unwrap().pop_front();
            scripted.unwrap_or_else(|| answer(&mut known.lock().unwrap(), request))
        });
        Fake { sink: sink.await, state, next }
    }

    /// The vendor's state.
    pub fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap()
    }

    /// Answers the next request so.
    pub fn answer(&self, answered: Answered) {
        self.next.lock().unwrap().push_back(answered);
    }
}

/// The receiver `r` of a configuration with these integrations.
pub fn receiver(integrations: &str) -> Receivers {
    let text = format!("route: {{receiver: r}}\nreceivers:\n- name: r\n  {integrations}\n");
    let parsed = config::parse(&text, "squelch.yml", Path::new("/etc/squelch"));
    parsed.unwrap_or_else(|error| panic!("{error}")).receivers
}

/// The errors of these integrations.
pub fn refused(integrations: &str) -> String {
    let text = format!("route: {{receiver: r}}\nreceivers:\n- name: r\n  {integrations}\n");
    let parsed = config::parse(&text, "squelch.yml", Path::new("/etc/squelch"));
    parsed.expect_err("should be refused").to_string()
}

/// A notification of one incident.
pub fn of_incident(integration: &str, id: u64, kind: Kind) -> Notification {
    let n = notification(1, "r", integration, kind);
    Notification { id: NotificationId(id), ..n }
}

/// Sends a page, an update and a resolve of one incident. All are accepted.
pub async fn lifecycle(world: &mut World, integration: &str) {
    for (id, kind) in [(1, Kind::Page), (2, Kind::Update), (3, Kind::Resolve)] {
        world.deliverer.send(of_incident(integration, id, kind), false);
        assert_eq!(world.report().await.outcome, Outcome::Accepted, "{kind:?}");
    }
}

/// Sends one page and gives its end.
pub async fn page(world: &mut World, integration: &str, id: u64) -> Report {
    world.deliverer.send(of_incident(integration, id, Kind::Page), false);
    world.report().await
}
