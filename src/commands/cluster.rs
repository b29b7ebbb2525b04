//! `squelch cluster`: the replicas that share a PostgreSQL, and the owner.

use std::cell::Cell;
use std::fmt::Write as _;
use std::process::ExitCode;

use super::failed;
use super::screen::{ListView, Screen};
use super::server::{self, ServerClient};
use crate::journal::Replica;
use crate::web::{ClusterEntry, ReplicaEntry};

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

fn is_gone(replica: &ReplicaEntry) -> bool {
    replica.seen_seconds > Replica::GONE.as_secs_f64()
}

/// A line for each live replica with another configuration or a wrong clock.
fn faults(replicas: &[ReplicaEntry]) -> String {
    let mut said = String::new();
    for replica in replicas.iter().filter(|replica| !is_gone(replica)) {
        let name = &replica.name;
        if replica.config_differs {
            let _ = writeln!(said, "{name} has another configuration than the owner.");
        }
        let ahead = replica.clock_ahead_seconds.unwrap_or(0.0);
        if ahead.abs() > Replica::CLOCKS_APART.as_secs_f64() {
            let side = if ahead > 0.0 { "ahead of" } else { "behind" };
            let _ = writeln!(said, "The clock of {name} is {:.0}s {side} that of PostgreSQL.", ahead.abs());
        }
    }
    said
}

fn simple(cluster: &ClusterEntry, screen: &Screen) -> String {
    if cluster.storage != "postgres" {
        return "One process with a file of its own. Several replicas need storage.postgres.\n".into();
    }
    let row = |replica: &ReplicaEntry| {
        let role = match replica.owner {
            _ if is_gone(replica) => "gone",
            true => "owner",
            false => "standby",
        };
        let seen = format!("{:.0}s ago", replica.seen_seconds);
        vec![replica.name.clone(), role.to_owned(), seen, replica.url.clone()]
    };
    let rows: Vec<_> = cluster.replicas.iter().map(row).collect();
    let replicas = screen.table(&["Replica", "Role", "Seen", "URL"], &rows);
    let faults = faults(&cluster.replicas);
    let inbox = &cluster.inbox;
    let waiting = match inbox.rows {
        0 => "The inbox is empty.".to_owned(),
        rows => format!(
            "The inbox has {rows} rows of {} bytes, and the oldest has waited {:.1}s.",
            inbox.bytes, inbox.lag_seconds
        ),
    };
    format!("{replicas}\n{faults}Epoch {}, fenced owners {}. {waiting}\n", cluster.epoch, cluster.fenced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_with_another_configuration_or_a_wrong_clock_are_named() {
        let replica = |name: &str, config_differs, clock_ahead_seconds, seen_seconds| ReplicaEntry {
            name: name.into(),
            url: String::new(),
            owner: false,
            seen_seconds,
            config_differs,
            clock_ahead_seconds,
        };
        let replicas = [
            replica("a", false, Some(60.0), 0.0),
            replica("b", true, None, 0.0),
            replica("c", false, Some(-90.4), 0.0),
            replica("d", true, Some(90.0), 11.0),
        ];
        let said = "b has another configuration than the owner.\n\
                    The clock of c is 90s behind that of PostgreSQL.\n";
        assert_eq!(faults(&replicas), said);
    }
}
