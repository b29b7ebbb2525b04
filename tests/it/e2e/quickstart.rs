//! docs/quickstart.md, step by step, with its own text. Only the ports are others.

use super::child::Child;
use super::squelch::{Home, PROGRAM};
use super::until;
use crate::documents::blocks;
use crate::repository;

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_ends_with_a_page_and_its_reason() {
    let text = repository::read("docs/quickstart.md");
    let shell = blocks(&text, "sh").join("\n");
    let line =
        |start: &str| shell.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"));
    assert_eq!(line("squelch fake-pager"), "squelch fake-pager");
    assert_eq!(line("squelch serve"), "squelch serve --config.file=squelch.yml --storage.path=data/");

    let pager = Child::start("pager", PROGRAM, &["fake-pager", "--web.listen-address=127.0.0.1:0"]).unwrap();
    let listening = pager.line(&["fake pager on http://"]).await;
    let address = listening.split("http://").nth(1).unwrap().trim();
    let home = Home::new(&blocks(&text, "yaml")[0].replace("127.0.0.1:9196", address));
    let squelch = home.serve().await;

    // curl sends the body that the page has, to the path that the page has.
    let curl = shell.split("curl ").nth(1).unwrap();
    let path = curl.split("127.0.0.1:9096").nth(1).unwrap().split(' ').next().unwrap();
    let body = curl.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
    let answer = squelch.post(path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    pager.line(&["Down"]).await;

    let asked = line("squelch explain").trim_start_matches("squelch ").to_owned();
    let url = format!("--url=http://{}", squelch.address);
    let explained = until("the decision log has it", async || {
        let args: Vec<String> = asked.split(' ').map(str::to_owned).chain([url.clone()]).collect();
        let run = || std::process::Command::new(PROGRAM).args(args).output().unwrap();
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    });
    let explained = explained.await;
    assert!(explained.contains("page"), "{explained}");
    assert_eq!(squelch.stop().await.code(), Some(0));
}
