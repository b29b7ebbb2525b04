//! The chats that Alertmanager 0.25 writes to.

use super::{Answered, Case};

const TAKEN: &str = r#"{"ok":true,"result":{"message_id":1,"date":1,"chat":{"id":5,"type":"group"}}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn telegram_gets_what_alertmanager_sends() {
    let integrations = "telegram_configs: [{bot_token: '1:t', chat_id: 5, api_url: 'http://SINK/telegram'}]";
    Case::new(integrations, |_| Answered::json(200, TAKEN)).differs_only(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webex_gets_what_alertmanager_sends() {
    let integrations = "webex_configs: [{room_id: r, api_url: 'http://SINK/webex', http_config: {authorization: {credentials: x}}}]";
    let case = Case::new(integrations, |_| Answered::json(200, "{}"));
    let why =
        "Squelch escapes the Markdown of values, or Webex would show no <full> and might mention people";
    case.differs_only(&[("firing/0/body/markdown", why), ("resolved/0/body/markdown", why)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wechat_gets_what_alertmanager_sends() {
    let integrations = "wechat_configs: [{corp_id: c, api_secret: s, agent_id: '1', to_user: '@all', api_url: 'http://SINK/wechat/', send_resolved: true}]";
    let case = Case::new(integrations, |request| {
        let token = r#"{"errcode":0,"errmsg":"ok","access_token":"tok","expires_in":7200}"#;
        let taken = r#"{"errcode":0,"errmsg":"ok"}"#;
        Answered::json(200, if request.path.contains("gettoken") { token } else { taken })
    });
    // Both get a token once.
    let case = Case { theirs: [2, 1], ours: [2, 1], ..case };
    let why = "Squelch links to its own address";
    case.differs_only(&[("firing/1/body/text/content", why), ("resolved/0/body/text/content", why)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn discord_gets_what_alertmanager_sends() {
    let integrations = "discord_configs: [{webhook_url: 'http://SINK/discord'}]";
    let plain = "Squelch escapes the Markdown of values";
    let nobody = "Squelch lets no label mention people";
    let case = Case::new(integrations, |_| Answered::text(204, "text/plain", ""));
    case.differs_only(&[
        ("firing/0/body/embeds/0/description", plain),
        ("resolved/0/body/embeds/0/description", plain),
        ("firing/0/body/allowed_mentions*", nobody),
        ("resolved/0/body/allowed_mentions*", nobody),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_what_alertmanager_sends() {
    let integrations = "\
slack_configs:
- api_url: 'http://SINK/hook'
  channel: '#ops'
  send_resolved: true
  fields: [{title: A, value: '{{ .CommonLabels.cluster }}', short: true}]
  actions: [{type: button, text: Runbook, url: 'http://r/'}]
  icon_emoji: ':fire:'
  link_names: true
";
    let (name, link) = ("Squelch has its own name", "Squelch links to its own address");
    let more = "Alertmanager's default text says nothing. Squelch lists the alerts and says why it writes";
    let when = "Slack shows the time of the notification";
    let intended = [
        ("username", name),
        ("attachments/0/title_link", link),
        ("attachments/0/fallback", link),
        ("attachments/0/text", more),
        ("attachments/0/footer", more),
        ("attachments/0/ts", when),
    ];
    let both = ["firing", "resolved"]
        .into_iter()
        .flat_map(|state| intended.iter().map(move |(path, why)| (format!("{state}/0/body/{path}"), *why)));
    let both: Vec<(String, &str)> = both.collect();
    let both: Vec<(&str, &str)> = both.iter().map(|(path, why)| (path.as_str(), *why)).collect();
    Case::new(integrations, |_| Answered::text(200, "text/plain", "ok")).differs_only(&both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_of_slack_that_renders_to_nothing_is_sent_so() {
    let integrations = "\
slack_configs:
- api_url: 'http://SINK/hook'
  send_resolved: true
  username: u
  title: '{{ (index .Alerts 0).StartsAt.IsZero }}'
  title_link: 'http://a/'
  text: '{{ if gt (len .Alerts.Resolved) 0 }}{{ (((index .Alerts 0).StartsAt.Add 28800e9).Sub (index .Alerts 0).StartsAt) }}{{ end }}'
  fallback: f
  footer: ''
";
    let when = "Slack shows the time of the notification";
    let when = [("firing/0/body/attachments/0/ts", when), ("resolved/0/body/attachments/0/ts", when)];
    Case::new(integrations, |_| Answered::text(200, "text/plain", "ok")).differs_only(&when).await;
}
