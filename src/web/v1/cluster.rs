//! `GET /api/v1/cluster`: the replicas that share the storage.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parameters::no_parameters;
use super::reply;
use super::reply::Refusal;
use crate::journal::Ownership;
use crate::web::app::App;
use crate::web::problem::Problem;

/// The replicas, and the alerts that wait for the owner. Each replica answers from its last look at
/// PostgreSQL.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Cluster)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEntry {
    /// `sqlite` for a storage of one process, `postgres` for a shared one.
    pub storage: String,
    /// Whether the replica that answers owns the storage, and decides.
    pub owner: bool,
    /// How often the ownership was taken. 0 for `sqlite`.
    pub epoch: i64,
    /// How many owners found that another replica had taken over, over the life of the database.
    pub fenced: i64,
    /// The replicas of the last minute, by name. Empty for `sqlite`.
    pub replicas: Vec<ReplicaEntry>,
    /// Alerts that standbys have accepted and the owner has not taken yet.
    pub inbox: InboxEntry,
}

/// One replica.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Replica)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaEntry {
    /// Its host and process.
    pub name: String,
    /// Where the other replicas reach it.
    pub url: String,
    /// Whether it owns the storage.
    pub owner: bool,
    /// How long ago it last reported to PostgreSQL. A replica does so every 3 s.
    pub seen_seconds: f64,
    /// Whether it has another configuration than the owner.
    pub config_differs: bool,
    /// By how much its clock is ahead of that of PostgreSQL. Below 0: its clock is behind. Null if it does
    /// not report that.
    pub clock_ahead_seconds: Option<f64>,
}

/// Alerts that wait for the owner.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Inbox)]
#[serde(rename_all = "camelCase")]
pub struct InboxEntry {
    /// How many requests, or groups of requests.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long the oldest has waited.
    pub lag_seconds: f64,
}

/// Who owns the storage.
#[utoipa::path(
    get, path = "/api/v1/cluster", operation_id = "readCluster", tag = "cluster",
    responses((status = 200, description = "The replicas.", body = ClusterEntry), Refusal)
)]
pub(super) async fn read(State(app): State<App>, uri: Uri) -> Response {
    reply(cluster(&app, &uri))
}

fn cluster(app: &App, uri: &Uri) -> Result<ClusterEntry, Problem> {
    no_parameters(uri)?;
    let shared = app.gate.ownership();
    let storage = if shared.is_some() { "postgres" } else { "sqlite" };
    let alone = || Ownership { owner: true, ..Ownership::default() };
    let Ownership { owner, epoch, fenced, cluster, .. } = shared.unwrap_or_else(alone);
    let seconds = |millis: u64| std::time::Duration::from_millis(millis).as_secs_f64();
    let replicas = cluster.replicas.iter().map(|replica| ReplicaEntry {
        name: replica.name.clone(),
        // The pin of its certificate is for replicas.
        url: replica.url.split('#').next().unwrap_or_default().to_owned(),
        owner: replica.owner,
        seen_seconds: seconds(replica.seen_ms),
        config_differs: cluster.differs(replica),
        clock_ahead_seconds: replica.clock_ms.map(|by| by as f64 / 1000.0),
    });
    Ok(ClusterEntry {
        storage: storage.into(),
        owner,
        epoch,
        fenced,
        replicas: replicas.collect(),
        inbox: InboxEntry {
            rows: cluster.waiting,
            bytes: cluster.waiting_bytes,
            lag_seconds: seconds(cluster.waiting_ms),
        },
    })
}
