//! Looks a name up once, and lets through only addresses that the policy allows. Squelch connects to the
//! checked address, even if the name changes a moment later.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::config::AddressPolicy;
use crate::outside;

/// The system's resolver behind a policy.
#[derive(Clone)]
pub(super) struct Checked {
    policy: Arc<AddressPolicy>,
}

/// An address that may not be connected to.
#[derive(Debug, thiserror::Error)]
#[error("{host} is {address}, to which no connection is allowed. See allow_addresses and deny_addresses")]
pub(super) struct Blocked {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

impl Checked {
    pub(super) fn new(policy: AddressPolicy) -> Self {
        Checked { policy: Arc::new(policy) }
    }
}

impl Service<Name> for Checked {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            let all = outside::look_up(name.as_str()).await?;
            let allowed: Vec<SocketAddr> =
                all.iter().filter(|address| policy.allows(address.ip())).copied().collect();
            match (allowed.is_empty(), all.first()) {
                (true, Some(blocked)) => {
                    Err(Blocked { host: name.as_str().to_owned(), address: blocked.ip() }.into())
                }
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}
