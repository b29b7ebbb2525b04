//! Looks names up.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use super::apart::Apart;

static LOOK_UPS: Apart<String, Result<Arc<[SocketAddr]>, String>> = Apart::new("resolver");

/// The addresses of `host`, with port 0, by the system's resolver. A caller that has no time to wait drops
/// this future.
///
/// # Errors
/// There are none, for the reason given.
pub async fn look_up(host: &str) -> Result<Arc<[SocketAddr]>, String> {
    let name = host.to_owned();
    let work = move || match (name.as_str(), 0).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(error.to_string()),
    };
    LOOK_UPS.ask(&host.to_owned(), work).await.unwrap_or_else(|broke| Err(broke.to_string()))
}
