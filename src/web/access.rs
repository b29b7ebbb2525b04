//! Authentication: the identity of a caller, and its role.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use subtle::ConstantTimeEq;

use super::crowd::Seat;
use super::passwords::{Passwords, Tried};
use super::tls;
use crate::config::{AccessRules, Credential, Role, SecretError, WebConfig};
use crate::model::{Timestamp, hex};

/// The roles of callers, with TLS and headers: a reload exchanges all of it at once. Secrets are kept as
/// digests.
pub struct Access {
    tls: Option<tls::Served>,
    sans: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    passwords: Passwords,
    sources: Vec<Known>,
    users: Vec<Known>,
}

/// A sender or user that the configuration knows.
struct Known {
    name: SmolStr,
    role: Role,
    proofs: Vec<Proof>,
}

/// The proof of an identity.
enum Proof {
    Bearer([u8; 32]),
    Basic([u8; 32]),
    San(String),
}

/// Why access cannot be ruled as configured.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A secret cannot be read, or cannot be one.
    #[error("{what} {name:?}: {source}")]
    Secret {
        /// `source` or `user`.
        what: &'static str,
        /// Whose.
        name: SmolStr,
        /// The error of the system.
        source: SecretError,
    },
    /// A user who can never log in.
    #[error(
        "user {0:?} has no credential. Write one, or put the user into basic_auth_users of --web.config.file"
    )]
    NoCredential(SmolStr),
    /// A certificate or key cannot be used.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        reason: String,
    },
    /// TLS cannot be set up at all.
    #[error("tls_server_config: {0}")]
    Tls(String),
}

/// The part of the surface that a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// Everybody: `/-/healthy` and `/-/ready`.
    Open,
    /// Alerts in.
    Ingest,
    /// Users with this role.
    Of(Role),
}

impl Area {
    /// Every value of the label `area`.
    pub const GUARDED: [Area; 4] =
        [Area::Ingest, Area::Of(Role::Read), Area::Of(Role::Silence), Area::Of(Role::Admin)];

    /// The value of the label `area`.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Open => "open",
            Area::Ingest => "ingest",
            Area::Of(role) => role.as_str(),
        }
    }
}

/// The credentials in a request.
pub(super) struct Shown<'a> {
    pub(super) headers: &'a HeaderMap,
    /// The certificate that was verified in the handshake.
    pub(super) certificate: Option<&'a CertificateDer<'static>>,
    /// The address.
    pub(super) peer: IpAddr,
    /// Its connection.
    pub(super) seat: Option<&'a Seat>,
}

/// A recognised caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Caller {
    pub(super) name: SmolStr,
    pub(super) role: Role,
}

/// The caller cannot be known before other logins are checked.
struct TooManyLogins;

/// Whether a request may go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may enter. The area needs no credentials.
    Anyone,
    /// It may.
    Known(Caller),
    /// The credentials are unknown.
    Unknown,
    /// Known, and not allowed this.
    NotAllowed(Caller),
    /// Too many logins wait for their check. The same request may succeed later.
    Busy,
}

impl Access {
    /// No authentication, plain HTTP: as without any configuration.
    pub fn open() -> Self {
        Access {
            tls: None,
            sans: Vec::new(),
            headers: Vec::new(),
            passwords: Passwords::new(&Default::default()),
            sources: Vec::new(),
            users: Vec::new(),
        }
    }

    /// As both files say. It reads the files of secrets, keys and certificates now.
    ///
    /// # Errors
    /// One of them cannot be read or used, or a user has no way to log in.
    pub fn new(rules: &AccessRules, web: &WebConfig) -> Result<Self, AccessError> {
        let passwords = Passwords::new(&web.users);
        let mut sources = Vec::new();
        for source in &rules.sources {
            let proofs = proofs("source", &source.name, &source.credentials)?;
            // A source may only send alerts. `users` decides about everything else.
            sources.push(Known { name: source.name.clone(), role: Role::Read, proofs });
        }
        let mut users = Vec::new();
        for user in &rules.users {
            let proofs = proofs("user", &user.name, &user.credentials)?;
            if proofs.is_empty() && !passwords.has(&user.name) {
                return Err(AccessError::NoCredential(user.name.clone()));
            }
            users.push(Known { name: user.name.clone(), role: user.role, proofs });
        }
        let mut headers = Vec::new();
        for (name, value) in &web.headers {
            // Both were checked when the file was read.
            if let (Ok(name), Ok(value)) = (name.parse(), value.parse()) {
                headers.push((name, value));
            }
        }
        let tls = web.tls.as_ref();
        Ok(Access {
            tls: tls.map(tls::server_config).transpose()?,
            sans: tls.map(|tls| tls.client_allowed_sans.clone()).unwrap_or_default(),
            headers,
            passwords,
            sources,
            users,
        })
    }

    /// SHA-256 of the server's certificate, in hexadecimal digits. `None` = plain HTTP.
    pub fn certificate_pin(&self) -> Option<String> {
        self.tls.as_ref().map(|served| hex(&served.pin))
    }

    /// Why clients refuse the server's certificate at `now`, if it has expired or is not valid yet.
    pub fn certificate_out_of_date(&self, now: Timestamp) -> Option<String> {
        self.tls.as_ref().and_then(|served| tls::out_of_date(&served.chain, now))
    }

    /// The TLS configuration of new connections. `None` = plain HTTP.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|served| Arc::clone(&served.config))
    }

    /// Whether a client's certificate has a name that is allowed.
    pub(super) fn takes_certificate(&self, certificate: &CertificateDer<'_>) -> bool {
        self.sans.is_empty() || self.sans.iter().any(|san| tls::is_for(certificate, san))
    }

    /// `http_server_config.headers`
    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether senders of alerts need credentials.
    pub fn guards_ingest(&self) -> bool {
        !self.sources.is_empty() || self.guards_people()
    }

    /// Whether people who look, silence or administer need credentials.
    pub fn guards_people(&self) -> bool {
        !self.users.is_empty() || !self.passwords.is_empty()
    }

    /// Whether the request may enter `area`.
    ///
    /// Alerts come from a source. Without sources, they come from users with the role `admin`. Everything
    /// else is for users. An attacker who has the credentials of a source cannot silence the alerts about
    /// it.
    pub(super) async fn judge(&self, area: Area, shown: &Shown<'_>) -> Admission {
        let role = match area {
            Area::Open => return Admission::Anyone,
            Area::Ingest if !self.guards_ingest() => return Admission::Anyone,
            Area::Ingest if !self.sources.is_empty() => {
                return self.find(&self.sources, shown).map_or(Admission::Unknown, Admission::Known);
            }
            Area::Of(_) if !self.guards_people() => return Admission::Anyone,
            Area::Ingest => Role::Admin,
            Area::Of(role) => role,
        };
        match self.user(shown).await {
            Ok(Some(caller)) if caller.role >= role => Admission::Known(caller),
            Ok(Some(caller)) => Admission::NotAllowed(caller),
            Ok(None) => Admission::Unknown,
            Err(TooManyLogins) => Admission::Busy,
        }
    }

    /// Whether a source of alerts sent the request.
    pub(super) fn is_source(&self, shown: &Shown<'_>) -> bool {
        self.find(&self.sources, shown).is_some()
    }

    async fn user(&self, shown: &Shown<'_>) -> Result<Option<Caller>, TooManyLogins> {
        if let Some(caller) = self.find(&self.users, shown) {
            return Ok(Some(caller));
        }
        let basic = match self.passwords.is_empty() {
            true => None,
            false => credentials(shown.headers, "basic"),
        };
        let Some((name, password)) = basic.as_ref().and_then(|basic| {
            let at = basic.iter().position(|b| *b == b':')?;
            Some((String::from_utf8_lossy(&basic[..at]).into_owned(), &basic[at + 1..]))
        }) else {
            return Ok(None);
        };
        // Until the caller is known, the connection is the first to make room for others.
        let suspect = || {
            if let Some(seat) = shown.seat {
                seat.is_suspect();
            }
        };
        match self.passwords.verify(&name, password, shown.peer, suspect).await {
            Tried::Right => {}
            Tried::Wrong => return Ok(None),
            Tried::Busy => return Err(TooManyLogins),
        }
        let role = match self.users.iter().find(|user| user.proofs.is_empty() && user.name == name) {
            Some(user) => user.role,
            // As everywhere that exporter-toolkit guards, a user with access may do everything.
            None if self.users.is_empty() => Role::Admin,
            None => Role::Read,
        };
        Ok(Some(Caller { name: name.into(), role }))
    }

    /// The entry of `known` whose credentials the request carries. All are compared, so that the time does
    /// not show how near a guess came.
    fn find(&self, known: &[Known], shown: &Shown<'_>) -> Option<Caller> {
        // Opsgenie's clients show their token as a GenieKey.
        let bearer = credentials(shown.headers, "bearer").or_else(|| credentials(shown.headers, "geniekey"));
        let bearer = bearer.map(|token| digest(&token));
        let basic = credentials(shown.headers, "basic").map(|pair| digest(&pair));
        let same = |a: &[u8; 32], b: &Option<[u8; 32]>| b.as_ref().is_some_and(|b| a.ct_eq(b).into());
        let mut found = None;
        for one in known {
            let shows = one.proofs.iter().fold(false, |found, proof| {
                found
                    | match proof {
                        Proof::Bearer(digest) => same(digest, &bearer),
                        Proof::Basic(digest) => same(digest, &basic),
                        Proof::San(san) => shown.certificate.is_some_and(|cert| tls::is_for(cert, san)),
                    }
            });
            if shows && found.is_none() {
                found = Some(Caller { name: one.name.clone(), role: one.role });
            }
        }
        found
    }
}

fn proofs(what: &'static str, name: &SmolStr, all: &[Credential]) -> Result<Vec<Proof>, AccessError> {
    let reveal = |secret: &crate::config::Secret| {
        // The content of a file is checked as it is read. Everybody would know an empty secret.
        secret.reveal().map_err(|source| AccessError::Secret { what, name: name.clone(), source })
    };
    let mut proofs = Vec::new();
    for credential in all {
        proofs.push(match credential {
            Credential::Bearer(token) => Proof::Bearer(digest(reveal(token)?.as_bytes())),
            Credential::Basic { username, password } => {
                Proof::Basic(digest(format!("{username}:{}", reveal(password)?).as_bytes()))
            }
            Credential::ClientSan(san) => Proof::San(san.clone()),
        });
    }
    Ok(proofs)
}

/// Compared in place of the secret. Digests have one length, so the secret's length does not show.
fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The text of `Authorization` behind this scheme, decoded for `basic`. Several such headers count as none.
fn credentials(headers: &HeaderMap, scheme: &str) -> Option<Vec<u8>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (only, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
    let (found, rest) = only.split_once(' ')?;
    if !found.eq_ignore_ascii_case(scheme) {
        return None;
    }
    match scheme {
        "basic" => STANDARD.decode(rest.trim()).ok(),
        _ => Some(rest.trim().as_bytes().to_vec()),
    }
}
