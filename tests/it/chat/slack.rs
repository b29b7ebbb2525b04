//! Slack: incoming webhooks, and `chat.postMessage` and `chat.update` of a bot.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use squelch::model::{Cause, Duration, Kind, Notification, NotificationId, Outcome};

use super::{Said, Seen, Vendor, page, refused, resolve};
use crate::deliver::World;
use crate::e2e::sender::{Told, body};
use crate::e2e::squelch::Home;
use crate::e2e::until;

const HOOK: &str = "slack_configs: [{api_url: VENDOR/services/T0/B0/x";
const BOT: &str = "slack_configs: [{app_url: VENDOR/api/chat.postMessage, app_token: xoxb-1, channel: '#alerts', update_message: true";

/// Slack for a bot. It keeps the messages of its one channel, and always answers 200. Messages of `locked`
/// cannot be changed.
fn bot(locked: bool) -> impl FnMut(&Seen) -> Said + Send {
    let mut messages: BTreeMap<String, Value> = BTreeMap::new();
    move |request| {
        let no = |error: &str| (200, json!({"ok": false, "error": error}).to_string());
        if request.header("authorization") != Some("Bearer xoxb-1") {
            return no("invalid_auth");
        }
        let message = request.json();
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let ts = match request.path.as_str() {
            "/api/chat.postMessage" if !["#alerts", "C0A1"].contains(&&*text("channel")) => {
                return no("channel_not_found");
            }
            "/api/chat.postMessage" => {
                let thread = text("thread_ts");
                if !thread.is_empty() && !messages.contains_key(&thread) {
                    return no("thread_not_found");
                }
                format!("1503435956.00024{}", messages.len())
            }
            // It knows a channel by its id alone.
            "/api/chat.update" if text("channel") != "C0A1" => return no("channel_not_found"),
            "/api/chat.update" if locked => return no("edit_window_closed"),
            "/api/chat.update" if !messages.contains_key(&text("ts")) => return no("message_not_found"),
            "/api/chat.update" => text("ts"),
            _ => return (404, String::new()),
        };
        messages.insert(ts.clone(), message.clone());
        (200, json!({"ok": true, "channel": "C0A1", "ts": ts, "message": message}).to_string())
    }
}

#[tokio::test]
async fn a_report_is_a_code_block_with_aligned_columns() {
    let vendor = Vendor::start(|_| (200, "ok".into())).await;
    let text = "# Noise\n\n| Rule | Pages |\n| --- | ---: |\n| Disk\\_Full | 12 |\n| A\\<b | 3 |\n";
    let report = Notification { kind: Kind::Digest, cause: Cause::Report { text: text.into() }, ..page() };
    assert_eq!(vendor.take(&format!("{HOOK}}}]"), &[report]).await[0].outcome, Outcome::Accepted);
    let shown = vendor.seen()[0].json()["attachments"][0]["text"].clone();
    assert_eq!(shown, "```\nNoise\n\nRule       Pages\nDisk_Full     12\nA&lt;b            3\n```");
}

fn update(id: u64) -> Notification {
    Notification { id: NotificationId(id), kind: Kind::Update, ..page() }
}

/// The path, the message's own name and the thread of each request.
fn told(vendor: &Vendor) -> Vec<(String, String, String)> {
    let one = |seen: &Seen| {
        let text = |key: &str| seen.json()[key].as_str().unwrap_or_default().to_owned();
        (seen.path.replace("/api/chat.", ""), text("ts"), text("thread_ts"))
    };
    vendor.seen().iter().map(one).collect()
}

fn row(method: &str, ts: &str, thread: &str) -> (String, String, String) {
    (method.into(), ts.into(), thread.into())
}

#[tokio::test]
async fn a_bot_posts_once_and_changes_its_message() {
    let vendor = Vendor::start(bot(false)).await;
    let end = Notification { id: NotificationId(3), ..resolve() };
    let reports = vendor.take(&format!("{BOT}, send_resolved: true}}]"), &[page(), update(2), end]).await;
    assert!(reports.iter().all(|report| report.outcome == Outcome::Accepted && report.attempts == 1));
    let names: Vec<_> = reports.iter().map(|report| report.message.as_deref()).collect();
    let ts = "1503435956.000240";
    assert_eq!(names, [Some("C0A1 1503435956.000240"), None, None]);
    let expected = [
        row("postMessage", "", ""),
        row("update", ts, ""),
        row("postMessage", "", ts),
        row("update", ts, ""),
        row("postMessage", "", ts),
    ];
    assert_eq!(told(&vendor), expected);
    let seen = vendor.seen();
    let color = |n: usize| seen[n].json()["attachments"][0]["color"].clone();
    assert_eq!((color(0), color(1), color(3)), (json!("danger"), json!("danger"), json!("good")));
    let reply = seen[4].json();
    assert!(reply["text"].as_str().unwrap().starts_with("[RESOLVED] HighLatency"), "{reply}");
}

/// The whole program: the name of the message is in the journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_remembers_the_message() {
    let vendor = Vendor::start(bot(false)).await;
    let receiver = BOT.replace("VENDOR", &format!("http://{}", vendor.address));
    let home = Home::new(&format!(
        "route: {{receiver: r, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: r, {receiver}, send_resolved: true}}]}}]\n\
         noise: {{default: {{resolve_hold: 0s, digest: 0s}}}}\n"
    ));
    let squelch = home.serve().await;
    let alert = Told::fires("DiskFull", "host", "a");
    squelch.hook(&body("http://am-0", std::slice::from_ref(&alert))).await;
    until("a message", async || (vendor.seen().len() == 1).then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[alert.resolved()])).await;
    until("its change and a reply", async || (vendor.seen().len() == 3).then_some(())).await;
    let ts = "1503435956.000240";
    let expected = [row("postMessage", "", ""), row("update", ts, ""), row("postMessage", "", ts)];
    assert_eq!(told(&vendor), expected);
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_message_that_cannot_be_changed_is_posted_anew() {
    let vendor = Vendor::start(bot(true)).await;
    let reports = vendor.take(&format!("{BOT}}}]"), &[page(), update(2)]).await;
    assert_eq!(reports[1].message.as_deref(), Some("C0A1 1503435956.000241"));
    let expected =
        [row("postMessage", "", ""), row("update", "1503435956.000240", ""), row("postMessage", "", "")];
    assert_eq!(told(&vendor), expected);
}

#[tokio::test]
async fn without_update_message_an_incident_is_one_thread() {
    let vendor = Vendor::start(bot(false)).await;
    let config = format!("{}, send_resolved: true}}]", BOT.replace(", update_message: true", ""));
    let interval = Duration::from_hours(4);
    let repeat = Notification { cause: Cause::Repeated { interval }, ..update(3) };
    let end = Notification { id: NotificationId(4), ..resolve() };
    let reports = vendor.take(&config, &[page(), update(2), repeat, end]).await;
    let names: Vec<_> = reports.iter().map(|report| report.message.as_deref()).collect();
    assert_eq!(names, [Some("C0A1 1503435956.000240"), None, None, None]);
    let reply = row("postMessage", "", "1503435956.000240");
    assert_eq!(told(&vendor), [row("postMessage", "", ""), reply.clone(), reply.clone(), reply]);
    let shown: Vec<_> = vendor.seen().iter().map(|seen| seen.json()["reply_broadcast"] == true).collect();
    assert_eq!(shown, [false, false, true, false], "people see a repeat");
    assert_eq!(vendor.seen()[3].json()["channel"], "C0A1");
}

#[tokio::test]
async fn an_incident_whose_page_is_gone_gets_a_new_message() {
    let vendor = Vendor::start(bot(false)).await;
    let config = format!("{}}}]", BOT.replace(", update_message: true", ""));
    let gone = Notification { message: Some("C0A1 1.1".into()), ..update(2) };
    let reports = vendor.take(&config, &[gone]).await;
    assert_eq!(reports[0].message.as_deref(), Some("C0A1 1503435956.000240"));
    assert_eq!(told(&vendor), [row("postMessage", "", "1.1"), row("postMessage", "", "")]);
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_not_shown() {
    let vendor = Vendor::start(bot(false)).await;
    let (reason, detail) = vendor.refuses(&format!("{}}}]", BOT.replace("xoxb-1", "xoxb-2"))).await;
    assert!(reason == "authError" && detail.contains("invalid_auth") && !detail.contains("xoxb"), "{detail}");
}

#[tokio::test]
async fn a_message_has_alertmanagers_fields() {
    let vendor = Vendor::start(|_| (200, "ok".into())).await;
    let more = ", channel: '#ops', username: u, color: '#123456', title: 't firing', title_link: 'http://l/', \
         pretext: p, text: x, message_text: m, footer: o, fallback: f, callback_id: c, icon_emoji: ':e:', \
         icon_url: 'http://i/', image_url: 'http://m/', thumb_url: 'http://b/', link_names: true, short_fields: true, \
         mrkdwn_in: [text], fields: [{title: A, value: r}, {title: B, value: c, short: false}], \
         actions: [{type: button, text: Runbook, url: 'http://r/', name: n}, {type: button, text: Ack, name: ack, \
         value: v, style: danger, confirm: {text: Sure?, title: T, ok_text: Yes, dismiss_text: No}}], timeout: 3s}]";
    vendor.accepts(&format!("{HOOK}{more}"), page()).await;
    let mut message = vendor.seen()[0].json();
    message["attachments"][0].as_object_mut().unwrap().remove("ts");
    let expected = json!({
        "channel": "#ops", "username": "u", "icon_emoji": ":e:", "icon_url": "http://i/", "link_names": true,
        "text": "m",
        "attachments": [{
            "title": "t firing", "title_link": "http://l/", "pretext": "p", "text": "x", "fallback": "f",
            "callback_id": "c", "image_url": "http://m/", "thumb_url": "http://b/", "footer": "o",
            "color": "#123456", "mrkdwn_in": ["text"],
            "fields": [
                {"title": "A", "value": "r", "short": true}, {"title": "B", "value": "c", "short": false},
            ],
            "actions": [
                {"type": "button", "text": "Runbook", "url": "http://r/"},
                {
                    "type": "button", "text": "Ack", "name": "ack", "value": "v", "style": "danger",
                    "confirm": {"text": "Sure?", "title": "T", "ok_text": "Yes", "dismiss_text": "No"},
                },
            ],
        }],
    });
    assert_eq!(message, expected);
}

/// As in Alertmanager, whose default of `color` is this template.
#[tokio::test]
async fn a_file_of_templates_may_replace_the_colour() {
    let vendor = Vendor::start(|_| (200, "ok".into())).await;
    let folder = tempfile::tempdir().unwrap();
    let template = r##"{{ define "slack.default.color" }}#{{ len .Alerts }}{{ .Status }}{{ end }}"##;
    std::fs::write(folder.path().join("a.tmpl"), template).unwrap();
    let text = format!(
        "templates: ['*.tmpl']\nroute: {{receiver: r}}\nreceivers:\n- name: r\n  slack_configs: \
         [{{api_url: 'http://{}/', send_resolved: true}}]\n",
        vendor.address
    );
    let config = squelch::config::parse(&text, "squelch.yml", folder.path()).unwrap();
    let mut world = World::new(&config.receivers);
    for (id, n) in [(1, page()), (2, resolve())] {
        let place = ("r".into(), "slack[0]".into());
        let n = Notification { id: NotificationId(id), receiver: place.0, integration: place.1, ..n };
        world.deliverer.send(n, false);
        assert_eq!(world.report().await.outcome, Outcome::Accepted);
    }
    let colour = |seen: &Seen| seen.json()["attachments"][0]["color"].as_str().unwrap().to_owned();
    let count = page().alerts.len();
    let expected = [format!("#{count}firing"), format!("#{count}resolved")];
    assert_eq!(vendor.seen().iter().map(colour).collect::<Vec<_>>(), expected);
}

#[test]
fn what_alertmanager_refuses_is_refused() {
    let api = "https://slack.com/api/chat.postMessage";
    for (keys, says) in [
        ("channel: c".to_owned(), "no URL"),
        ("api_url: 'http://a/', api_url_file: f".into(), "Keep one"),
        ("api_url: 'http://a/', app_token: t".into(), "api_url and app_token. Keep one"),
        ("app_token: t, app_token_file: f".into(), "Keep one"),
        ("app_token: t, http_config: {authorization: {credentials: x}}".into(), "Keep one"),
        ("api_url: 'http://a/', update_message: true".into(), "update_message needs a bot"),
        ("api_url: 'http://a/', fields: [{title: t}]".into(), "without title or value"),
        ("api_url: 'http://a/', actions: [{type: button, url: 'http://x/'}]".into(), "without type or text"),
        ("api_url: 'http://a/', actions: [{type: button, text: t}]".into(), "without url or name"),
        (
            "api_url: 'http://a/', actions: [{type: b, text: t, name: n, confirm: {title: t}}]".into(),
            "no text",
        ),
    ] {
        let said = refused(&format!("slack_configs: [{{{keys}}}]"));
        assert!(said.contains(says), "{keys}: {said}");
    }
    let good = format!("slack_configs: [{{api_url: '{api}', update_message: true}}]");
    let text = format!("route: {{receiver: r}}\nreceivers:\n- name: r\n  {good}\n");
    let config = squelch::config::parse(&text, "squelch.yml", std::path::Path::new("/etc/squelch")).unwrap();
    // A change of the message disturbs no one.
    assert!(config.policy.receivers["r"].integrations[0].send_updates);
}
