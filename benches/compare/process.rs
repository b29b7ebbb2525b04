//! The served processes: their start, their usage, and their end.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::bodies::Api;
use crate::limit;

/// The served program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Squelch,
    Alertmanager,
    Limit,
}

impl Target {
    pub const ALL: [Target; 3] = [Target::Squelch, Target::Alertmanager, Target::Limit];

    pub fn title(self) -> &'static str {
        match self {
            Target::Squelch => "Squelch",
            Target::Alertmanager => "Alertmanager",
            Target::Limit => "limit (parses only)",
        }
    }

    /// Whether its program is on the path.
    pub fn is_there(self) -> bool {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        self != Target::Alertmanager || std::env::split_paths(&paths).any(|p| p.join(ALERTMANAGER).exists())
    }
}

const ALERTMANAGER: &str = "prometheus-alertmanager";

/// A process that runs, with its files. A drop kills it.
pub struct Process {
    pub address: SocketAddr,
    target: Target,
    child: Child,
    folder: TempDir,
}

/// The usage of a process so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    pub cpu: Duration,
    /// Bytes resident.
    pub rss: u64,
}

/// The cost of a restart until it was ready.
pub struct Restart {
    pub cpu: Duration,
    pub wall: Duration,
}

/// Starts `target`, whose receiver is at `sink`, and waits until it takes connections.
pub async fn start(target: Target, sink: SocketAddr) -> Process {
    let folder = tempfile::tempdir().unwrap();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(folder.path().join("config.yml"), config(target, sink)).unwrap();
    let child = command(target, address, folder.path()).spawn().unwrap();
    let process = Process { address, target, child, folder };
    process.ready().await;
    process
}

/// A route tree for both: by service, so that a storm of 100,000 alerts is a thousand groups.
fn config(target: Target, sink: SocketAddr) -> String {
    let mut text = format!(
        "route: {{receiver: sink, group_by: [service]}}\nreceivers:\n- name: sink\n  webhook_configs:\n  - url: http://{sink}/\n"
    );
    if target == Target::Squelch {
        text.push_str("noise: {default: {storm: {start: 0}, limit: {pages: 0}}}\n");
    }
    text
}

fn command(target: Target, address: SocketAddr, folder: &Path) -> Command {
    let (config, data) = (folder.join("config.yml"), folder.join("data"));
    let mut command = match target {
        Target::Squelch => {
            let built = env!("CARGO_BIN_EXE_squelch").into();
            let mut command = Command::new(std::env::var_os("SQUELCH").unwrap_or(built));
            command.arg("serve").arg("--log.level=warn");
            command.arg(format!("--web.listen-address={address}"));
            command
        }
        Target::Alertmanager => {
            let mut command = Command::new(ALERTMANAGER);
            command.arg("--cluster.listen-address=").arg("--log.level=error");
            command.arg(format!("--web.listen-address={address}"));
            command
        }
        Target::Limit => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.arg(limit::COMMAND).arg(address.to_string());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            return command;
        }
    };
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", data.display()));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Process {
    /// Where alerts go in.
    pub fn path(&self, api: Api) -> &'static str {
        match api {
            Api::V2 => "/api/v2/alerts",
            Api::Webhook => "/alertmanager/webhook",
        }
    }

    async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let path = if self.target == Target::Limit { "/" } else { "/-/ready" };
        while self.get(path).await.is_none() {
            assert!(Instant::now() < deadline, "{:?} is not ready within 2 minutes", self.target);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The body of the answer to GET `path`, if it is 200.
    async fn get(&self, path: &str) -> Option<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }

    pub fn usage(&self) -> Usage {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name in brackets: fields 14 and 15 of proc(5) are ticks, of which Linux has 100 a second.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|i| fields[*i].parse::<u64>().unwrap()).sum();
        let pages: u64 = fields[21].parse().unwrap();
        Usage { cpu: Duration::from_millis(ticks * 10), rss: pages * 4096 }
    }

    /// How many commits it made, if it counts them.
    pub async fn commits(&self) -> Option<u64> {
        if self.target != Target::Squelch {
            return None;
        }
        let metrics = self.get("/metrics").await?;
        let line = metrics.lines().find(|l| l.starts_with("squelch_journal_commit_seconds_count"))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// The upper bound, in seconds, of the bucket in which the quantile of the commits lies.
    pub async fn commit_quantile(&self, quantile: f64) -> Option<f64> {
        let metrics = self.get("/metrics").await?;
        let all = self.commits().await? as f64;
        metrics.lines().filter(|l| l.starts_with("squelch_journal_commit_seconds_bucket")).find_map(|line| {
            let count: f64 = line.rsplit(' ').next()?.parse().ok()?;
            let bound = line.split("le=\"").nth(1)?.split('"').next()?;
            (count >= all * quantile).then(|| bound.parse().ok())?
        })
    }

    /// Kills it without a warning and starts it on the same files.
    pub async fn kill_and_restart(&mut self) -> Restart {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let started = Instant::now();
        self.child = command(self.target, self.address, self.folder.path()).spawn().unwrap();
        self.ready().await;
        Restart { cpu: self.usage().cpu, wall: started.elapsed() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL: nothing of it is to go on after the run.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
