//! `squelch serve` as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};

use rustix::process::Signal;
use serde_json::Value;

use super::child::Child;
use super::http::{self, Answer};
use super::scrape::Scrape;
use super::until;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_squelch");

/// Runs a command of the program, as `ada`.
pub async fn command(args: Vec<String>) -> Output {
    let run = move || Command::new(PROGRAM).args(args).env("USER", "ada").output().unwrap();
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// The output of a command that must end well.
pub fn ended_well(args: &[&str], output: Output) -> String {
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{args:?}: {said} {}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A folder with a configuration and a storage, in which Squelch runs one time after the other.
pub struct Home {
    folder: tempfile::TempDir,
}

/// A running Squelch.
pub struct Squelch {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub child: Child,
}

impl Home {
    /// A folder with this `squelch.yml`.
    pub fn new(config: &str) -> Home {
        let home = Home { folder: tempfile::tempdir().unwrap() };
        home.configure(config);
        home
    }

    /// Writes `squelch.yml` anew.
    pub fn configure(&self, config: &str) {
        std::fs::write(self.path("squelch.yml"), config).unwrap();
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the program on this folder and waits for nothing.
    pub fn launch(&self, listen: SocketAddr) -> Child {
        self.launch_with(listen, &[])
    }

    /// [`Home::launch`] with more in its environment.
    pub fn launch_with(&self, listen: SocketAddr, more: &[(&str, &Path)]) -> Child {
        let args = self.args(listen);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Child::start_with("squelch", PROGRAM, &args, more).unwrap()
    }

    /// Starts it with so many files that may be open, softly and at most. `None` without `prlimit`.
    pub fn launch_with_files(&self, soft: u64, hard: u64) -> Option<Child> {
        let files = format!("--nofile={soft}:{hard}");
        let args = self.args("127.0.0.1:0".parse().unwrap());
        let all: Vec<&str> = [&files, PROGRAM].into_iter().chain(args.iter().map(String::as_str)).collect();
        Child::start("squelch", "prlimit", &all)
    }

    /// The arguments of the program on this folder.
    pub fn args(&self, listen: SocketAddr) -> [String; 4] {
        [
            "serve".to_owned(),
            format!("--config.file={}", self.path("squelch.yml").display()),
            format!("--storage.path={}", self.path("data").display()),
            format!("--web.listen-address={listen}"),
        ]
    }

    /// Starts it on a port that the system gives.
    pub async fn serve(&self) -> Squelch {
        self.serve_on("127.0.0.1:0".parse().unwrap()).await
    }

    /// Starts it and waits until it listens and is ready.
    pub async fn serve_on(&self, listen: SocketAddr) -> Squelch {
        Self::ready(self.launch(listen)).await
    }

    /// Waits until the launched process listens and is ready.
    pub async fn ready(child: Child) -> Squelch {
        let line = child.line(&["msg=listening"]).await;
        let address = line.split(' ').find_map(|field| field.strip_prefix("address=")).unwrap();
        let squelch = Squelch { address: address.parse().unwrap(), child };
        let ready = async || Some(squelch.get("/-/ready").await).filter(|a| a.status == 200);
        until("Squelch is ready", ready).await;
        squelch
    }
}

impl Squelch {
    /// `GET path`. There must be an answer.
    pub async fn get(&self, path: &str) -> Answer {
        http::get(self.address, path).await.unwrap()
    }

    /// `POST path`. There must be an answer.
    pub async fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        http::post(self.address, path, body.as_ref()).await.unwrap()
    }

    /// A request with these headers. There must be an answer.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (host, length) = (self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        http::send(self.address, &head, body.as_bytes()).await.unwrap()
    }

    /// Sends a webhook body, which must be taken.
    pub async fn hook(&self, body: &Value) {
        let answer = self.post("/alertmanager/webhook", body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// Its metrics.
    pub async fn scrape(&self) -> Scrape {
        Scrape::new(&self.get("/metrics").await.body)
    }

    /// Its metrics, once no incident is open. The pager takes the last resolve before Squelch knows of it.
    pub async fn scrape_when_closed(&self) -> Scrape {
        let closed = async || Some(self.scrape().await).filter(|s| s.sum("squelch_incidents", &[]) == 0.0);
        until("no incident is open", closed).await
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(mut self) -> ExitStatus {
        self.child.signal(Signal::TERM);
        self.child.ended().await
    }

    /// The most memory that it ever had resident, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
    }
}
