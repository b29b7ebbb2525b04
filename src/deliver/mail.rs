//! Sends e-mail by SMTP (RFC 5321), with TLS as HTTP has it.
//!
//! lettre speaks the protocol. Connections and TLS are ours, so that the policy for addresses, `server_name`
//! and renewed certificates hold for mail servers too.

mod session;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::DeliverError;
use super::addresses::Blocked;
use super::redact::Redactor;
use super::tls::{Kept, server_name};
use crate::config::{AddressPolicy, TlsConfig};
use crate::outside;
use crate::receivers::{AttemptError, FailureReason, Mail};
use session::{Ended, Session};

/// Mails that some recipients have and others not yet, of which this much is remembered.
const MOST_PARTIAL: usize = 256;

/// Sends the mails of one integration.
pub(super) struct Mailer {
    tls: Kept<Arc<ClientConfig>>,
    server_name: Option<ServerName<'static>>,
    addresses: AddressPolicy,
    /// By the id of a mail, the recipients that need no other attempt.
    settled: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Mailer {
    /// Reads the certificates, or the system's roots, now.
    pub(super) fn new(tls: &TlsConfig, addresses: &AddressPolicy) -> Result<Self, DeliverError> {
        Ok(Mailer {
            tls: Kept::new(tls, |config| Ok(Arc::new(config)))?,
            server_name: server_name(tls)?,
            addresses: addresses.clone(),
            settled: Mutex::default(),
        })
    }

    /// Sends a mail to all its recipients before `until`. A recipient that is refused for good costs the
    /// others nothing, and the log names it.
    ///
    /// # Errors
    /// No recipient is accepted, or one of them must be tried again. It does not get the mail twice from
    /// this process.
    pub(super) async fn send(
        &self,
        mail: &Mail,
        redactor: &Redactor,
        until: Instant,
    ) -> Result<(), AttemptError> {
        let settled = self.locked().get(&mail.id).cloned().unwrap_or_default();
        let to: Vec<&str> = mail.to.iter().map(|to| &**to).filter(|to| !settled.contains(*to)).collect();
        let under_way = AtomicBool::new(false);
        let sent = tokio::time::timeout_at(until, self.session(mail, &to, &under_way, until)).await;
        let ended = sent.unwrap_or_else(|_| {
            Err(AttemptError::passing(
                FailureReason::ContextDeadlineExceeded,
                "the mail server did not answer in time",
            ))
        });
        let ended = ended.map_err(|error| AttemptError {
            // The server may have taken the whole mail, though its answer is lost.
            ambiguous: error.ambiguous || (under_way.load(Ordering::Relaxed) && !answered(&error)),
            detail: redactor.redact(&error.detail).into_owned(),
            ..error
        });
        self.settle(mail, ended?, settled, redactor)
    }

    /// The common result of the answers for all recipients.
    fn settle(
        &self,
        mail: &Mail,
        ended: Ended,
        mut settled: BTreeSet<String>,
        redactor: &Redactor,
    ) -> Result<(), AttemptError> {
        for (to, error) in &ended.refused {
            let detail = redactor.redact(&error.detail);
            tracing::warn!(recipient = %to, %detail, "the mail server refused a recipient");
        }
        let some = !ended.accepted.is_empty() || !settled.is_empty();
        let later = ended.later.into_iter().next();
        if let Some((to, error)) = later {
            settled.extend(ended.accepted);
            settled.extend(ended.refused.into_iter().map(|(to, _)| to));
            let mut all = self.locked();
            if all.len() >= MOST_PARTIAL {
                all.pop_first();
            }
            all.insert(mail.id.clone(), settled);
            let detail = redactor.redact(&format!("{to}: {}", error.detail)).into_owned();
            return Err(AttemptError { ambiguous: some, detail, ..error });
        }
        self.locked().remove(&mail.id);
        match ended.refused.into_iter().next() {
            Some((to, error)) if !some => {
                let detail = redactor.redact(&format!("{to}: {}", error.detail)).into_owned();
                Err(AttemptError { detail, ..error })
            }
            _ => Ok(()),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeSet<String>>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn session(
        &self,
        mail: &Mail,
        to: &[&str],
        under_way: &AtomicBool,
        until: Instant,
    ) -> Result<Ended, AttemptError> {
        let config = self.tls.get(until, |config| Ok(Arc::new(config))).await;
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(mail.server.host.clone())
                .map_err(|_| AttemptError::ours("smarthost is not the name of a host"))?,
        };
        let server = &mail.server;
        let (mut tcp, mut local) = self.connect(&server.host, server.port).await?;
        let mut opened = Session::open(tcp, server, config.clone(), name.clone(), false).await;
        if opened.as_ref().is_err_and(knows_no_ehlo) && !server.needs_ehlo() {
            (tcp, local) = self.connect(&server.host, server.port).await?;
            opened = Session::open(tcp, server, config, name, true).await;
        }
        let mut session = opened?;
        session.authenticate(server, local).await?;
        let ended = session.send(mail, to, under_way).await?;
        session.quit().await;
        Ok(ended)
    }

    /// Connects to the first address of the host that the policy allows and that answers. Says whether that
    /// is this machine.
    async fn connect(&self, host: &str, port: u16) -> Result<(TcpStream, bool), AttemptError> {
        let found: Arc<[SocketAddr]> = match host.parse::<IpAddr>() {
            Ok(address) => [SocketAddr::new(address, 0)].into(),
            Err(_) => outside::look_up(host)
                .await
                .map_err(|error| AttemptError::passing(FailureReason::Other, format!("{host}: {error}")))?,
        };
        let mut failed = AttemptError::passing(FailureReason::Other, format!("{host} has no address"));
        for address in found.iter().map(SocketAddr::ip) {
            if !self.addresses.allows(address) {
                failed = AttemptError::ours(Blocked { host: host.to_owned(), address }.to_string());
                continue;
            }
            match TcpStream::connect((address, port)).await {
                Ok(tcp) => {
                    // Answers are small and asked for one by one. A socket that refuses this is only slower.
                    let _ = tcp.set_nodelay(true);
                    return Ok((tcp, address.is_loopback()));
                }
                Err(error) => {
                    failed =
                        AttemptError::passing(FailureReason::Other, format!("{address}:{port}: {error}"));
                }
            }
        }
        Err(failed)
    }
}

/// Whether an error is the answer of a server that knows HELO alone.
fn knows_no_ehlo(error: &AttemptError) -> bool {
    ["status 500:", "status 502:"].iter().any(|status| error.detail.starts_with(status))
}

/// Whether an error is an answer of the server, which then knows that it did not take the mail.
fn answered(error: &AttemptError) -> bool {
    error.detail.starts_with("status ")
}
