//! The replicas that share the database: each has a row, and says every 3 s that it is there.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::calls::{Param, failed, number};
use crate::journal::JournalError;
use crate::model::Timestamp;

const MEET: &str = "INSERT INTO squelch_replica (process, name, url, config, clock_ms, seen_at)
    VALUES ($1, $2, $3, $4, $5 - (extract(epoch FROM clock_timestamp()) * 1000)::bigint, clock_timestamp())
    ON CONFLICT (process) DO UPDATE SET url = EXCLUDED.url, config = EXCLUDED.config,
        clock_ms = EXCLUDED.clock_ms, seen_at = EXCLUDED.seen_at";
/// Only the owner forgets, so that no two replicas delete the same row.
const FORGET: &str = "DELETE FROM squelch_replica WHERE seen_at < clock_timestamp() - interval '1 minute'
    AND EXISTS (SELECT FROM squelch_owner WHERE process = $1)";
const REPLICAS: &str = "SELECT r.name, r.url, r.process = o.process,
        (extract(epoch FROM clock_timestamp() - r.seen_at) * 1000)::bigint, r.config, r.clock_ms
    FROM squelch_replica r, squelch_owner o ORDER BY r.name, r.process";
const INBOX: &str = "SELECT count(*), (SELECT bytes FROM squelch_inbox),
        coalesce((extract(epoch FROM clock_timestamp() - min(at)) * 1000)::bigint, 0)
    FROM squelch_handed";

/// A process as it shows itself to the other replicas: where it answers, its configuration, and whether its
/// clock is right.
#[derive(Debug, Clone, Default)]
pub struct Advertised {
    /// Host, or host and port, if the operator named it. Default: the address from which the database sees
    /// this process.
    pub address: Option<String>,
    /// The port on which it listens.
    pub port: u16,
    /// SHA-256 of the certificate that it shows, in hexadecimal digits. `None`: plain HTTP.
    pub pin: Option<String>,
    /// The prefix of all its paths, without a slash at the end.
    pub prefix: String,
    /// A hash of its configuration, to compare with that of the owner. Empty: they are not compared.
    pub config: String,
    /// The clock of this machine, to compare with that of the database. `None`: they are not compared.
    pub wall: Option<fn() -> Timestamp>,
}

impl Advertised {
    /// Its URL, with the pin of its certificate as the fragment. `seen` is the address from which the
    /// database sees this process, if there is one.
    pub(super) fn url(&self, seen: Option<&str>) -> String {
        let Advertised { address, port, pin, prefix, .. } = self;
        let address = match (address, seen) {
            (Some(address), _) if has_port(address) => address.clone(),
            (Some(host), _) => format!("{}:{port}", bracketed(host)),
            (None, Some(host)) => format!("{}:{port}", bracketed(host)),
            (None, None) => format!("{}:{port}", rustix::system::uname().nodename().to_string_lossy()),
        };
        match pin {
            Some(pin) => format!("https://{address}{prefix}#{pin}"),
            None => format!("http://{address}{prefix}"),
        }
    }
}

/// Why no other replica could reach this address, if its form is wrong.
pub fn wrong_address(address: &str) -> Option<String> {
    let own = Advertised { address: Some(address.to_owned()), port: 1, ..Advertised::default() };
    let plain = |url: url::Url| url.path() == "/" && url.username().is_empty() && url.query().is_none();
    let right = url::Url::parse(&own.url(None)).is_ok_and(plain);
    (!right)
        .then(|| "it must be HOST or HOST:PORT, such as squelch-1.example:9096 or [fd00::1]:9096".to_owned())
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    })
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// All replicas, and the alerts that wait for the owner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The replicas that reported to the database within the last minute, by name.
    pub replicas: Vec<Replica>,
    /// Rows in the inbox.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// How long the oldest of them has waited, in milliseconds.
    pub waiting_ms: u64,
}

impl Cluster {
    /// The replicas that have not ended.
    pub fn live(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| !replica.is_gone())
    }

    /// Whether a replica has another configuration than the owner. False while there is no owner, or while
    /// one of them runs a program that does not report its configuration.
    pub fn differs(&self, replica: &Replica) -> bool {
        let owner = self.live().find(|replica| replica.owner).and_then(|owner| owner.config.as_ref());
        owner.zip(replica.config.as_ref()).is_some_and(|(owner, own)| owner != own)
    }
}

/// One replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replica {
    /// Its host and process.
    pub name: String,
    /// Where it answers the other replicas.
    pub url: String,
    /// Whether it owns the journal.
    pub owner: bool,
    /// How long ago it last said that it is there, in milliseconds.
    pub seen_ms: u64,
    /// The hash of its configuration, if it reports one.
    pub config: Option<String>,
    /// By how many milliseconds its clock is ahead of that of the database, if it compares them. Below 0: its
    /// clock is behind.
    pub clock_ms: Option<i64>,
}

impl Replica {
    /// A replica that sent the database no report for this long has ended. It also has no lease any more.
    pub const GONE: Duration = Duration::from_secs(10);

    /// A replica whose clock differs from that of the database by more leaves the others the first chance to
    /// take over. After 10 s without an owner it takes over itself, since a wrong clock is better than none.
    pub const CLOCKS_APART: Duration = Duration::from_secs(60);

    /// Whether it has ended.
    pub fn is_gone(&self) -> bool {
        Duration::from_millis(self.seen_ms) > Self::GONE
    }

    /// By how many milliseconds its clock is ahead of that of the database, if by more than
    /// [`Self::CLOCKS_APART`] in one direction.
    pub fn wrong_clock(&self) -> Option<i64> {
        self.clock_ms.filter(|by| Duration::from_millis(by.unsigned_abs()) > Self::CLOCKS_APART)
    }
}

/// Reports this process, and returns the others.
pub(super) async fn meet(
    client: &Client,
    process: &str,
    name: &str,
    url: &str,
    own: &Advertised,
) -> Result<Cluster, JournalError> {
    let config = Some(own.config.as_str()).filter(|config| !config.is_empty());
    let wall = own.wall.map(|wall| wall().as_millis());
    let values: [Param<'_>; 5] = [
        (&process, Type::TEXT),
        (&name, Type::TEXT),
        (&url, Type::TEXT),
        (&config, Type::TEXT),
        (&wall, Type::INT8),
    ];
    client.execute_typed(MEET, &values).await.map_err(failed)?;
    client.execute_typed(FORGET, &[(&process, Type::TEXT)]).await.map_err(failed)?;
    let rows = client.query_typed(REPLICAS, &[]).await.map_err(failed)?;
    let replicas = rows.iter().map(|row| Replica {
        name: row.get(0),
        url: row.get(1),
        owner: row.get(2),
        seen_ms: number(row.get(3)),
        config: row.get(4),
        clock_ms: row.get(5),
    });
    let inbox = client.query_typed_one(INBOX, &[]).await.map_err(failed)?;
    Ok(Cluster {
        replicas: replicas.collect(),
        waiting: number(inbox.get(0)),
        waiting_bytes: number(inbox.get(1)),
        waiting_ms: number(inbox.get(2)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_answers_where_the_operator_says_or_the_database_sees_it() {
        let own = |address: Option<&str>| Advertised {
            address: address.map(str::to_owned),
            port: 9096,
            prefix: "/squelch".into(),
            ..Advertised::default()
        };
        for (address, seen, url) in [
            (None, Some("10.0.0.7"), "http://10.0.0.7:9096/squelch"),
            (None, Some("fd00::7"), "http://[fd00::7]:9096/squelch"),
            (Some("squelch-0.squelch"), Some("10.0.0.7"), "http://squelch-0.squelch:9096/squelch"),
            (Some("10.0.0.8:80"), None, "http://10.0.0.8:80/squelch"),
            (Some("[fd00::8]:80"), None, "http://[fd00::8]:80/squelch"),
            (Some("fd00::8"), None, "http://[fd00::8]:9096/squelch"),
        ] {
            assert_eq!(own(address).url(seen), url);
        }
        for wrong in ["http://x:1", "a b", "localhost:99999", ":22", "x/y", "me@x", ""] {
            assert!(wrong_address(wrong).is_some(), "{wrong}");
        }
        for right in ["squelch-0.squelch", "10.0.0.8:80", "[fd00::8]:80", "fd00::8"] {
            assert_eq!(wrong_address(right), None, "{right}");
        }
        let over_tls = Advertised { pin: Some("ab12".into()), ..own(None) };
        assert_eq!(over_tls.url(Some("10.0.0.7")), "https://10.0.0.7:9096/squelch#ab12");
    }

    #[test]
    fn a_replica_differs_if_it_and_a_live_owner_report_other_configurations() {
        let replica = |owner, config: Option<&str>| Replica {
            owner,
            config: config.map(str::to_owned),
            ..Replica::default()
        };
        let gone = Replica { seen_ms: 10_001, ..replica(true, Some("a")) };
        for (owner, own, differs) in [
            (replica(true, Some("a")), Some("b"), true),
            (replica(true, Some("a")), Some("a"), false),
            (replica(true, Some("a")), None, false),
            (replica(true, None), Some("b"), false),
            (replica(false, Some("a")), Some("b"), false),
            (gone, Some("b"), false),
        ] {
            let cluster = Cluster { replicas: vec![owner], ..Cluster::default() };
            assert_eq!(cluster.differs(&replica(false, own)), differs, "{cluster:?}, {own:?}");
        }
    }

    #[test]
    fn a_clock_is_wrong_by_more_than_a_minute_on_either_side() {
        for (by, wrong) in [(60_000, false), (60_001, true), (-60_000, false), (-60_001, true)] {
            let replica = Replica { clock_ms: Some(by), ..Replica::default() };
            assert_eq!(replica.wrong_clock(), Some(by).filter(|_| wrong));
        }
        assert_eq!(Replica::default().wrong_clock(), None);
    }
}
