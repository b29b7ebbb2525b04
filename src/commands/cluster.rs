//! `squelch cluster`: the replicas that share a PostgreSQL, and who decides.

use std::process::ExitCode;

use super::asking::{say, say_json, table};
use super::backtest::Output;
use super::failed;
use super::server::{self, Server};
use crate::web::ClusterEntry;

/// Options of `squelch cluster`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The server: any replica.
    #[command(flatten)]
    pub server: server::Args,
    /// Output format.
    #[arg(short, long, value_enum, default_value = "simple")]
    pub output: Output,
}

/// A replica that PostgreSQL has not heard of for so many seconds has ended. It also has no lease any more.
const GONE: f64 = 10.0;

/// Prints: 0 if one replica owns the storage, 1 if none does or the server does not answer.
pub async fn run(args: Args) -> ExitCode {
    let found = async { Server::new(&args.server)?.get::<ClusterEntry>("/api/v1/cluster", &[]).await };
    let cluster = match found.await {
        Ok(cluster) => cluster,
        Err(why) => return failed(&why),
    };
    let said = match args.output {
        Output::Json => say_json(&cluster),
        Output::Simple => say(&simple(&cluster)),
    };
    if cluster.storage == "postgres" && !cluster.replicas.iter().any(|replica| replica.owner) {
        return failed("no replica owns the storage; the alerts wait in PostgreSQL until one takes over");
    }
    said
}

fn simple(cluster: &ClusterEntry) -> String {
    if cluster.storage != "postgres" {
        return "One process with a file of its own. Several replicas need storage.postgres.\n".into();
    }
    let row = |replica: &crate::web::ReplicaEntry| {
        let role = match replica.owner {
            _ if replica.seen_seconds > GONE => "gone",
            true => "owner",
            false => "standby",
        };
        let seen = format!("{:.0}s ago", replica.seen_seconds);
        vec![replica.name.clone(), role.to_owned(), seen, replica.url.clone()]
    };
    let replicas =
        table(&["Replica", "Role", "Seen", "URL"], &cluster.replicas.iter().map(row).collect::<Vec<_>>());
    let inbox = &cluster.inbox;
    format!(
        "{replicas}\nEpoch {}, fenced owners {}. The inbox has {} rows of {} bytes, the oldest is {:.1}s old.\n",
        cluster.epoch, cluster.fenced, inbox.rows, inbox.bytes, inbox.lag_seconds
    )
}
