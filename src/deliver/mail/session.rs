//! The commands of one mail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Ehlo, Mail as MailFrom, Quit, Rcpt, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use md5::Md5;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::stream::Stream;
use crate::deliver::wire::chain;
use crate::model::hex;
use crate::receivers::text::{clean_line, cut};
use crate::receivers::{AttemptError, FailureReason, Mail, MailServer};

/// A server that takes longer to say goodbye is left without.
const GOODBYE: Duration = Duration::from_millis(200);

/// A connection that may take a mail.
pub(super) struct Session {
    smtp: AsyncSmtpConnection,
    stream: Stream,
    secure: bool,
    hello: ClientId,
}

/// The result for each recipient.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) accepted: Vec<String>,
    pub(super) refused: Vec<(String, AttemptError)>,
    pub(super) later: Vec<(String, AttemptError)>,
}

impl Session {
    /// Greets the server, with TLS as the configuration says. With `helo` it says HELO.
    pub(super) async fn open(
        tcp: TcpStream,
        server: &MailServer,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        helo: bool,
    ) -> Result<Self, AttemptError> {
        let stream = Stream::new(tcp, helo);
        let tls = |error: std::io::Error| {
            AttemptError::passing(FailureReason::Other, format!("TLS: {}", chain(&error)))
        };
        if server.implicit_tls {
            stream.secure(config.clone(), name.clone()).await.map_err(tls)?;
        }
        let hello = ClientId::Domain(server.hello.clone());
        let smtp = AsyncSmtpConnection::connect_with_transport(Box::new(stream.clone()), &hello).await;
        let smtp = smtp.map_err(|error| failure(&error))?;
        let mut session = Session { smtp, stream, secure: server.implicit_tls, hello };
        if server.require_tls && !session.secure {
            if !session.smtp.server_info().supports_feature(Extension::StartTls) {
                let detail = "the mail server does not offer STARTTLS, and require_tls is true";
                return Err(AttemptError::passing(FailureReason::Other, detail));
            }
            session.smtp.command(Starttls).await.map_err(|error| failure(&error))?;
            session.stream.secure(config, name).await.map_err(tls)?;
            session.secure = true;
        }
        Ok(session)
    }

    /// Logs in by the first mechanism of the server for which there are credentials. A server that offers
    /// none is not asked, as with Alertmanager.
    pub(super) async fn authenticate(
        &mut self,
        server: &MailServer,
        local: bool,
    ) -> Result<(), AttemptError> {
        let Some(auth) = &server.auth else {
            if server.require_tls && !server.implicit_tls {
                // A server forgets everything from before TLS.
                self.features().await?;
            }
            return Ok(());
        };
        let features = self.features().await?;
        let Some(offered) = features.iter().find_map(|line| {
            let mut words = line.split([' ', '=']);
            words.next().filter(|word| word.eq_ignore_ascii_case("AUTH")).map(|_| words)
        }) else {
            return Ok(());
        };
        let offered: Vec<String> = offered.map(str::to_ascii_uppercase).collect();
        for mechanism in &offered {
            let plain = |text: String| STANDARD.encode(text);
            match (mechanism.as_str(), &auth.password, &auth.secret) {
                ("CRAM-MD5", _, Some(secret)) => {
                    let challenge = self.challenge("AUTH CRAM-MD5").await?;
                    let said = plain(format!("{} {}", auth.username, hmac_md5(secret, &challenge)));
                    return self.login(&said).await;
                }
                // A password in the clear is for this machine only, as with Go.
                ("PLAIN", Some(password), _) if self.secure || local => {
                    let said = plain(format!("{}\0{}\0{password}", auth.identity, auth.username));
                    return self.login(&format!("AUTH PLAIN {said}")).await;
                }
                ("LOGIN", Some(password), _) => {
                    self.challenge("AUTH LOGIN").await?;
                    self.challenge(&plain(auth.username.clone())).await?;
                    return self.login(&plain(password.to_string())).await;
                }
                _ => {}
            }
        }
        let detail = format!(
            "the mail server offers AUTH {}, for which there are no credentials or no TLS. Write auth_password for PLAIN and LOGIN, auth_secret for CRAM-MD5",
            cut(clean_line(&offered.join(" ")), 128)
        );
        Err(AttemptError { reason: FailureReason::AuthError, ..AttemptError::ours(detail) })
    }

    /// The extensions that the server offers now.
    async fn features(&mut self) -> Result<Vec<String>, AttemptError> {
        let answer = self.smtp.command(Ehlo::new(self.hello.clone())).await.map_err(|e| failure(&e))?;
        Ok(answer.message().map(str::to_owned).collect())
    }

    async fn challenge(&mut self, command: &str) -> Result<Vec<u8>, AttemptError> {
        let answer = self.smtp.command(format!("{command}\r\n")).await;
        let answer = answer.map_err(|error| login_failure(&error))?;
        let text = answer.first_line().unwrap_or_default().trim();
        Ok(STANDARD.decode(text).unwrap_or_default())
    }

    async fn login(&mut self, said: &str) -> Result<(), AttemptError> {
        let answer = self.smtp.command(format!("{said}\r\n")).await.map_err(|e| login_failure(&e))?;
        match answer.has_code(334) {
            true => Err(AttemptError::ours("the mail server asks for more than a user name and a password")),
            false => Ok(()),
        }
    }

    /// Sends a mail to those of `to` that the server accepts.
    pub(super) async fn send(
        &mut self,
        mail: &Mail,
        to: &[&str],
        under_way: &AtomicBool,
    ) -> Result<Ended, AttemptError> {
        let from = address(&mail.from)
            .ok_or_else(|| AttemptError::refused(FailureReason::ClientError, "from is no address"))?;
        let international = !mail.from.is_ascii() || to.iter().any(|to| !to.is_ascii());
        let parameters = if international { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
        self.smtp.command(MailFrom::new(Some(from), parameters)).await.map_err(|error| failure(&error))?;
        let mut ended = Ended::default();
        for &to in to {
            let Some(recipient) = address(to) else {
                let error = AttemptError::refused(FailureReason::ClientError, "is no address");
                ended.refused.push((to.to_owned(), error));
                continue;
            };
            match self.smtp.command(Rcpt::new(recipient, Vec::new())).await {
                Ok(_) => ended.accepted.push(to.to_owned()),
                Err(error) if error.is_permanent() => ended.refused.push((to.to_owned(), failure(&error))),
                // 421 says that the server closes the connection.
                Err(error) if error.is_transient() && error.status().is_none_or(|c| u16::from(c) != 421) => {
                    ended.later.push((to.to_owned(), failure(&error)));
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        if ended.accepted.is_empty() {
            return Ok(ended);
        }
        self.smtp.command(Data).await.map_err(|error| failure(&error))?;
        under_way.store(true, Ordering::Relaxed);
        self.smtp.message(&mail.message).await.map_err(|error| failure(&error))?;
        Ok(ended)
    }

    /// Says goodbye. The mail has been taken already, so no answer matters.
    pub(super) async fn quit(&mut self) {
        let _ = tokio::time::timeout(GOODBYE, self.smtp.command(Quit)).await;
    }
}

fn address(text: &str) -> Option<Address> {
    text.parse().ok()
}

/// `HMAC(secret, challenge)` in hexadecimal digits (RFC 2195).
fn hmac_md5(secret: &str, challenge: &[u8]) -> String {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(challenge);
    hex(mac.finalize().into_bytes().as_slice())
}

fn login_failure(error: &Error) -> AttemptError {
    AttemptError { reason: FailureReason::AuthError, ..failure(error) }
}

/// The meaning of an error: 4xx passes, 5xx is final, and anything else is the network.
fn failure(error: &Error) -> AttemptError {
    let Some(status) = error.status().map(u16::from) else {
        return AttemptError::passing(FailureReason::Other, chain(error));
    };
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let detail = format!("status {status}: {}", cut(clean_line(&said), 512));
    match status {
        530 | 534 | 535 | 538 => AttemptError::refused(FailureReason::AuthError, detail),
        500.. => AttemptError::refused(FailureReason::ClientError, detail),
        _ => AttemptError::passing(FailureReason::ServerError, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 2195.
    #[test]
    fn a_challenge_is_answered_as_the_rfc_does() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(hmac_md5("tanstaaftanstaaf", challenge), "b913a602c7eda7a495b4e6e7334d3890");
    }
}
