//! `squelch cluster`: the replicas that share a PostgreSQL, and the owner.

use std::cell::Cell;
use std::process::ExitCode;

use super::failed;
use super::screen::{ListView, Screen};
use super::server::{self, ServerClient};
use crate::journal::Replica;
use crate::web::ClusterEntry;

/// Options of `squelch cluster`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The server: any replica.
    #[command(flatten)]
    pub server: server::Args,
    /// How the list is shown.
    #[command(flatten)]
    pub view: ListView,
}

const EXAMPLES: &str = "\
Examples:
  Ask any replica which one decides:
    squelch cluster --url=http://squelch-1:9096
  Watch a standby take over:
    squelch cluster --watch";

/// Prints: 0 if one replica owns the storage, 1 if none does or the server does not answer.
pub async fn run(args: Args) -> ExitCode {
    let ownerless = Cell::new(false);
    let ask = async || {
        let cluster: ClusterEntry = ServerClient::new(&args.server)?.get("/api/v1/cluster", &[]).await?;
        ownerless.set(cluster.storage == "postgres" && !cluster.replicas.iter().any(|replica| replica.owner));
        Ok(cluster)
    };
    let said = args.view.show(ask, simple).await;
    if ownerless.get() {
        return failed("no replica owns the storage. The alerts wait in PostgreSQL until one takes over");
    }
    said
}

fn simple(cluster: &ClusterEntry, screen: &Screen) -> String {
    if cluster.storage != "postgres" {
        return "One process with a file of its own. Several replicas need storage.postgres.\n".into();
    }
    let row = |replica: &crate::web::ReplicaEntry| {
        let role = match replica.owner {
            _ if replica.seen_seconds > Replica::GONE.as_secs_f64() => "gone",
            true => "owner",
            false => "standby",
        };
        let seen = format!("{:.0}s ago", replica.seen_seconds);
        vec![replica.name.clone(), role.to_owned(), seen, replica.url.clone()]
    };
    let rows: Vec<_> = cluster.replicas.iter().map(row).collect();
    let replicas = screen.table(&["Replica", "Role", "Seen", "URL"], &rows);
    let inbox = &cluster.inbox;
    format!(
        "{replicas}\nEpoch {}, fenced owners {}. The inbox has {} rows of {} bytes, the oldest is {:.1}s old.\n",
        cluster.epoch, cluster.fenced, inbox.rows, inbox.bytes, inbox.lag_seconds
    )
}
