//! `squelch demo`, as a new user sees it.

use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::child::Child;
use super::http;
use super::squelch::PROGRAM;
use super::until;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_pages_what_matters_and_stays_up_to_be_looked_at() {
    let mut demo = Child::start("demo", PROGRAM, &["demo", "--fast", "--keep"]).unwrap();
    let next = demo.line(&["open http://", "press Ctrl-C to stop"]).await;
    let planted = demo.line(&["The incident that mattered:"]).await;
    let pager = demo.line(&["The fake pager shows its pages at"]).await;
    let history = demo.said().lines().find(|line| line.contains("/history lists them")).unwrap().to_owned();
    let lines =
        [(&next, "<title>"), (&history, "<title>"), (&planted, "PaymentsDown"), (&pager, "PaymentsDown")];
    for (line, part) in lines {
        let (address, path) = line.split("http://").nth(1).unwrap().split_once('/').unwrap();
        let path = format!("/{}", path.split([' ', ',']).next().unwrap().trim_end_matches('.'));
        let page = http::get(address.parse::<SocketAddr>().unwrap(), &path).await.unwrap();
        assert!(page.status == 200 && page.body.contains(part), "{line}: {}", page.body);
    }
    let server =
        next.split_once("open ").unwrap().1.split(',').next().unwrap().trim_end_matches('/').to_owned();
    let closed = async || {
        let args = ["incidents", "--closed", "-o=json", &format!("--url={server}")].map(str::to_owned);
        let output =
            tokio::task::spawn_blocking(move || Command::new(PROGRAM).args(args).output().unwrap()).await;
        let listed: Value = serde_json::from_slice(&output.unwrap().stdout).ok()?;
        listed
            .as_array()?
            .iter()
            .any(|i| i["title"].as_str().unwrap().contains("PaymentsDown"))
            .then_some(listed)
    };
    let closed = until("the history lists what closed", closed).await;
    assert!(closed.as_array().unwrap().iter().all(|i| i["closedAt"].is_string()), "{closed:#}");
    demo.signal(Signal::INT);
    let status = demo.ended().await;
    let said = demo.said();
    assert_eq!(status.code(), Some(0), "{said}");
    let number = |row: &str| -> u64 {
        let line = said.lines().find(|line| line.trim_start().starts_with(row));
        let line = line.unwrap_or_else(|| panic!("no row {row:?} in:\n{said}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (before, after) = (number("pages without Squelch"), number("pages with Squelch"));
    assert_eq!(before, 43, "the storm is the same each time");
    assert!((1..=6).contains(&after), "{after} pages:\n{said}");
    assert_eq!(number("removed, in per cent"), (before - after) * 100 / before);
    // Both members of the pair send every step of the storm.
    let steps = 13 + 1 + 14 * 2 + 27 * 2 + 2;
    assert_eq!(number("alerts in, from both"), steps * 2);
    assert!(number("suppressed duplicate") >= steps, "{said}");
    let human = said.split_once("incidents at the pager").expect("the list of incidents").1;
    let paged = human.lines().filter(|line| line.contains("PaymentsDown")).count();
    assert_eq!(paged, 1, "{said}");
}
