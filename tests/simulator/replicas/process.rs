//! One process of a replica: the state that dies with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use squelch::config::{self, Config};
use squelch::model::Notification;
use squelch::node::clock::Reading;
use squelch::node::metrics::NodeMeter;
use squelch::node::{Core, EngineClock, Outbox, Parts, Published, Queue, QueueBounds};
use squelch::web::Unavailable;
use tokio::sync::oneshot;

use super::database::Database;
use super::delivery::Worker;
use super::source::{Lease, Link, Source};
use super::world::World;
use crate::plan::Millis;
use crate::upstream::EPOCH;

/// PagerDuty's routing key.
const KEY: &str = "0123456789abcdef0123456789abcdef";

type Tray = Arc<Mutex<Vec<(Notification, bool)>>>;

/// The tray in which the engine's thread puts notifications to send.
struct Sending(Tray, Link);

impl Outbox for Sending {
    fn send(&self, n: Notification, possible_repeat: bool) {
        let epoch = self.1.lease().epoch;
        self.1.database.state().leaves(n.id, epoch);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((n, possible_repeat));
    }
}

/// A request of a sender that waits for its answer.
pub struct Asked {
    pub stream: usize,
    pub number: u64,
    pub lost: bool,
    pub answer: oneshot::Receiver<Result<(), Unavailable>>,
}

pub struct Process {
    /// Taken while it is stepped.
    pub core: Option<Core>,
    pub queue: Queue,
    pub clock: Arc<EngineClock>,
    pub published: Arc<Published>,
    tray: Tray,
    pub link: Link,
    pub worker: Worker,
    pub asked: BTreeMap<u64, Asked>,
    /// When its engine's thread wakes.
    pub due: Millis,
    /// SIGTERM came. It stays down for so long.
    pub ending: Option<Millis>,
}

impl Process {
    /// A process, and the parts with which its `Core` starts.
    pub fn new(
        database: &Database,
        world: Weak<Mutex<World>>,
        (replica, number): (usize, u64),
        (skew, policy): (i64, usize),
    ) -> (Process, Parts) {
        let lease = Arc::new(Mutex::new(Lease { process: number, ..Lease::default() }));
        let link = Link { database: database.clone(), lease, replica, world };
        let time = database.clone();
        let clock = Arc::new(EngineClock::driven_by(move || {
            // The time of the database is true time.
            let boot = i64::try_from(time.state().now).unwrap_or(0);
            let nanos = |millis: i64| i128::from(millis) * 1_000_000;
            Reading { boot: nanos(boot), wall: nanos(EPOCH + boot + skew) }
        }));
        let queue = Queue::new(QueueBounds::default());
        let meter = NodeMeter::register(&prometheus::Registry::new(), &[], &[]);
        let published = Arc::new(Published::new(meter.unwrap_or_else(|e| panic!("{e}"))));
        let tray = Tray::default();
        let parts = Parts {
            source: Box::new(Source(link.clone())),
            queue: queue.clone(),
            clock: clock.clone(),
            outbox: Box::new(Sending(tray.clone(), link.clone())),
            published: published.clone(),
            policy: configuration(policy).policy.clone(),
        };
        let process = Process {
            core: None,
            queue,
            clock,
            worker: Worker::new(published.recalls.clone()),
            published,
            tray,
            link,
            asked: BTreeMap::new(),
            due: 0,
            ending: None,
        };
        (process, parts)
    }

    /// The notifications that the engine's thread released.
    pub fn let_out(&self) -> Vec<(Notification, bool)> {
        std::mem::take(&mut *self.tray.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Pages leave at once, and so do resolves, or after a moment. Each alert is a group of its own.
pub fn configuration(number: usize) -> &'static Config {
    static ALL: OnceLock<Vec<Config>> = OnceLock::new();
    let read = |resolve_hold: &&str| {
        let text = format!(
            "global: {{stale_after: 12m, failopen_after: 0s}}
self_check: {{enabled: false}}
noise:
  default:
    {{storm: {{start: 0}}, limit: {{pages: 0, per: 10m}}, flapping: {{suppress_at: 0}}, digest: 0s, wait: 0s,
      merge_window: 0s, resolve_hold: {resolve_hold}}}
route: {{receiver: oncall, group_by: [instance], repeat_interval: 30m}}
receivers: [{{name: oncall, pagerduty_configs: [{{routing_key: {KEY}}}]}}]
"
        );
        config::parse(&text, "simulated.yml", Path::new("")).unwrap_or_else(|e| panic!("{e}"))
    };
    &ALL.get_or_init(|| ["0s", "5s"].iter().map(read).collect())[number]
}
