//! Limits on a client's share of each resource.

use std::time::Duration;

/// A body up to this many bytes is a small one: most requests of Alertmanager are.
pub(super) const SMALL_BODY: usize = 64 << 10;
/// The most bytes of a request's head. A head is read before its sender is known.
pub(super) const HEAD_BYTES: usize = 32 << 10;

/// Bounds of the HTTP surface, and where it hangs.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Path under which everything is served, such as `/squelch`. Empty for the root.
    pub route_prefix: String,
    /// `--web.external-url`: the name by which browsers may call this server. It may be empty.
    pub external_url: String,
    /// Names of this machine by which browsers may call this server too.
    pub own_names: Vec<String>,
    /// Connections open at a time, over all listeners. Further ones wait in the kernel's queue. Default
    /// 2,000.
    pub connections: usize,
    /// The time within which a connection must send the head of a request. It includes the wait for the
    /// next request, as hyper counts it: this is the keep-alive idle time too. It is above the 15 s of the
    /// recommended `group_interval`, so that a busy Alertmanager keeps its connection. It is short enough
    /// that silent clients do not hold the connections of others. Default 30 s.
    pub header_timeout: Duration,
    /// How long a body may take to arrive. Default 30 s.
    pub body_timeout: Duration,
    /// Largest body, in bytes. Default 32 MiB.
    pub body_bytes: usize,
    /// Bytes of all bodies larger than `SMALL_BODY` (64 KiB) that are arriving or not yet answered. Default
    /// 256 MiB.
    pub bodies_in_flight_bytes: usize,
    /// The same for bodies up to `SMALL_BODY` (64 KiB), which large ones cannot take. Default 32 MiB.
    pub small_bodies_in_flight_bytes: usize,
    /// Bytes of all answers that clients have not read yet, small ones aside. Default 64 MiB.
    pub unread_answers_bytes: usize,
    /// How long a client may take nothing of its answer before its connection ends. Default 10 s.
    pub unread_timeout: Duration,
    /// How long an answer waits for the node. Less than the 15 s of Alertmanager's `peer_timeout`, after
    /// which the other member of a pair sends the same. Default 10 s.
    pub answer_timeout: Duration,
    /// How long open requests get to end at shutdown. Default 15 s.
    pub shutdown_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        ServerLimits {
            route_prefix: String::new(),
            external_url: String::new(),
            own_names: Vec::new(),
            connections: 2_000,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            body_bytes: 32 << 20,
            bodies_in_flight_bytes: 256 << 20,
            small_bodies_in_flight_bytes: 32 << 20,
            unread_answers_bytes: 64 << 20,
            unread_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(15),
        }
    }
}
