//! Jira: issues by label, transitions, and the errors of its API.

use serde_json::{Value, json};
use squelch::model::{Kind, Notification, Outcome};

use super::{Fake, lifecycle, of_incident, page, receiver, refused};
use crate::conformance::sink::{Answered, Request};
use crate::deliver::World;

#[derive(Default)]
struct Jira {
    issues: Vec<Issue>,
    searches: Vec<Value>,
    descriptions: usize,
    /// The search does not see the issues yet.
    lags: bool,
}

struct Issue {
    fields: Value,
    done: bool,
}

fn answer(vendor: &mut Jira, request: &Request) -> Answered {
    let has = |name: &str, value: &str| request.headers.iter().any(|(n, v)| n == name && v == value);
    if !has("authorization", "Basic dTpw") || !has("accept-language", "en") {
        return Answered::json(401, json!({"errorMessages": ["You are not authenticated"]}));
    }
    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
    let path = request.path.strip_prefix("/rest/api/2/").unwrap_or(&request.path);
    match (request.method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
        ("POST", ["search"]) => {
            let jql = body["jql"].as_str().unwrap().to_owned();
            vendor.searches.push(body);
            let wanted = |issue: &Issue| {
                let labels = issue.fields["labels"].as_array().unwrap();
                let labelled = labels.iter().any(|l| jql.contains(&format!("labels = {l}")));
                labelled && (!issue.done || jql.contains("resolutiondate"))
            };
            let found = vendor.issues.iter().enumerate().filter(|(_, issue)| wanted(issue) && !vendor.lags);
            let issues: Vec<Value> = found.map(|(i, issue)| shown(i, issue)).collect();
            Answered::json(200, json!({ "issues": issues }))
        }
        ("POST", ["issue"]) => {
            let fields = body["fields"].clone();
            let long = fields["summary"].as_str().unwrap().chars().count() > 255;
            let blank =
                fields["labels"].as_array().unwrap().iter().any(|l| l.as_str().unwrap().contains(' '));
            if long || blank {
                return Answered::json(400, json!({"errorMessages": [], "errors": {"summary": "is wrong"}}));
            }
            vendor.issues.push(Issue { fields, done: false });
            Answered::json(201, json!({"id": "1", "key": format!("OPS-{}", vendor.issues.len() - 1)}))
        }
        ("GET", ["issue", key]) => {
            let i = key.strip_prefix("OPS-").unwrap().strip_suffix("?fields=status").unwrap();
            let i: usize = i.parse().unwrap();
            match vendor.issues.get(i) {
                Some(issue) => Answered::json(200, shown(i, issue)),
                None => Answered::json(404, json!({"errorMessages": ["Issue does not exist"]})),
            }
        }
        ("PUT", ["issue", key]) => {
            let i: usize = key.strip_prefix("OPS-").unwrap().parse().unwrap();
            vendor.descriptions += usize::from(!body["fields"]["description"].is_null());
            for (name, value) in body["fields"].as_object().unwrap() {
                vendor.issues[i].fields[name] = value.clone();
            }
            Answered::text(204, "text/plain", "")
        }
        ("GET", ["issue", _, "transitions"]) => {
            let transitions = json!([{"id": "11", "name": "Close"}, {"id": "12", "name": "Open again"}]);
            Answered::json(200, json!({ "transitions": transitions }))
        }
        ("POST", ["issue", key, "transitions"]) => {
            let i: usize = key.strip_prefix("OPS-").unwrap().parse().unwrap();
            vendor.issues[i].done = body["transition"]["id"] == "11";
            Answered::text(204, "text/plain", "")
        }
        _ => Answered::json(404, json!({"errorMessages": ["not found"]})),
    }
}

fn shown(i: usize, issue: &Issue) -> Value {
    let key = if issue.done { "done" } else { "new" };
    json!({"key": format!("OPS-{i}"), "fields": {"status": {"name": "x", "statusCategory": {"key": key}}}})
}

fn config(fake: &Fake<Jira>, more: &str) -> String {
    let url = fake.sink.url("/rest/api/2/");
    format!(
        "jira_configs: [{{api_url: '{url}', project: OPS, issue_type: Bug, priority: High, \
         http_config: {{basic_auth: {{username: u, password: p}}}}, {more}}}]"
    )
}

const TEXTS: &str = "summary: down, description: much";

#[tokio::test]
async fn an_incident_is_one_issue_that_closes_and_opens_again() {
    let fake = Fake::start(answer).await;
    let more = format!(
        "{TEXTS}, labels: [alert, 'two words'], resolve_transition: Close, reopen_transition: Open again, \
         reopen_duration: 30d, fields: {{customfield_1: {{id: '5'}}, customfield_2: [a, true], customfield_3: 7}}"
    );
    let mut world = World::new(&receiver(&config(&fake, &more)));
    lifecycle(&mut world, "jira[0]").await;
    {
        let vendor = fake.state();
        assert_eq!(vendor.issues.len(), 1);
        let expected = json!({
            "project": {"key": "OPS"}, "issuetype": {"name": "Bug"}, "priority": {"name": "High"},
            "summary": "down", "description": "much", "labels": ["ALERT{key-1}", "alert", "two_words"],
            "customfield_1": {"id": 5}, "customfield_2": ["a", true], "customfield_3": 7,
        });
        assert_eq!(vendor.issues[0].fields, expected);
        assert!(vendor.issues[0].done);
        let jql = "(resolutiondate is EMPTY OR resolutiondate >= -43200m) AND project = \"OPS\" AND \
                   labels = \"ALERT{key-1}\" ORDER BY status ASC, resolutiondate DESC";
        assert_eq!(vendor.searches[0], json!({"jql": jql, "maxResults": 2, "fields": ["status"]}));
        assert!(vendor.searches[2]["jql"].as_str().unwrap().starts_with("statusCategory != Done AND"));
    }
    assert_eq!(page(&mut world, "jira[0]", 4).await.outcome, Outcome::Accepted);
    let vendor = fake.state();
    assert_eq!((vendor.issues.len(), vendor.issues[0].done), (1, false));
}

#[tokio::test]
async fn what_an_update_leaves_alone_is_not_sent() {
    let fake = Fake::start(answer).await;
    let more = "summary: down, description: {template: much, enable_update: false}";
    let mut world = World::new(&receiver(&config(&fake, more)));
    lifecycle(&mut world, "jira[0]").await;
    let vendor = fake.state();
    assert_eq!(vendor.descriptions, 0);
    assert!(!vendor.issues[0].done, "without a transition a person closes the issue");
}

#[tokio::test]
async fn nothing_is_opened_for_what_is_over() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, TEXTS)));
    world.deliverer.send(of_incident("jira[0]", 1, Kind::Resolve), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert_eq!((fake.state().issues.len(), fake.sink.count()), (0, 1));
}

#[tokio::test]
async fn a_search_that_lags_leads_to_no_second_issue() {
    let fake = Fake::start(answer).await;
    fake.state().lags = true;
    let more = format!("{TEXTS}, resolve_transition: Close");
    let mut world = World::new(&receiver(&config(&fake, &more)));
    let known = page(&mut world, "jira[0]", 1).await.message;
    assert_eq!(known.as_deref(), Some("OPS-0"));
    for (id, kind) in [(2, Kind::Update), (3, Kind::Resolve)] {
        let n = Notification { message: known.clone(), ..of_incident("jira[0]", id, kind) };
        world.deliverer.send(n, false);
        assert_eq!(world.report().await.outcome, Outcome::Accepted, "{kind:?}");
    }
    let done: Vec<bool> = fake.state().issues.iter().map(|issue| issue.done).collect();
    assert_eq!(done, [true]);
    // A person closed it, or deleted it: the incident gets another.
    for (id, gone) in [(4, "OPS-0"), (5, "OPS-9")] {
        let n = Notification { message: Some(gone.into()), ..of_incident("jira[0]", id, Kind::Page) };
        world.deliverer.send(n, false);
        let made = format!("OPS-{}", id - 3);
        assert_eq!(world.report().await.message.as_deref(), Some(&*made));
    }
}

#[tokio::test]
async fn a_resolve_closes_each_issue_of_the_incident() {
    let fake = Fake::start(answer).await;
    let more = format!("{TEXTS}, resolve_transition: Close");
    let mut world = World::new(&receiver(&config(&fake, &more)));
    fake.state().lags = true;
    // The answer to the first creation is lost, and a search does not see the issue.
    page(&mut world, "jira[0]", 1).await;
    let known = page(&mut world, "jira[0]", 2).await.message;
    assert_eq!(known.as_deref(), Some("OPS-1"));
    fake.state().lags = false;
    let n = Notification { message: known, ..of_incident("jira[0]", 3, Kind::Resolve) };
    world.deliverer.send(n, false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    let done: Vec<bool> = fake.state().issues.iter().map(|issue| issue.done).collect();
    assert_eq!(done, [true, true]);
}

#[tokio::test]
async fn errors_of_jira_are_told_apart() {
    let fake = Fake::start(answer).await;
    let more = format!("{TEXTS}, resolve_transition: Done");
    let mut world = World::new(&receiver(&config(&fake, &more)));
    fake.answer(Answered::json(429, json!({})).header("Retry-After", "0"));
    fake.answer(Answered::text(200, "text/html", "<html>sign in</html>"));
    let report = page(&mut world, "jira[0]", 1).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 3));
    world.deliverer.send(of_incident("jira[0]", 2, Kind::Resolve), false);
    let rejection = world.rejection().await;
    assert!(
        rejection.detail.contains("no transition \"Done\" now. It has Close, Open again"),
        "{rejection:?}"
    );
    fake.answer(Answered::json(400, json!({"errors": {"priority": "is not on the screen"}})));
    let other = of_incident("jira[0]", 3, Kind::Page);
    world.deliverer.send(Notification { dedup_key: "key-2".into(), ..other }, false);
    assert_eq!(world.rejection().await.reason, "clientError");
}

#[test]
fn what_jira_cannot_use_is_refused_with_its_key() {
    let said = refused("jira_configs: [{api_type: server, summary: [a]}]");
    for right in [
        "Write api_url here, or jira_api_url in global",
        "jira_configs has no project",
        "jira_configs has no issue_type",
        "Write auto, cloud or datacenter",
        "summary is a list",
    ] {
        assert!(said.contains(right), "{said}");
    }
}
