//! The receivers that call people: PagerDuty, Opsgenie, Splunk On-Call and Amazon SNS.

use serde_json::json;

use super::{Answered, Case, Request};

fn taken(_: &Request) -> Answered {
    Answered::json(202, r#"{"status":"success","result":"success","requestId":"r"}"#)
}

fn published(_: &Request) -> Answered {
    let body = "<PublishResponse xmlns=\"https://sns.amazonaws.com/doc/2010-03-31/\"><PublishResult>\
                <MessageId>m</MessageId></PublishResult></PublishResponse>";
    Answered::text(200, "text/xml", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn opsgenie_gets_what_alertmanager_sends() {
    let integrations = "
opsgenie_configs:
- api_key: k
  api_url: http://SINK/opsgenie/
  message: the message
  description: the description
  source: the source
  tags: 'a,b'
  note: the note
  priority: P2
  entity: the entity
  actions: 'x,y'
  update_alerts: true
  details: {team: t}
  responders: [{name: a, type: team}, {username: u, type: user}]
";
    let case = Case { theirs: [3, 1], ours: [3, 1], ..Case::new(integrations, taken) };
    case.differs_only(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn splunk_on_call_gets_what_alertmanager_sends() {
    let integrations = "
victorops_configs:
- api_key: k
  routing_key: r
  api_url: http://SINK/victorops/
  message_type: WARNING
  state_message: the message
  entity_display_name: the name
  monitoring_tool: the tool
  custom_fields: {team: t}
";
    Case::new(integrations, taken).differs_only(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sns_gets_what_alertmanager_sends() {
    let integrations = "
sns_configs:
- api_url: http://SINK/sns
  topic_arn: 'arn:aws:sns:us-east-2:123456789012:t'
  sigv4: {region: us-east-2, access_key: a, secret_key: b}
  subject: the subject
  message: the message
  attributes: {team: t}
";
    let signature = "the signature covers the time, and the order of the form";
    Case::new(integrations, published)
        .differs_only(&[
            ("firing/0/headers/authorization", signature),
            ("resolved/0/headers/authorization", signature),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pagerduty_gets_what_alertmanager_sends() {
    let integrations = "
pagerduty_configs:
- routing_key: 0123456789abcdef0123456789abcdef
  url: http://SINK/v2/enqueue
  description: the summary
  client: the client
  client_url: http://client.example.org/
  source: the source
  severity: warning
  component: the component
  group: the group
  class: the class
  details: {firing: f, resolved: r, num_firing: n, num_resolved: m, team: t}
  images: [{src: 'https://images.example.org/a.png', alt: a, href: 'http://images.example.org/'}]
";
    let resolve = "PagerDuty reads only the key of a resolve";
    let links = "runbooks and rules are links";
    Case::new(integrations, taken)
        .differs_only(&[
            ("firing/0/body/links*", links),
            ("firing/0/body/payload/timestamp", "the incident began before the event"),
            ("firing/0/body/payload/custom_details/why", "the page says why it was sent"),
            (
                "firing/0/body/payload/custom_details/generation",
                "the page says which incident of its group it is",
            ),
            ("resolved/0/body/client*", resolve),
            ("resolved/0/body/images*", resolve),
            ("resolved/0/body/payload*", resolve),
        ])
        .await;
}

/// Alertmanager 0.25 has one address of PagerDuty's old API, so both programs reach it through the sink as a
/// proxy.
#[tokio::test(flavor = "multi_thread")]
async fn pagerdutys_old_api_gets_what_alertmanager_sends() {
    let integrations = "
pagerduty_configs:
- service_key: 0123456789abcdef0123456789abcdef
  description: the summary
  client: the client
  client_url: http://client.example.org/
  details: {firing: f, resolved: r, num_firing: n, num_resolved: m, team: t}
  http_config: {proxy_url: 'http://SINK', tls_config: {ca_file: FOLDER/ca.pem}}
";
    let of_v2 = "Alertmanager writes empty fields of the newer API";
    let (why, generation) =
        ("the page says why it was sent", "the page says which incident of its group it is");
    Case::new(integrations, taken)
        .differs_only(&[
            ("firing/0/body/event_action", of_v2),
            ("firing/0/body/payload", of_v2),
            ("resolved/0/body/event_action", of_v2),
            ("resolved/0/body/payload", of_v2),
            ("firing/0/body/contexts*", "runbooks and rules are links"),
            ("firing/0/body/details/why", why),
            ("firing/0/body/details/generation", generation),
            ("resolved/0/body/details/why", why),
            ("resolved/0/body/details/generation", generation),
        ])
        .await;
}

/// Alertmanager 0.25 has one address of Pushover, too.
#[tokio::test(flavor = "multi_thread")]
async fn pushover_gets_what_alertmanager_sends() {
    let integrations = "
pushover_configs:
- user_key: u
  token: t
  title: the title
  message: the message
  url: http://url.example.org/
  priority: '1'
  sound: siren
  retry: 1m
  expire: 1h
  html: true
  http_config: {proxy_url: 'http://SINK', tls_config: {ca_file: FOLDER/ca.pem}}
";
    let case = Case::new(integrations, |_| Answered::json(200, r#"{"status":1,"request":"r"}"#));
    let Some(mut requests) = case.run().await else { return };
    // Alertmanager writes into the URL the value that Squelch writes into the body.
    for request in requests.theirs.iter_mut().chain(&mut requests.ours).flatten() {
        if request["body"] == json!("") {
            request["body"] = request["query"].take();
            request["query"] = json!({});
        }
    }
    let form = "Squelch sends a form, so that no URL shows the token";
    let device = "newer releases of Alertmanager have this field";
    requests.differ_only(&[
        ("firing/0/body/device", device),
        ("resolved/0/body/device", device),
        ("firing/0/headers/content-type", form),
        ("resolved/0/headers/content-type", form),
    ]);
}
