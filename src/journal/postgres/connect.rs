//! From the file with the URL to a connection to a server that keeps what it acknowledges.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::{failed, said};
use crate::journal::JournalError;
use crate::outside;
use crate::settings::Secret;

/// How long one server may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long one server may take for a connection with its login, which has several round trips.
pub(super) const LOGIN_PATIENCE: Duration = Duration::from_secs(6);
/// The largest file with certificates.
const MOST_CERTIFICATES: u64 = 1 << 20;
/// The right form of a URL.
const RIGHT: &str = "Write postgres://USER:PASSWORD@HOST:5432/DATABASE, with %XX for special characters";
/// PostgreSQL before it has no function that gives a number at random to each process.
const OLDEST: i32 = 130_000;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where the database is.
pub(super) struct DatabasePlace {
    url: Secret,
    /// The host that the next connection tries first.
    first: AtomicUsize,
}

/// The content of a URL.
#[derive(Debug)]
struct Target {
    config: Config,
    /// `sslmode`. TLS with a check of the certificate, unless it is `disable`.
    tls: Option<bool>,
    /// `sslrootcert`.
    roots: Option<String>,
}

impl DatabasePlace {
    /// The database of this URL. The file is read at each connection, so that a new password counts.
    pub(super) fn new(url: Secret) -> Self {
        DatabasePlace { url, first: AtomicUsize::new(0) }
    }

    /// An error about this place. It never shows the URL, which has the password.
    pub(super) fn unusable(&self, reason: impl Into<String>) -> JournalError {
        JournalError::Unusable { path: "the PostgreSQL of storage.postgres".into(), reason: reason.into() }
    }

    /// Connects to a server of the URL that may be written, and checks its guarantees. It tries the server
    /// of the last connection first, then the ones after it. The connection lives on the caller's runtime.
    pub(super) async fn connect(&self) -> Result<Client, JournalError> {
        let url = self.url.reveal().map_err(|e| self.unusable(e.to_string()))?;
        let target = Target::parse(&url).map_err(|reason| self.unusable(reason))?;
        let hosts = target.config.get_hosts();
        let ports = target.config.get_ports();
        let mut last = self.unusable(format!("the URL names no host. {RIGHT}"));
        let first = self.first.load(Ordering::Relaxed);
        for (index, host) in hosts.iter().enumerate().cycle().skip(first).take(hosts.len()) {
            // A caller that gives up while this server hangs begins with the next one.
            self.first.store(index + 1, Ordering::Relaxed);
            let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
            let one = self.connect_to(&target, host, port);
            match tokio::time::timeout(LOGIN_PATIENCE, one).await {
                Ok(Ok(client)) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(client);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = self.unreachable(host, port, "the login takes longer than 6 s"),
            }
        }
        Err(last)
    }

    fn unreachable(&self, host: &Host, port: u16, why: &str) -> JournalError {
        let name = shown(host, port);
        self.unusable(format!(
            "no connection to {name}: {why}. PostgreSQL must listen there, and this machine must reach it"
        ))
    }

    async fn connect_to(&self, target: &Target, host: &Host, port: u16) -> Result<Client, JournalError> {
        let no = |e: std::io::Error| self.unreachable(host, port, &e.to_string());
        let late = |_| self.unreachable(host, port, "it does not answer within 3 s");
        let stream: Box<dyn Stream> = match host {
            Host::Unix(path) => {
                Box::new(UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).await.map_err(no)?)
            }
            Host::Tcp(name) => {
                let stream = TcpStream::connect((name.as_str(), port));
                let stream =
                    tokio::time::timeout(CONNECT_PATIENCE, stream).await.map_err(late)?.map_err(no)?;
                stream.set_nodelay(true).map_err(no)?;
                match target.tls.unwrap_or(!is_local(name)) {
                    true => self.encrypted(target, name, port, stream).await?,
                    false => Box::new(stream),
                }
            }
        };
        let connected = target.config.connect_raw(stream, NoTls).await;
        let (client, connection) = connected.map_err(|e| self.refused(host, port, &e))?;
        tokio::spawn(async move {
            // Every user of the client learns of its end.
            let _ = connection.await;
        });
        self.examine(&client, host, port).await?;
        Ok(client)
    }

    /// TLS over a fresh connection.
    async fn encrypted(
        &self,
        target: &Target,
        name: &str,
        port: u16,
        mut stream: TcpStream,
    ) -> Result<Box<dyn Stream>, JournalError> {
        let host = Host::Tcp(name.to_owned());
        let no = |e: std::io::Error| self.unreachable(&host, port, &e.to_string());
        // An SSLRequest: its length, and the code 1234.5679.
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.map_err(no)?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await.map_err(no)?;
        if answer != *b"S" {
            let name = shown(&host, port);
            return Err(self.unusable(format!(
                "{name} does not speak TLS. Set ssl = on there, or write sslmode=disable into the URL if the \
                 network between is yours"
            )));
        }
        let config = self.tls(target)?;
        let server = ServerName::try_from(name.to_owned());
        let server =
            server.map_err(|_| self.unusable("the host of the URL is no name that TLS can check"))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(server, stream).await.map_err(|e| {
            let name = shown(&host, port);
            self.unusable(format!(
                "TLS with {name} fails: {e}. Write sslrootcert=FILE into the URL, with the authority that \
                 signed the certificate of the server"
            ))
        })?;
        Ok(Box::new(stream))
    }

    fn tls(&self, target: &Target) -> Result<ClientConfig, JournalError> {
        let wrong = |reason: String| self.unusable(reason);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| wrong(format!("TLS cannot be set up: {e}")))?;
        let Some(file) = &target.roots else {
            let trusting = builder.with_native_roots();
            let trusting =
                trusting.map_err(|e| wrong(format!("this system has no root certificates: {e}")))?;
            return Ok(trusting.with_no_client_auth());
        };
        let text = outside::read(std::path::Path::new(file), MOST_CERTIFICATES);
        let text = text.map_err(|e| wrong(format!("sslrootcert {file} {e}")))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let added = certificate.map_err(|e| e.to_string());
            let added = added.and_then(|certificate| roots.add(certificate).map_err(|e| e.to_string()));
            added.map_err(|e| wrong(format!("sslrootcert {file} holds no certificates in PEM: {e}")))?;
        }
        if roots.is_empty() {
            return Err(wrong(format!("sslrootcert {file} holds no certificate in PEM")));
        }
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }

    fn refused(&self, host: &Host, port: u16, error: &tokio_postgres::Error) -> JournalError {
        let (name, said) = (shown(host, port), said(error));
        let right = match error.code() {
            Some(code) if *code == SqlState::INVALID_PASSWORD => {
                "Write the password of this user into the URL, or change it with ALTER ROLE … PASSWORD"
            }
            Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                "Create the user, and let it in by a line of pg_hba.conf"
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                "Create it with CREATE DATABASE … OWNER …, or name another one in the URL"
            }
            Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => "Squelch tries again",
            Some(_) => "The log of the server says more",
            None if misses_a_password(&said) => RIGHT,
            None => return self.unreachable(host, port, &said),
        };
        self.unusable(format!("{name} refuses the connection: {said}. {right}"))
    }

    /// Refuses a server that may lose acknowledged data: a 200 would be a lie.
    async fn examine(&self, client: &Client, host: &Host, port: u16) -> Result<(), JournalError> {
        let asked =
            "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),
                         current_setting('fsync'), current_setting('full_page_writes'),
                         current_setting('synchronous_commit'), current_setting('transaction_read_only'),
                         current_setting('server_encoding')";
        let row = client.query_typed_one(asked, &[]).await.map_err(failed)?;
        let promises = Promises {
            number: row.get(0),
            version: row.get(1),
            off: [(2, "fsync"), (3, "full_page_writes"), (4, "synchronous_commit")]
                .into_iter()
                .find_map(|(column, setting)| (row.get::<_, &str>(column) == "off").then_some(setting)),
            read_only: row.get::<_, &str>(5) == "on",
            encoding: row.get(6),
        };
        promises.check(&shown(host, port)).map_err(|reason| self.unusable(reason))?;
        // A process that is stopped within a transaction must not keep the lock on the row of the owner.
        let settings = "SET idle_in_transaction_session_timeout = '5s'; SET lock_timeout = '6s'; \
                        SET statement_timeout = 0; SET client_min_messages = warning";
        client.batch_execute(settings).await.map_err(failed)
    }
}

/// The server's description of itself.
struct Promises<'a> {
    number: i32,
    version: &'a str,
    /// A setting without which it may forget.
    off: Option<&'static str>,
    read_only: bool,
    /// The encoding of the database. Any other than UTF8 has no form for some labels. SQL_ASCII keeps bytes
    /// as they are.
    encoding: &'a str,
}

impl Promises<'_> {
    fn check(&self, name: &str) -> Result<(), String> {
        if self.number < OLDEST {
            return Err(format!("{name} is PostgreSQL {}. It must be 13 or newer", self.version));
        }
        if let Some(setting) = self.off {
            let also = match setting {
                "synchronous_commit" => ", also for this user and this database",
                _ => "",
            };
            return Err(format!(
                "{name} has {setting}=off, so that it may lose alerts that it has acknowledged. Set {setting} \
                 = on{also}"
            ));
        }
        if self.read_only {
            return Err(format!(
                "{name} may only be read: it is a standby of PostgreSQL, or the user has \
                 default_transaction_read_only, so name the primary in the URL"
            ));
        }
        if !["UTF8", "SQL_ASCII"].contains(&self.encoding) {
            return Err(format!(
                "the database at {name} has the encoding {}, which cannot hold every label. Create one with \
                 CREATE DATABASE … OWNER … ENCODING 'UTF8' TEMPLATE template0, and name it in the URL",
                self.encoding
            ));
        }
        Ok(())
    }
}

fn misses_a_password(said: &str) -> bool {
    said.contains("password missing")
}

fn shown(host: &Host, port: u16) -> String {
    match host {
        Host::Tcp(name) => format!("{name}:{port}"),
        Host::Unix(path) => format!("{} (port {port})", path.display()),
    }
}

/// Whether a host is this machine, so that no one can listen on the way.
fn is_local(name: &str) -> bool {
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Why this URL of a database is wrong, found without a connection. The reason does not show the URL.
pub fn wrong_url(url: &str) -> Option<String> {
    Target::parse(url).err()
}

impl Target {
    /// Reads a URL. The reason why it is wrong does not show it.
    fn parse(url: &str) -> Result<Target, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(format!("the file does not hold the URL of a PostgreSQL. {RIGHT}"));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut tls, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (key, value) {
                ("sslmode", "disable") => tls = Some(false),
                // Each of them checks the certificate and its name: TLS without that check protects
                // nothing.
                ("sslmode", "require" | "verify-ca" | "verify-full") => tls = Some(true),
                ("sslmode", _) => {
                    return Err("the URL has an unknown sslmode. Write verify-full or disable".into());
                }
                ("sslrootcert", file) => {
                    let decoded = url::form_urlencoded::parse(file.as_bytes()).next();
                    roots = decoded.map(|(file, _)| file.into_owned());
                }
                _ => rest.push(pair),
            }
        }
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: Config = url.parse().map_err(|e| unreadable(&e, base, query))?;
        if config.get_hosts().is_empty() || config.get_user().is_none() || config.get_dbname().is_none() {
            return Err(format!("the URL must name a user, a host and a database. {RIGHT}"));
        }
        config.ssl_mode(SslMode::Disable);
        if config.get_application_name().is_none() {
            config.application_name("squelch");
        }
        Ok(Target { config, tls, roots })
    }
}

/// Why a URL cannot be read. The reason names an option and no value. An `@` behind the `?` may belong to
/// the password, and then the reason is left out.
fn unreadable(error: &tokio_postgres::Error, base: &str, query: &str) -> String {
    let reason = std::error::Error::source(error).filter(|_| base.contains('@') && !query.contains('@'));
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("the URL cannot be read{reason}. {RIGHT}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let target = Target::parse(
            "postgres://me:p%40ss@a.example,b.example:6432/db?sslmode=verify-full&sslrootcert=%2Fca.pem&application_name=x",
        );
        let target = target.unwrap();
        assert_eq!((target.tls, target.roots.as_deref()), (Some(true), Some("/ca.pem")));
        assert_eq!(target.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(target.config.get_hosts().len(), 2);
        assert_eq!(target.config.get_application_name(), Some("x"));
        let odd = Target::parse("postgres://me:hunter?2@db/x").unwrap();
        assert_eq!(odd.config.get_password(), Some(&b"hunter?2"[..]));
        let local = Target::parse("postgresql://me@%2Frun%2Fpostgresql/db").unwrap();
        assert!(matches!(&local.config.get_hosts()[0], Host::Unix(path) if path.ends_with("run/postgresql")));
        assert_eq!(local.tls, None);
        assert!(is_local("127.0.0.1") && is_local("::1") && !is_local("db.example"));
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_not_the_first_one_of_the_next_connection() {
        let listen = async || tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (hangs, other) = (listen().await, listen().await);
        let port = |listener: &tokio::net::TcpListener| listener.local_addr().unwrap().port();
        let url =
            format!("postgres://me@127.0.0.1:{},127.0.0.1:{}/db?sslmode=disable", port(&hangs), port(&other));
        let place = DatabasePlace::new(Secret::Inline(url.as_str().into()));
        for server in [hangs, other] {
            // It accepts, and says nothing until the caller gives up.
            let accepted = async {
                tokio::select! {
                    _ = place.connect() => unreachable!("nobody answered"),
                    accepted = server.accept() => accepted.unwrap(),
                }
            };
            tokio::time::timeout(Duration::from_secs(5), accepted).await.expect("this server's turn");
        }
    }

    #[test]
    fn a_server_that_is_too_old_is_refused() {
        let says = |number, version| {
            Promises { number, version, off: None, read_only: false, encoding: "UTF8" }.check("db:1")
        };
        assert_eq!(says(130_000, "13.0"), Ok(()));
        let said = says(120_022, "12.22").unwrap_err();
        assert_eq!(said, "db:1 is PostgreSQL 12.22. It must be 13 or newer");
    }

    #[test]
    fn an_option_that_is_wrong_is_named() {
        for (wrong, named) in [
            ("postgres://me:hunter2@db/x?schmode=foo", "unknown option `schmode`"),
            ("postgres://me:hunter2@db:99999999/x", "invalid value for option `port`"),
        ] {
            let said = Target::parse(wrong).unwrap_err();
            assert!(said.contains(named) && !said.contains("hunter"), "{said}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_it() {
        for wrong in [
            "mysql://me:hunter2@db/x",
            "hunter2",
            "postgres://me:hunter2@db",
            "postgres://db/x",
            "postgres://me:hunter2@db/x?sslmode=prefer",
            "postgres://me:hunter/2hunter2@db?x",
            "postgres://me:hunter2@db:99999999/x",
        ] {
            let said = Target::parse(wrong).unwrap_err();
            assert!(said.contains("Write ") && !said.contains("hunter"), "{said}");
        }
    }
}
