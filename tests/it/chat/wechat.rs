//! WeCom: `gettoken` and `message/send`.

use serde_json::json;
use squelch::model::{Notification, NotificationId, Outcome};

use super::{Said, Seen, Vendor, page, refused, resolve};

const CONFIG: &str = "wechat_configs: [{api_url: VENDOR/cgi-bin/, corp_id: wwc0rp, api_secret: 's3cr3t&', agent_id: '1000002', to_user: '@all'";

/// WeCom as it answers: it gives tokens for one secret, and lets each token end after `messages`.
fn wecom(messages: usize) -> impl FnMut(&Seen) -> Said + Send {
    let (mut given, mut left) = (0, 0);
    move |request| {
        let said = |code: i64, text: &str| (200, json!({"errcode": code, "errmsg": text}).to_string());
        if request.path.starts_with("/cgi-bin/gettoken?") {
            assert_eq!(request.method, "GET");
            if request.query("corpid") != Some("wwc0rp") {
                return said(40013, "invalid corpid");
            }
            if request.query("corpsecret") != Some("s3cr3t%26") {
                return said(40001, "invalid credential");
            }
            (given, left) = (given + 1, messages);
            let token = format!("token-{given}");
            let body = json!({"errcode": 0, "errmsg": "ok", "access_token": token, "expires_in": 7200});
            return (200, body.to_string());
        }
        assert!(request.path.starts_with("/cgi-bin/message/send?"), "{}", request.path);
        if left == 0 || request.query("access_token") != Some(&format!("token-{given}")) {
            return said(42001, "access_token expired");
        }
        left -= 1;
        let message = request.json();
        let kind = message["msgtype"].as_str().unwrap();
        let content = message[kind]["content"].as_str().unwrap();
        match content.len() {
            0 => said(44004, "empty content"),
            _ if message["agentid"] != "1000002" => said(40056, "invalid agentid"),
            n if n > if kind == "text" { 2048 } else { 4096 } => said(45002, "content size out of limit"),
            _ => said(0, "ok"),
        }
    }
}

fn numbered(id: u64) -> Notification {
    Notification { id: NotificationId(id), ..page() }
}

#[tokio::test]
async fn a_token_is_kept_until_it_ends() {
    let vendor = Vendor::start(wecom(2)).await;
    let all: Vec<_> = (1..=3).map(numbered).collect();
    let reports = vendor.take(&format!("{CONFIG}}}]"), &all).await;
    assert!(reports.iter().all(|report| report.outcome == Outcome::Accepted && report.attempts == 1));
    let paths: Vec<String> =
        vendor.seen().iter().map(|seen| seen.path.trim_start_matches("/cgi-bin/").to_owned()).collect();
    assert_eq!(
        paths,
        [
            "gettoken?corpid=wwc0rp&corpsecret=s3cr3t%26",
            "message/send?access_token=token-1",
            "message/send?access_token=token-1",
            // It ended: one attempt gets another one.
            "message/send?access_token=token-1",
            "gettoken?corpid=wwc0rp&corpsecret=s3cr3t%26",
            "message/send?access_token=token-2",
        ]
    );
}

#[tokio::test]
async fn a_message_has_alertmanagers_fields() {
    let vendor = Vendor::start(wecom(9)).await;
    let more = ", to_party: p, to_tag: t, message: 'a resolved', message_type: markdown}]";
    vendor.accepts(&format!("{CONFIG}{more}"), resolve()).await;
    let expected = json!({
        "text": {"content": ""}, "touser": "@all", "toparty": "p", "totag": "t", "agentid": "1000002", "safe": "0",
        "msgtype": "markdown", "markdown": {"content": "a resolved"},
    });
    assert_eq!(vendor.seen()[1].json(), expected);
}

#[tokio::test]
async fn a_long_message_is_cut_where_wecom_counts() {
    let vendor = Vendor::start(wecom(9)).await;
    for more in ["", ", message_type: markdown"] {
        vendor.accepts(&format!("{CONFIG}, message: '{}'{more}}}]", "監".repeat(2_000)), page()).await;
    }
    assert!(vendor.seen()[1].json()["text"]["content"].as_str().unwrap().ends_with("監…"));
}

#[tokio::test]
async fn a_code_in_a_200_is_a_refusal() {
    let vendor = Vendor::start(wecom(9)).await;
    let (reason, detail) = vendor.refuses(&format!("{}}}]", CONFIG.replace("1000002", "7"))).await;
    assert!(reason == "authError" && detail.contains("invalid agentid"), "{reason} {detail}");
    let (reason, detail) = vendor.refuses(&format!("{}}}]", CONFIG.replace("s3cr3t", "hunter22"))).await;
    assert!(reason == "authError" && !detail.contains("hunter22"), "{reason} {detail}");
}

#[test]
fn what_alertmanager_refuses_is_refused() {
    for (keys, says) in [
        ("corp_id: c", "no secret"),
        ("api_secret: s", "no corp_id"),
        ("corp_id: c, api_secret: s, api_secret_file: f", "Keep one"),
        ("corp_id: c, api_secret: s, message_type: html", "message_type is \"html\". Write text or markdown"),
    ] {
        let said = refused(&format!("wechat_configs: [{{{keys}}}]"));
        assert!(said.contains(says), "{keys}: {said}");
    }
}
