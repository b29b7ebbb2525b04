//! How much of anything a client may have.

use std::time::Duration;

/// Bounds of the HTTP surface, and where it hangs.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Path under which everything is served, such as `/squelch`; empty for the root.
    pub route_prefix: String,
    /// `--web.external-url`: by what name browsers may call this server. May be empty.
    pub external_url: String,
    /// Connections open at a time; further ones wait in the kernel's queue. Default 2,000.
    pub connections: usize,
    /// How long a connection may take to send a request's head. hyper counts the wait for the next
    /// request in it, so this is the keep-alive idle time too: above the 15 s of the `group_interval`
    /// that we recommend, so that a busy Alertmanager keeps its connection, and short enough that
    /// silent clients do not hold the connections of others. Default 30 s.
    pub header_timeout: Duration,
    /// How long a body may take to arrive. Default 30 s.
    pub body_timeout: Duration,
    /// Largest body, in bytes. Default 32 MiB.
    pub body_bytes: usize,
    /// Bytes of all bodies that have arrived and are not yet answered; beyond it, 503. Default 256 MiB.
    pub bodies_in_flight_bytes: usize,
    /// How long an answer waits for the node. Less than the 15 s of Alertmanager's `peer_timeout`, after
    /// which the other member of a pair sends the same. Default 10 s.
    pub answer_timeout: Duration,
    /// How long open requests get to end at shutdown. Default 15 s.
    pub shutdown_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            route_prefix: String::new(),
            external_url: String::new(),
            connections: 2_000,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            body_bytes: 32 << 20,
            bodies_in_flight_bytes: 256 << 20,
            answer_timeout: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(15),
        }
    }
}
