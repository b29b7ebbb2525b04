//! The page of a backtest: one file that needs no other, and says no more than text to a browser.

use serde_json::json;

use super::{CONFIG, Place, history};
use crate::ui::browser::{Browser, CONTRAST, Look, STRUCTURE, TOO_WIDE};

fn page(place: &Place, args: &[&str]) -> String {
    let output = place.backtest(&[&["--history=h.jsonl", "--html=page.html"], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(place.path("page.html")).unwrap()
}

#[test]
fn one_page_has_the_verdict_and_every_figure_with_its_table() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    place.write("fine.yml", CONFIG.replace("cluster", "instance").as_bytes());
    for args in [&[][..], &["--against=fine.yml"]] {
        let page = page(&place, args);
        for part in [
            "<!DOCTYPE html>",
            "As many pages as today (2)",
            "Pages per day",
            "2026-01-01: 2 pages",
            "Thu 08:00: 1 page<",
            "Within 15m",
            "In a page",
            "Pages by rule",
            "Down",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(page.contains("fine.yml"), !args.is_empty());
        // Everything that a browser would fetch, or run.
        for bad in ["http://", "https://", "url(", "<script", "<link rel=\"stylesheet\"", "src="] {
            let found = page.replace("http://www.w3.org/2000/svg", "");
            assert!(!found.contains(bad), "{bad}");
        }
    }
}

#[test]
fn what_an_alert_says_is_text() {
    let place = Place::new();
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>\\u202e\\\"'&";
    place.write("h.jsonl", history().replace("Down", hostile).as_bytes());
    let page = page(&place, &["--against=squelch.yml"]);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("<script") && !page.contains("<img") && !page.contains('\u{202e}'));
}

#[test]
fn a_page_that_cannot_be_written_is_named() {
    let place = Place::new();
    place.write("h.jsonl", history().as_bytes());
    let output = place.backtest(&["--history=h.jsonl", "--html=none/page.html"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("none/page.html: "), "{said}");
}

#[test]
fn a_run_that_fails_keeps_the_page_of_the_run_before() {
    let place = Place::new();
    place.write("page.html", b"the former page");
    let args = ["--prometheus=http://ada:secret@127.0.0.1:1", "--html=page.html"];
    let output = place.backtest(&args);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot reach http://127.0.0.1:1/api") && !said.contains("secret"), "{said}");
    assert_eq!(std::fs::read_to_string(place.path("page.html")).unwrap(), "the former page");
    place.backtest(&["--prometheus=http://127.0.0.1:1", "--html=new.html"]);
    assert!(!place.path("new.html").exists(), "no empty page");
    place.write("h.jsonl", history().as_bytes());
    assert!(page(&place, &[]).starts_with("<!DOCTYPE html>"));
}

/// Four weeks: each night a backup fails. On working days a service flaps, and once a week a host breaks.
fn weeks() -> String {
    let mut lines = Vec::new();
    let mut fires = |day: u32, minute: u32, length: u32, name: &str, severity: &str, instance: &str| {
        let at = |minute: u32| format!("2026-03-{day:02}T{:02}:{:02}:00Z", minute / 60, minute % 60);
        let (start, end) = (at(minute), at(minute + length));
        for (at, status) in [(&start, "firing"), (&end, "resolved")] {
            let line = super::line(at, status, instance, &start);
            lines.push((at.clone(), line.replace("Down", name).replace("critical", severity)));
        }
    };
    for day in 2..30 {
        fires(day, 130, 40, "BackupFailed", "warning", "store-1");
        // The second of March is a Monday.
        if (day - 2) % 7 < 5 {
            for flap in 0..(12 + day % 5) {
                let instance = format!("api-{}", day % 3);
                fires(day, 540 + flap * 12, 4, "HighLatency", "warning", &instance);
                fires(day, 900 + flap * 16, 2, "QueueGrows", "warning", "queue");
            }
        }
        if (day - 2) % 7 == 3 {
            fires(day, 600, 90, "HostDown", "critical", "db-1");
            fires(day, 640, 50, "ReplicationStopped", "critical", "db-2");
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_it_in_both_themes_and_on_a_phone() {
    let place = Place::new();
    place.write("h.jsonl", weeks().as_bytes());
    page(&place, &[]);
    let url = format!("file://{}", place.path("page.html").display());
    for (dark, width, name) in [
        (false, 1280, "backtest-light.png"),
        (true, 1280, "backtest-dark.png"),
        (false, 400, "backtest-phone.png"),
    ] {
        let Some(browser) = Browser::start(Look { dark, width }).await else { return };
        if width > 500 {
            // The picture shows more than a window does.
            browser.client.set_window_size(width, 1500).await.unwrap();
        }
        browser.open(&url).await;
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "{name}");
        browser.shoot(name).await;
        browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })").await;
        assert_eq!(browser.run(TOO_WIDE).await, json!(0), "{name}, all open");
        assert_eq!(browser.run(CONTRAST).await, json!([]), "{name}");
        // It has no views and changes nothing. One style is in the page.
        let lacks = browser.run(STRUCTURE).await;
        let lacks: Vec<&str> = lacks.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        let free = ["nav[", "[aria-live", "inline style or script"];
        assert!(lacks.iter().all(|one| free.iter().any(|free| one.starts_with(free))), "{lacks:?}");
        let unnamed = "return document.querySelectorAll('svg:not([role=img]):not([aria-hidden] *):not([aria-hidden])').length";
        assert_eq!(browser.run(unnamed).await, json!(0), "{name}");
        browser.close().await;
    }
}
