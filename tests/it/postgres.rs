//! A PostgreSQL of the test's own, and databases in one that all tests share.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use squelch::config::database_url;
use squelch::settings::Secret;
use tempfile::TempDir;

use crate::e2e::child::free_port;
use crate::tools;

const PASSWORD: &str = "pass word";

/// Runs the server until its own input ends, which it does at the latest with this process.
const UNTIL_LET_GO: &str = r#"
"$0" -D "$1" -p "$2" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 </dev/null &
server=$!
read -r _
kill -INT "$server"
wait "$server"
"#;

/// A running server. It ends with this value, or with the process.
pub struct Server {
    bin: PathBuf,
    port: u16,
    folder: TempDir,
    running: Option<Child>,
}

/// A database, and a file that holds its URL.
pub struct Database {
    /// Its name.
    pub name: String,
    /// The file.
    pub url_file: PathBuf,
    _folder: TempDir,
}

impl Database {
    /// The URL, as a configuration has it.
    pub fn url(&self) -> Secret {
        database_url(self.url_file.clone(), "storage.postgres.url_file", 1)
    }
}

/// The programs of the newest PostgreSQL.
fn bin() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    if found.is_empty() {
        tools::missing("initdb", &std::io::ErrorKind::NotFound.into());
    }
    found.pop()
}

/// A program that runs as a user whom PostgreSQL serves: it refuses root.
fn as_nobody_special(program: &Path) -> Command {
    if !rustix::process::getuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

impl Server {
    /// A new server. `None` where there is no PostgreSQL.
    pub fn start() -> Option<Server> {
        let bin = bin()?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        if rustix::process::getuid().is_root() {
            let owned = Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().unwrap();
            assert!(owned.success());
        }
        let made = as_nobody_special(&bin.join("initdb"))
            .args([
                "--username=squelch",
                "--auth=scram-sha-256",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg(format!("--pwfile={}", folder.path().join("password").display()))
            .arg(folder.path().join("data"))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Server { bin, port: free_port(), folder, running: None };
        server.launch();
        Some(server)
    }

    /// Starts it again after [`Server::stop`].
    pub fn launch(&mut self) {
        let mut child = as_nobody_special(Path::new("/bin/sh"))
            .args(["-c", UNTIL_LET_GO])
            .args([self.bin.join("postgres"), self.folder.path().join("data")])
            .arg(self.port.to_string())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (lines, read) = mpsc::channel();
        // To its end: a full pipe would stop the server.
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|l| drop(lines.send(l)))
        });
        self.running = Some(child);
        let mut log = Vec::new();
        while !log.last().is_some_and(|line: &String| line.contains("ready to accept connections")) {
            match read.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => log.push(line),
                Err(error) => panic!("{error}: {log:#?}"),
            }
        }
    }

    /// Stops it as an operator does, and waits for its end.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// A URL of this server.
    pub fn url(&self, user: &str, password: &str, database: &str) -> String {
        let password = password.replace(' ', "%20");
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL as the administrator, each in a transaction of its own, and returns the output.
    pub fn sql(&self, database: &str, sql: &[&str]) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "squelch", "-d", database]);
        psql.args(["-p", &self.port.to_string()]).env("PGPASSWORD", PASSWORD);
        for sql in sql {
            psql.args(["-c", sql]);
        }
        let done = psql.output().unwrap();
        assert!(done.status.success(), "{sql:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// A new database.
    pub fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &[&format!("CREATE DATABASE {name}")]);
        self.file(&name, &self.url("squelch", PASSWORD, &name))
    }

    /// A file with this URL.
    pub fn file(&self, name: &str, url: &str) -> Database {
        let folder = tempfile::tempdir().unwrap();
        let url_file = folder.path().join("url");
        std::fs::write(&url_file, format!("{url}\n")).unwrap();
        Database { name: name.to_owned(), url_file, _folder: folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The server that all tests share. `None` where there is no PostgreSQL. It ends with the process.
pub fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::start).as_ref()
}
