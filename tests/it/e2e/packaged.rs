//! The parts that packages need: the protocol of systemd, settings from the environment, completions, and
//! manual pages.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use super::child::Child;
use super::squelch::{Home, PROGRAM};

const CONFIG: &str = "\
route: {receiver: console, group_by: [alertname]}
receivers: [{name: console, console_configs: [{}]}]
";

/// The next message that the process sends to systemd.
fn told(systemd: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = systemd.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_when_the_server_is_ready_reloads_and_ends() {
    let home = Home::new(CONFIG);
    let path = home.path("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let child = home.launch_with("127.0.0.1:0".parse().unwrap(), &[("NOTIFY_SOCKET", &path)]);
    let squelch = Home::ready(child).await;
    assert_eq!(told(&systemd), "READY=1");
    squelch.child.signal(Signal::HUP);
    assert_eq!([told(&systemd), told(&systemd)], ["RELOADING=1", "READY=1"]);
    assert_eq!(squelch.stop().await.code(), Some(0));
    assert_eq!(told(&systemd), "STOPPING=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_stands_in_for_the_flags_of_serve() {
    let home = Home::new(CONFIG);
    let (config, data) = (home.path("squelch.yml"), home.path("data"));
    let environment = [
        ("SQUELCH_CONFIG_FILE", config.as_path()),
        ("SQUELCH_STORAGE_PATH", &data),
        ("SQUELCH_WEB_LISTEN_ADDRESS", Path::new("127.0.0.1:0,127.0.0.2:0")),
        ("SQUELCH_WEB_EXTERNAL_URL", Path::new("https://ops.example/squelch")),
        ("SQUELCH_WEB_ROUTE_PREFIX", Path::new("/")),
        ("SQUELCH_LOG_FORMAT", Path::new("logfmt")),
    ];
    let child = Child::start_with("squelch", PROGRAM, &["serve"], &environment).unwrap();
    child.line(&["msg=listening", "address=127.0.0.2:"]).await;
    let squelch = Home::ready(child).await;
    assert!(data.join("squelch.db").exists());
    assert_eq!(squelch.stop().await.code(), Some(0));

    // A value that is wrong is named with its variable.
    let wrong = Command::new(PROGRAM).arg("serve").env("SQUELCH_LOG_LEVEL", "loud").output().unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("loud") && said.contains("possible values: debug, info, warn, error"), "{said}");
}

#[test]
fn shells_read_the_completions() {
    let home = Home::new(CONFIG);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = Command::new(PROGRAM).args(["completion", shell]).output().unwrap();
        let text = String::from_utf8(printed.stdout).unwrap();
        assert!(printed.status.success() && text.contains("fake-pager"), "{shell}: {text}");
        std::fs::write(home.path(shell), text).unwrap();
    }
    // bash takes the file, and then knows the subcommands.
    let script = "source ./bash && COMP_WORDS=(squelch inc) COMP_CWORD=1 && _squelch squelch inc squelch && \
                  echo \"${COMPREPLY[*]}\"";
    let said = Command::new("bash").args(["-c", script]).current_dir(home.path("")).output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), "incidents incident", "{:?}", said.stderr);
}

#[test]
fn each_command_has_a_manual_page() {
    let home = Home::new(CONFIG);
    let directory = home.path("man/man1");
    let written = Command::new(PROGRAM).arg("man").arg(&directory).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let mut pages: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for page in ["squelch.1", "squelch-serve.1", "squelch-silence-add.1"] {
        assert!(pages.iter().any(|other| other == page), "{pages:?}");
    }
    assert!(!pages.iter().any(|page| page.contains("help")), "{pages:?}");
    let serve = std::fs::read_to_string(directory.join("squelch-serve.1")).unwrap();
    assert!(serve.contains(".TH squelch-serve 1") && serve.contains("SQUELCH_STORAGE_PATH"), "{serve}");

    let blocked = Command::new(PROGRAM).arg("man").arg(home.path("squelch.yml")).output().unwrap();
    let said = String::from_utf8(blocked.stderr).unwrap();
    assert_eq!(blocked.status.code(), Some(1), "{said}");
    assert!(said.contains("squelch.yml"), "{said}");
}
