//! The neighbours upstream: a source of metrics, Prometheus and Alertmanager, the real ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::child::{Child, free_port};
use super::{http, until};

/// Gauges that a test sets, served as a target of Prometheus.
pub struct World {
    /// Where it is scraped.
    pub address: SocketAddr,
    gauges: Arc<Mutex<BTreeMap<String, u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    /// Nothing is broken yet.
    pub async fn start() -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gauges = Arc::<Mutex<BTreeMap<String, u8>>>::default();
        let served = gauges.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // A scrape fits in one segment, and has no body.
                let _ = stream.read(&mut [0; 4096]).await;
                let mut text = String::new();
                for (series, value) in served.lock().unwrap().iter() {
                    writeln!(text, "{series} {value}").unwrap();
                }
                let head =
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain; version=0.0.4\r\n";
                let answer = format!("{head}Content-Length: {}\r\n\r\n{text}", text.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        World { address, gauges, task }
    }

    /// Sets `broken{alert, instance}` of these instances, all between two scrapes.
    pub fn set(&self, alert: &str, instances: impl IntoIterator<Item = usize>, broken: bool) {
        let mut gauges = self.gauges.lock().unwrap();
        for n in instances {
            let series = format!("broken{{alert=\"{alert}\",host=\"host-{n}\"}}");
            gauges.insert(series, u8::from(broken));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a Prometheus that looks at `world` every second and alerts `alertmanagers`. `None` where none is
/// installed. Alerts are `Broken{alert=…, host=…}`, critical, without `for`.
pub async fn prometheus(
    folder: &Path,
    world: &World,
    alertmanagers: &[SocketAddr],
    flags: &[&str],
) -> Option<Child> {
    let targets: Vec<String> = alertmanagers.iter().map(|a| format!("'{a}'")).collect();
    let config = format!(
        "\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: world
    static_configs: [{{targets: ['{}']}}]
alerting:
  alertmanagers:
    - {{api_version: v2, static_configs: [{{targets: [{}]}}]}}
",
        world.address,
        targets.join(", "),
    );
    // A scrape that a busy machine loses marks series as gone. The range reaches over the gap.
    let rules = "\
groups:
  - name: world
    rules:
      - alert: Broken
        expr: last_over_time(broken[15s]) == 1
        labels: {severity: critical}
        annotations: {summary: '{{ $labels.alert }} on {{ $labels.host }}'}
";
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    std::fs::write(folder.join("rules.yml"), rules).unwrap();
    let port = free_port();
    let config = format!("--config.file={}", folder.join("prometheus.yml").display());
    let storage = format!("--storage.tsdb.path={}", folder.join("tsdb").display());
    let listen = format!("--web.listen-address=127.0.0.1:{port}");
    let args = [&[config.as_str(), &storage, &listen], flags].concat();
    let child = Child::start("prometheus", "prometheus", &args)?;
    child.line(&["Server is ready to receive web requests"]).await;
    Some(child)
}

/// One Alertmanager of a pair.
pub struct Alertmanager {
    /// Where its API is.
    pub address: SocketAddr,
    /// Its process.
    pub child: Child,
}

/// Starts a pair of Alertmanagers that notify `squelch`, and waits until they have found each other. `None`
/// where none is installed.
pub async fn alertmanager_pair(folder: &Path, squelch: SocketAddr) -> Option<[Alertmanager; 2]> {
    let config = format!(
        "\
route:
  receiver: squelch
  group_by: [alertname, alert]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
receivers:
  - name: squelch
    webhook_configs: [{{url: 'http://{squelch}/alertmanager/webhook', max_alerts: 0}}]
"
    );
    std::fs::write(folder.join("alertmanager.yml"), config).unwrap();
    let gossip = [free_port(), free_port()];
    let first = alertmanager(folder, 0, gossip)?;
    let second = alertmanager(folder, 1, gossip)?;
    let pair = [first, second];
    for member in &pair {
        let settled = async || {
            let status = http::get(member.address, "/api/v2/status").await.ok()?.json();
            let cluster = status.get("cluster")?;
            let peers = cluster.get("peers")?.as_array()?.len();
            (peers == 2 && cluster.get("status")? == "ready").then_some(())
        };
        until("the pair of Alertmanagers has settled", settled).await;
    }
    Some(pair)
}

fn alertmanager(folder: &Path, n: usize, gossip: [u16; 2]) -> Option<Alertmanager> {
    let port = free_port();
    let args = [
        format!("--config.file={}", folder.join("alertmanager.yml").display()),
        format!("--storage.path={}", folder.join(format!("alertmanager-{n}")).display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        // By this the two have different names towards Squelch, as on two machines.
        format!("--web.external-url=http://alertmanager-{n}.example:9093"),
        "--web.route-prefix=/".to_owned(),
        format!("--cluster.listen-address=127.0.0.1:{}", gossip[n]),
        format!("--cluster.peer=127.0.0.1:{}", gossip[0]),
        format!("--cluster.peer=127.0.0.1:{}", gossip[1]),
        "--cluster.peer-timeout=2s".to_owned(),
        "--cluster.settle-timeout=5s".to_owned(),
        "--cluster.gossip-interval=50ms".to_owned(),
        "--log.level=debug".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let child = Child::start(&format!("alertmanager-{n}"), "prometheus-alertmanager", &args)?;
    Some(Alertmanager { address: SocketAddr::from(([127, 0, 0, 1], port)), child })
}

impl Alertmanager {
    /// The sum of a metric's samples, those of one integration `webhook` where it has any.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = http::get(self.address, "/metrics").await.unwrap().body;
        let of = |line: &&str| {
            let after = line.strip_prefix(name);
            after.is_some_and(|rest| rest.starts_with([' ', '{']))
                && (!line.contains("integration=") || line.contains("integration=\"webhook\""))
        };
        text.lines().filter(of).map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }
}
