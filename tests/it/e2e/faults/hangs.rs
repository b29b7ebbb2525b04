//! Outputs and files that do not answer: they cost log lines, or the attempts of one receiver, and nothing
//! else.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use squelch::commands::fake_pager::FakePager;

use super::shim::Shim;
use super::{alert, config};
use crate::e2e::child::free_port;
use crate::e2e::scrape::Scrape;
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::{Home, PROGRAM};
use crate::e2e::{about, http, pager, shown, until};

/// A server whose outputs are the test's own.
struct Server {
    process: std::process::Child,
    address: SocketAddr,
}

impl Server {
    fn start(home: &Home, more: &[&str], out: Stdio, err: Stdio) -> Server {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(PROGRAM);
        command.args(home.args(address)).args(more).stdin(Stdio::null()).stdout(out).stderr(err);
        Server { process: command.spawn().unwrap(), address }
    }

    async fn ready(&self) {
        until("Squelch is ready", async || {
            http::get(self.address, "/-/ready").await.ok().filter(|a| a.status == 200).map(drop)
        })
        .await;
    }

    async fn is_healthy(&self) {
        assert_eq!(http::get(self.address, "/-/healthy").await.unwrap().status, 200);
    }

    async fn hook(&self, alert: &Told) {
        let text = body("http://am-0", std::slice::from_ref(alert)).to_string();
        let answer = http::post(self.address, "/alertmanager/webhook", text.as_bytes()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    async fn dropped(&self) -> f64 {
        let metrics = http::get(self.address, "/metrics").await.unwrap();
        Scrape::new(&metrics.body).sum("squelch_log_lines_dropped_total", &[])
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        until("Squelch ends", async || self.process.try_wait().unwrap()).await
    }

    async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ended().await.code(), Some(0), "it ends in order");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A full pipe, and its end without a reader.
fn full_pipe() -> (PipeReader, Stdio) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while writer.write(&vec![b'\n'; size]).is_ok() {}
    }
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer.into())
}

fn fifo(path: &Path) {
    let _ = std::fs::remove_file(path);
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// First everything that writes to the log, then the work that must go on.
async fn goes_on(server: &Server, pager: &FakePager) {
    server.ready().await;
    server.is_healthy().await;
    for _ in 0..500 {
        let refused = http::post(server.address, "/alertmanager/webhook", b"no JSON").await.unwrap();
        assert_eq!(refused.status, 400);
    }
    assert_eq!(http::post(server.address, "/-/reload", b"").await.unwrap().status, 200);
    server.hook(&alert("Goes-on")).await;
    shown(pager, "the page", |i| about(i, "Goes-on").len() == 1).await;
    server.is_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_from_the_start_on_stops_nothing() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let (_unread, err) = full_pipe();
    let server = Server::start(&home, &[], Stdio::null(), err);
    goes_on(&server, &pager).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_again_has_all_that_found_room() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let (mut unread, err) = full_pipe();
    let server = Server::start(&home, &[], Stdio::null(), err);
    goes_on(&server, &pager).await;
    assert_eq!(server.dropped().await, 0.0, "so few lines wait");
    let read = std::thread::spawn(move || {
        let mut text = String::new();
        unread.read_to_string(&mut text).unwrap();
        text
    });
    server.stop().await;
    let text = read.join().unwrap();
    assert!(text.contains("msg=listening") && text.trim_end().ends_with("msg=ended"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_costs_its_lines() {
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for (out, err) in [(Stdio::null(), full()), (gone(), gone())] {
        let pager = pager().await;
        let home = Home::new(&config(&pager));
        let server = Server::start(&home, &["--log.level=debug"], out, err);
        goes_on(&server, &pager).await;
        assert!(server.dropped().await >= 5.0, "{}", server.dropped().await);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_outputs_are_closed_serves() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" >&- 2>&-", PROGRAM]).args(home.args(address));
    let server = Server { process: command.spawn().unwrap(), address };
    goes_on(&server, &pager).await;
    server.stop().await;
}

/// The configuration cannot be loaded, and the error has no reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_does_not_wait_for_its_log() {
    let home = Home::new("route: {reciever: a}\n");
    let (_unread, err) = full_pipe();
    let mut server = Server::start(&home, &[], Stdio::null(), err);
    assert_eq!(server.ended().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_panics_does_not_wait_for_the_log() {
    let pager = pager().await;
    let home = Home::new(&config(&pager));
    let first = home.serve().await;
    assert_eq!(first.stop().await.code(), Some(0));
    super::watch::store_poison(&home);
    let (_unread, err) = full_pipe();
    let server = Server::start(&home, &[], Stdio::null(), err);
    goes_on(&server, &pager).await;
    let metrics = http::get(server.address, "/metrics").await.unwrap();
    assert_eq!(Scrape::new(&metrics.body).sum("squelch_engine_failures_total", &[]), 1.0);
    server.stop().await;
}

/// Three receivers: one writes to standard output, one reads its secret from a file, one does neither.
fn three(pager: &FakePager) -> String {
    format!(
        "\
route:
  receiver: pager
  group_by: [alertname]
  routes:
    - {{matchers: ['alertname=~\"Console.*\"'], receiver: console}}
    - {{matchers: ['alertname=~\"Secret.*\"'], receiver: secret}}
receivers:
  - {{name: console, console_configs: [{{}}]}}
  - name: secret
    webhook_configs:
      - url: '{}'
        timeout: 1s
        http_config: {{authorization: {{credentials_file: token}}}}
  - name: pager
    webhook_configs: [{{url: '{}', timeout: 5s}}]
self_check: {{enabled: false}}
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
",
        pager.url("/webhook/secret"),
        pager.url("/webhook/a")
    )
}

/// Waits until so many attempts of a kind of integration have failed.
async fn failed(server: &Server, integration: &str, times: f64) {
    until("attempts fail", async || {
        let metrics = http::get(server.address, "/metrics").await.unwrap();
        let labels = [("integration", integration), ("reason", "contextDeadlineExceeded")];
        let failed = Scrape::new(&metrics.body).sum("squelch_notifications_failed_total", &labels);
        (failed >= times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_file_that_hangs_delays_its_receiver_and_no_other() {
    let pager = pager().await;
    let home = Home::new(&three(&pager));
    std::fs::write(home.path("token"), "b34rer-t0ken\n").unwrap();
    let server = Server::start(&home, &[], Stdio::null(), Stdio::null());
    server.ready().await;
    fifo(&home.path("token"));
    for n in 0..30 {
        server.hook(&alert(&format!("Secret-{n}"))).await;
    }
    failed(&server, "webhook", 10.0).await;
    server.hook(&alert("Other")).await;
    shown(&pager, "another's page", |i| about(i, "Other").len() == 1).await;
    server.is_healthy().await;
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.process.id())).unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let readers = threads.filter_map(Result::ok).filter_map(name).filter(|name| name.trim() == "file");
    assert!(readers.count() <= 1, "one thread reads the file for all");
    std::fs::remove_file(home.path("token")).unwrap();
    std::fs::write(home.path("token"), "b34rer-t0ken\n").unwrap();
    shown(&pager, "every page", |i| about(i, "Secret").len() == 30).await;
    fifo(&home.path("token"));
    server.hook(&alert("Secret-last")).await;
    server.stop().await;
}

/// A name whose lookup never ends, and every attempt looks it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_never_answered_delays_its_receiver_and_no_other() {
    let pager = pager().await;
    let home = Home::new(&three(&pager).replace(&pager.url("/webhook/secret"), "http://pager.hangs/"));
    std::fs::write(home.path("token"), "b34rer-t0ken\n").unwrap();
    let Some(shim) = Shim::new(&home) else { return };
    let squelch = shim.serve(&home).await;
    let alerts: Vec<Told> = (0..20).map(|n| alert(&format!("Secret-{n}"))).collect();
    squelch.hook(&body("http://am-0", &alerts)).await;
    until("attempts fail", async || {
        let labels = [("integration", "webhook"), ("reason", "contextDeadlineExceeded")];
        let failed = squelch.scrape().await.sum("squelch_notifications_failed_total", &labels);
        (failed >= 8.0).then_some(())
    })
    .await;
    assert!(shim.lookups() <= 2, "{} lookups: the attempts share one", shim.lookups());
    squelch.hook(&body("http://am-0", &[alert("Other")])).await;
    shown(&pager, "another's page", |i| about(i, "Other").len() == 1).await;
    assert_eq!(squelch.get("/-/healthy").await.status, 200);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_that_nobody_reads_delays_its_receiver_and_no_other() {
    let pager = pager().await;
    let home = Home::new(&three(&pager));
    std::fs::write(home.path("token"), "b34rer-t0ken\n").unwrap();
    let (mut unread, out) = full_pipe();
    let server = Server::start(&home, &[], out, Stdio::null());
    server.ready().await;
    for n in 0..3 {
        server.hook(&alert(&format!("Console-{n}"))).await;
    }
    failed(&server, "console", 3.0).await;
    server.hook(&alert("Other")).await;
    shown(&pager, "another's page", |i| about(i, "Other").len() == 1).await;
    server.is_healthy().await;
    // The lines come once they are read, and no more than one of them was under way before.
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        unread.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    until("all lines are out", async || {
        let metrics = http::get(server.address, "/metrics").await.unwrap();
        let queued = Scrape::new(&metrics.body);
        (queued.sum("squelch_queue_length", &[("receiver", "console")]) == 0.0).then_some(())
    })
    .await;
    server.stop().await;
    let text = read.join().unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("Console-")).collect();
    let plain = lines.iter().filter(|line| !line.ends_with("(possible repeat)"));
    assert_eq!(plain.count(), 3, "{lines:#?}");
    assert!(lines.len() <= 4, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_reads_a_file_that_hangs_fails_and_stops_nothing() {
    let pager = pager().await;
    let users = "users: [{name: u, role: admin, authorization: {credentials_file: hangs}}]\n";
    let trust = ", timeout: 5s, http_config: {tls_config: {ca_file: hangs}}}";
    let configs = [config(&pager) + users, config(&pager).replace(", timeout: 5s}", trust)];
    let reload = async |name: &str, changed: Option<&String>| {
        let home = Home::new(&config(&pager));
        let server = Server::start(&home, &[], Stdio::null(), Stdio::null());
        server.ready().await;
        match changed {
            Some(text) => {
                fifo(&home.path("hangs"));
                home.configure(text);
            }
            None => fifo(&home.path("squelch.yml")),
        }
        let reloading = http::post(server.address, "/-/reload", b"");
        let meanwhile = async {
            server.is_healthy().await;
            server.hook(&alert(name)).await;
        };
        let (reloaded, ()) = tokio::join!(reloading, meanwhile);
        let reloaded = reloaded.unwrap();
        assert_eq!(reloaded.status, 500, "{}", reloaded.body);
        let file = if changed.is_some() { "hangs" } else { "squelch.yml" };
        assert!(reloaded.body.contains(file) && reloaded.body.contains("no answer"), "{}", reloaded.body);
        server.signal(Signal::HUP);
        server.stop().await;
    };
    tokio::join!(
        reload("Meanwhile-1", None),
        reload("Meanwhile-2", Some(&configs[0])),
        reload("Meanwhile-3", Some(&configs[1]))
    );
    shown(&pager, "the pages", |i| about(i, "Meanwhile").len() == 3).await;
}

/// A start that hangs, and a log without a reader.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_ends_a_start_that_hangs() {
    let home = Home::new("");
    fifo(&home.path("squelch.yml"));
    let (_unread, err) = full_pipe();
    let mut server = Server::start(&home, &[], Stdio::null(), err);
    let tasks = format!("/proc/{}/task", server.process.id());
    until("it reads its configuration", async || {
        let tasks = std::fs::read_dir(&tasks).ok()?;
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
        tasks.filter_map(Result::ok).filter_map(name).find(|name| name.trim() == "file").map(drop)
    })
    .await;
    server.signal(Signal::TERM);
    until("the first signal is taken", async || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).ok()?;
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
        (u64::from_str_radix(pending.trim(), 16) == Ok(0)).then_some(())
    })
    .await;
    server.signal(Signal::TERM);
    assert_eq!(server.ended().await.code(), Some(1));
}
