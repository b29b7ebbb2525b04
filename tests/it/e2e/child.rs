//! A child process: its output is kept, and it does not outlive the test.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::{PATIENCE, until};
use crate::tools;

/// Lines of output that a failing test shows of each child.
const SHOWN: usize = 120;

/// See the module.
pub struct Child {
    name: String,
    process: std::process::Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Child {
    /// Starts `program`, or `None` where it is not installed.
    pub fn start(name: &str, program: &str, args: &[&str]) -> Option<Child> {
        Self::start_with(name, program, args, &[])
    }

    /// [`Child::start`] with more in its environment.
    pub fn start_with(name: &str, program: &str, args: &[&str], more: &[(&str, &Path)]) -> Option<Child> {
        let command = Command::new(program)
            .args(args)
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut process = match command {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tools::missing(program, &error);
                return None;
            }
            Err(error) => panic!("{program}: {error}"),
        };
        let (said, lines) = watch::channel(Vec::new());
        let said = Arc::new(said);
        keep(process.stdout.take().unwrap(), said.clone());
        keep(process.stderr.take().unwrap(), said);
        Some(Child { name: name.to_owned(), process, lines })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All that it said so far, on either output.
    pub fn said(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Waits for a line that holds all of `parts`. It fails if the process ends without it.
    pub async fn line(&self, parts: &[&str]) -> String {
        let has = |line: &&String| parts.iter().all(|part| line.contains(part));
        let mut lines = self.lines.clone();
        let found = tokio::time::timeout(PATIENCE, lines.wait_for(|l| l.iter().any(|l| has(&l)))).await;
        match found {
            Ok(Ok(lines)) => lines.iter().find(has).unwrap().clone(),
            Ok(Err(_)) => panic!("{} ended without a word of {parts:?}", self.name),
            Err(_) => panic!("{} never said {parts:?}", self.name),
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let name = format!("{} ends", self.name);
        let process = &mut self.process;
        let status = until(&name, async || process.try_wait().unwrap()).await;
        // Both outputs are read to their end by then, or soon.
        while self.lines.changed().await.is_ok() {}
        status
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let lines = self.lines.borrow();
            let from = lines.len().saturating_sub(SHOWN);
            println!("{}, the last of {} lines:\n{}\n", self.name, lines.len(), lines[from..].join("\n"));
        }
    }
}

/// Reads an output to its end on a thread of its own: a full pipe would stop the child.
fn keep(output: impl Read + Send + 'static, said: Arc<watch::Sender<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            said.send_modify(|lines| lines.push(line));
        }
    });
}

/// A port without a listener, over TCP and UDP. It is below the range from which the kernel gives ports to
/// clients, so that no process takes it by chance before it is used.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const PORTS: std::ops::Range<u16> = 10_240..32_000;
    let spread = u16::try_from(std::process::id() % u32::from(PORTS.end - PORTS.start)).unwrap();
    for _ in PORTS {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + spread.wrapping_mul(7).wrapping_add(step) % (PORTS.end - PORTS.start);
        let address = ("127.0.0.1", port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
