//! Loads the configuration and all that it names, at the start and at each reload.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Mutex, oneshot};

use super::clock::wall;
use super::memory;
use super::published::Published;
use super::queue::{Command, Queue};
use super::recover::RecoverError;
use crate::causes;
use crate::config::{self, Config, OnCall, Policy, ReportSchedule, Storage};
use crate::deliver::{self, Deliverer, Prepared};
use crate::ingest::NamedLabels;
use crate::journal::Postgres;
use crate::model::{Duration, OrphanedIncident, hex, sha256};
use crate::outside;
use crate::settings::Secret;
use crate::web::{self, Access, Callback, Labelling};

/// A reload fails when its files have not been read by then.
const RELOAD_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Why a node could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::ConfigErrors),
    /// A certificate, or a secret of a source or user, cannot be used.
    #[error(transparent)]
    Access(#[from] web::AccessError),
    /// A receiver cannot be set up.
    #[error(transparent)]
    Deliver(#[from] deliver::DeliverError),
    /// The storage cannot be used or understood.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}. Give a free address in --web.listen-address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Two metrics of one name.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The system refuses a thread or a signal handler.
    #[error("the system refuses {what}: {source}")]
    System {
        /// The request that failed.
        what: &'static str,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Another process has taken over the storage.
    #[error(
        "{0}. This process has ended so that it pages nobody twice. Start it again, and it waits as a standby"
    )]
    Fenced(String),
    /// The engine's thread ended by itself.
    #[error("the engine's thread ended unexpectedly. The journal has everything that it accepted")]
    EngineEnded,
}

/// The parts of the configuration in force that requests go by.
pub(super) struct InForce {
    /// Milliseconds.
    resolve_timeout: AtomicU64,
    pub(super) named_labels: ArcSwap<NamedLabels>,
    pub(super) access: ArcSwap<Access>,
    /// The secrets with which acknowledgements are checked.
    pub(super) callbacks: ArcSwap<Vec<Callback>>,
    /// The description of receivers and routes for API v2.
    pub(super) labelling: ArcSwap<Labelling>,
    /// When shifts begin.
    pub(super) on_call: ArcSwap<OnCall>,
    /// The report that is due again and again.
    pub(super) report: ArcSwapOption<ReportSchedule>,
    /// The policy in force.
    pub(super) policy: ArcSwap<Policy>,
}

impl InForce {
    pub(super) fn new(config: &Config, access: Access) -> InForce {
        let policy = &config.policy;
        InForce {
            callbacks: ArcSwap::from_pointee(Callback::all(&config.receivers)),
            labelling: ArcSwap::from_pointee(Labelling::new(config)),
            on_call: ArcSwap::from_pointee(config.on_call.clone()),
            report: ArcSwapOption::from(config.report.clone().map(Arc::new)),
            policy: ArcSwap::from_pointee(policy.clone()),
            resolve_timeout: AtomicU64::new(policy.resolve_timeout.as_millis()),
            named_labels: ArcSwap::from_pointee(NamedLabels::of(policy)),
            access: ArcSwap::from_pointee(access),
        }
    }

    pub(super) fn resolve_timeout(&self) -> Duration {
        Duration::from_millis(self.resolve_timeout.load(Ordering::Relaxed))
    }

    fn take(&self, fresh: &InForce) {
        self.resolve_timeout.store(fresh.resolve_timeout.load(Ordering::Relaxed), Ordering::Relaxed);
        self.named_labels.store(fresh.named_labels.load_full());
        self.access.store(fresh.access.load_full());
        self.callbacks.store(fresh.callbacks.load_full());
        self.labelling.store(fresh.labelling.load_full());
        self.on_call.store(fresh.on_call.load_full());
        self.report.store(fresh.report.load_full());
        self.policy.store(fresh.policy.load_full());
    }
}

/// The state that a reload needs. One reload runs at a time.
pub(super) struct Reload {
    pub(super) file: PathBuf,
    pub(super) web_file: Option<PathBuf>,
    pub(super) deliverer: Arc<Deliverer>,
    /// The receivers in force, to go back to.
    pub(super) receivers: Mutex<Prepared>,
    /// The text in force, its secrets masked.
    pub(super) masked: ArcSwap<Arc<str>>,
    pub(super) keep: Arc<ArcSwap<Storage>>,
    /// Where the journal is, if it is in a database.
    pub(super) database: Option<Secret>,
    /// The database, if the journal is in one.
    pub(super) postgres: Option<Arc<Postgres>>,
}

impl Reload {
    /// Loads the file and puts it in force. The deliverer comes first, since the engine may send to a new
    /// receiver as soon as it knows it. If the engine could not be told, the deliverer goes back.
    pub(super) async fn run(
        &self,
        queue: &Queue,
        published: &Published,
        in_force: &InForce,
    ) -> Result<String, String> {
        let mut receivers = self.receivers.lock().await;
        let (mut config, new_access, prepared) = self.load().await?;
        if file_of(database(&config).as_ref()) != file_of(self.database.as_ref()) {
            return Err("storage.postgres changes with a restart only: restart, or put it back".into());
        }
        let budget = memory::fit(&mut config);
        self.deliverer.adopt(&prepared);
        let pin = new_access.certificate_pin();
        let fresh = InForce::new(&config, new_access);
        let hash = hash_of(&config);
        let policy = Box::new(config.policy);
        let orphans = match queue.ask(|done| Command::Policy(policy, done)).await.and_then(|told| told) {
            Ok(orphans) => orphans,
            Err(e) => {
                self.deliverer.adopt(&receivers);
                return Err(e.to_string());
            }
        };
        published.budget(budget);
        *receivers = prepared;
        published.meter.configured(&config.masked);
        self.masked.store(Arc::new(config.masked));
        self.keep.store(Arc::new(config.storage));
        in_force.take(&fresh);
        if let Some(postgres) = &self.postgres {
            postgres.shows(pin, hash);
        }
        Ok(said_of(&orphans))
    }

    /// Reads all files that the configuration names, on a thread that may hang: each file has its bound.
    async fn load(&self) -> Result<(Config, Access, Prepared), String> {
        let (file, web_file, deliverer) = (self.file.clone(), self.web_file.clone(), self.deliverer.clone());
        let load = move || -> Result<_, NodeError> {
            let config = crate::config::load(&file)?;
            let access = load_access(&config, web_file.as_deref())?;
            let prepared = deliverer.prepare_all(&config)?;
            log_warnings(&config);
            Ok((config, access, prepared))
        };
        let (done, loaded) = oneshot::channel();
        let run = move || drop(done.send(load()));
        let thread = std::thread::Builder::new().name("reload".into()).spawn(run);
        thread.map_err(|e| format!("the system refuses a thread: {e}"))?;
        match tokio::time::timeout(RELOAD_PATIENCE, loaded).await {
            Ok(Ok(loaded)) => loaded.map_err(|e| e.to_string()),
            Ok(Err(_)) => Err("the loading broke off".into()),
            Err(_) => Err(format!("the files have not been read within {} s", RELOAD_PATIENCE.as_secs())),
        }
    }
}

/// A hash of a configuration and its template files, by which replicas notice that theirs differ. Secrets
/// and the folders of the files do not count.
pub(super) fn hash_of(config: &Config) -> String {
    let templates = config.templates.texts().flat_map(|(name, text)| [name, text]);
    let parts: Vec<&str> = std::iter::once(&*config.masked).chain(templates).collect();
    hex(&sha256(parts.join("\0").as_bytes())[..8])
}

/// The variable of the environment that names the file with the URL of a database.
const DATABASE: &str = "SQUELCH_DATABASE_URL_FILE";

/// The file with the URL of the database that holds the journal, if one does. The environment goes before the
/// configuration.
pub fn database(config: &Config) -> Option<Secret> {
    let named = outside::variable(DATABASE).map(|file| config::database_url(file.into(), DATABASE, 0));
    named.or_else(|| config.postgres.clone())
}

fn file_of(secret: Option<&Secret>) -> Option<&Path> {
    match secret {
        Some(Secret::File(file)) => Some(&file.path),
        _ => None,
    }
}

/// An answer names so many of them.
const ORPHANS_NAMED: usize = 20;

/// The sentences for a person about open incidents whose integrations left the configuration.
fn said_of(orphans: &[OrphanedIncident]) -> String {
    let mut said = String::new();
    for orphan in orphans.iter().take(ORPHANS_NAMED) {
        tracing::warn!(
            receiver = %orphan.receiver, integration = %orphan.integration, incident = %orphan.incident,
            key = %orphan.dedup_key,
            "the incident is open at an integration that the configuration does not have any more. Its end goes \
             there as long as this process runs"
        );
        let orphan = causes::orphan(orphan);
        let _ = writeln!(said, "open at an integration that left the configuration: {orphan}");
    }
    let more = orphans.len().saturating_sub(ORPHANS_NAMED);
    if more > 0 {
        tracing::warn!(more, "further incidents are open at integrations that left the configuration");
        let _ = writeln!(said, "and {more} more");
    }
    if !orphans.is_empty() {
        said.push_str(
            "Their ends still go there as long as this process runs. After a restart they cannot.\n",
        );
    }
    said
}

/// The roles and credentials, by `squelch.yml` and the web-config file.
pub(super) fn load_access(config: &config::Config, web_file: Option<&Path>) -> Result<Access, NodeError> {
    let web = web_file.map(config::load_web).transpose()?.unwrap_or_default();
    let access = Access::new(&config.access, &web)?;
    if let (Some(tls), Some(reason)) = (&web.tls, access.certificate_out_of_date(wall())) {
        let file = tls.cert_file.display();
        tracing::warn!(%file, reason, "clients refuse the certificate of the HTTP surface: replace it");
    }
    Ok(access)
}

/// Logs the warnings of `check-config`. Not every operator runs it, and a missing secret costs a page.
pub(super) fn log_warnings(config: &config::Config) {
    for warning in config::warnings(config) {
        tracing::warn!(line = warning.line, "configuration: {}", warning.message);
    }
    for wrong in config::wrong_secrets(config) {
        tracing::error!(line = wrong.line, "configuration: {}", wrong.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_covers_the_text_of_a_template_file_and_not_its_folder() {
        let hash = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("squelch.yml");
            std::fs::write(folder.path().join("page.tmpl"), text).unwrap();
            std::fs::write(&file, "templates: ['*.tmpl']\nroute: {receiver: a}\nreceivers: [{name: a}]\n")
                .unwrap();
            hash_of(&crate::config::load(&file).unwrap())
        };
        let one = r#"{{ define "page" }}one{{ end }}"#;
        assert_eq!(hash(one), hash(one));
        assert_ne!(hash(one), hash(&one.replace("}one", "}two")));
    }
}
