//! API v1 of the running program against the description that it gives of itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use squelch::commands::fake_pager::{FakePager, Fault};

use super::http::{self, Answer};
use super::sender::{Told, body};
use super::squelch::{Home, Squelch};
use super::{pager, until};

/// Something of everything: accepted and refused pages, a budget, held and muted alerts.
fn config(pager: &FakePager) -> String {
    format!(
        "\
route:
  receiver: pagerduty
  group_by: [alertname]
  routes: [{{receiver: bad, matchers: ['to=\"bad\"']}}]
receivers:
  - name: pagerduty
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef, url: '{}'}}]
  - name: bad
    fallback: pagerduty
    webhook_configs: [{{url: '{}'}}]
severities:
  label: severity
  levels: [{{name: critical, never_hold: true}}, {{name: warning, hold: 52w}}]
noise: {{default: {{budget: {{pages: 2, per: 12h}}, limit: {{pages: 0}}, storm: {{start: 0}}}}}}
self_check: {{enabled: false}}
",
        pager.url("/v2/enqueue"),
        pager.url("/webhook/bad"),
    )
}

async fn started() -> (FakePager, Home, Squelch) {
    let pager = pager().await;
    pager.script(Fault { next: 1000, answer: Some(400), path: "/webhook/bad".into(), ..Fault::default() });
    let home = Home::new(&config(&pager));
    let squelch = home.serve().await;
    (pager, home, squelch)
}

async fn ask(squelch: &Squelch, method: &str, path: &str, body: &str) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        squelch.address,
        body.len()
    );
    http::send(squelch.address, &head, body.as_bytes()).await.unwrap()
}

/// The description.
struct Described(Value);

impl Described {
    async fn read(squelch: &Squelch) -> Described {
        let answer = squelch.get("/api/v1/openapi.json").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Described(answer.json())
    }

    /// Each path and method with its description.
    fn operations(&self) -> Vec<(&str, &str, &Value)> {
        let mut all = Vec::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                all.push((path.as_str(), method.as_str(), operation));
            }
        }
        all
    }

    /// Fails unless `answer` matches the description of this operation and status.
    fn holds(&self, path: &str, method: &str, answer: &Answer) {
        let what = format!("{method} {path}: {} {}", answer.status, answer.body);
        let said = &self.0["paths"][path][method]["responses"][answer.status.to_string()];
        let (kind, content) =
            said["content"].as_object().and_then(|c| c.iter().next()).unwrap_or_else(|| {
                panic!("not described: {what}");
            });
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{kind}: {what}");
        assert_eq!(kind == "application/problem+json", answer.status >= 400, "{what}");
        let mut schema = content["schema"].clone();
        schema["components"] = self.0["components"].clone();
        merge(&mut schema, &self.0);
        close(&mut schema);
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
        let found = answer.json();
        let errors: Vec<String> =
            validator.iter_errors(&found).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{what}");
    }

    fn parameters(operation: &Value) -> BTreeSet<&str> {
        let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|p| p["in"] == "query").map(|p| p["name"].as_str().unwrap()).collect()
    }
}

/// An object of several parts becomes one object, which can be closed.
fn merge(schema: &mut Value, document: &Value) {
    if let Some(parts) = schema["allOf"].as_array() {
        let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
        for part in parts {
            let named = part["$ref"].as_str().map(|path| document.pointer(&path[1..]).unwrap());
            let part = named.unwrap_or(part);
            properties.extend(part["properties"].as_object().unwrap().clone());
            required.extend(part["required"].as_array().unwrap().clone());
        }
        *schema = json!({ "type": "object", "properties": properties, "required": required });
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(|part| merge(part, document)),
        Value::Array(all) => all.iter_mut().for_each(|part| merge(part, document)),
        _ => {}
    }
}

/// The description must be complete, so every object with properties is closed.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("properties").is_some_and(Value::is_object)
                && map.get("type") == Some(&json!("object"))
            {
                map.entry("additionalProperties").or_insert(json!(false));
            }
            map.values_mut().for_each(close);
        }
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}

/// The server has some of each kind.
async fn filled(squelch: &Squelch) {
    let warning = |name: &str| {
        let mut told = Told::fires(name, "to", "any");
        told.labels[2].1 = "warning".into();
        told
    };
    let alerts = [
        Told::fires("Down", "to", "any"),
        Told::fires("Lost", "to", "bad"),
        warning("Held"),
        warning("Mute"),
    ];
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Mute", "isRegex": false, "isEqual": true}],
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2999-01-01T00:00:00Z", "createdBy": "ada", "comment": "c",
    });
    let made = ask(squelch, "POST", "/api/v1/silences", &silence.to_string()).await;
    assert_eq!(made.status, 200, "{}", made.body);
    squelch.hook(&body("http://am-0", &alerts)).await;
    squelch.hook(&body("http://am-0", &alerts)).await;
    let dead = async || {
        let letters = squelch.get("/api/v1/dead-letters").await.json();
        let decisions = squelch.get("/api/v1/decisions?reason=silenced").await.json();
        let open = squelch.get("/api/v1/incidents?state=paged").await;
        (letters["deadLetters"].as_array()?.len() == 1
            && !decisions["decisions"].as_array()?.is_empty()
            && !open.json()["incidents"].as_array()?.is_empty())
        .then_some(())
    };
    until("a page, a dead letter and the decision log", dead).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_described_and_the_reverse() {
    let (_pager, _home, squelch) = started().await;
    let described = Described::read(&squelch).await;
    assert_eq!(described.0["openapi"].as_str().unwrap().split_once('.').unwrap().0, "3");
    let mut methods: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (path, method, operation) in described.operations() {
        methods.entry(path).or_default().insert(method);
        let name = operation["operationId"].as_str().unwrap();
        assert!(names.insert(name), "{name} stands for one operation");
    }
    let served: BTreeSet<&str> =
        squelch::web::paths().into_iter().filter(|path| path.starts_with("/api/v1/")).collect();
    assert_eq!(methods.keys().copied().collect::<BTreeSet<_>>(), served);
    for (path, described) in methods {
        for method in ["get", "post", "put", "patch", "delete"] {
            let path = path.replace("{id}", "1").replace("{key}", "abcdef");
            let answer = ask(&squelch, &method.to_uppercase(), &path, "{}").await;
            assert_eq!(answer.status != 405, described.contains(method), "{method} {path}: {}", answer.body);
            if answer.status >= 400 {
                assert!(answer.head.contains("content-type: application/problem+json"), "{method} {path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_as_described() {
    let (pager, _home, squelch) = started().await;
    filled(&squelch).await;
    let described = Described::read(&squelch).await;
    let mut left: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, method, operation) in described.operations() {
        left.insert((path.into(), method.into()));
        if method != "get" {
            continue;
        }
        // The names that the error lists are the described ones.
        let wrong = squelch.get(&format!("{}?nonsense=1", path.replace("{id}", "1"))).await;
        described.holds(path, method, &wrong);
        assert_eq!(wrong.status, 400, "{path}");
        let detail = wrong.json()["detail"].as_str().unwrap().to_owned();
        let listed: BTreeSet<&str> = detail.split('`').skip(1).step_by(2).skip(1).collect();
        assert_eq!(listed, Described::parameters(operation), "{path}: {detail}");
    }
    let list = squelch.get("/api/v1/silences").await.json();
    let silence = list["silences"][0]["id"].as_str().unwrap().to_owned();
    let letter = squelch.get("/api/v1/dead-letters").await.json()["deadLetters"][0]["id"].as_u64().unwrap();
    let one = format!("/api/v1/silences/{silence}");
    let again = list["silences"][0].to_string();
    let replay = format!("/api/v1/dead-letters/{letter}/replay");
    let gone = "/api/v1/silences/11111111-2222-4333-8444-555555555555";
    let (v1_silences, v1_one, v1_replay) =
        ("/api/v1/silences", "/api/v1/silences/{id}", "/api/v1/dead-letters/{id}/replay");
    let key = history(&squelch).await["dedupKey"].as_str().unwrap().to_owned();
    let v1_key = "/api/v1/incidents/{key}";
    let v1 = |rest: &str| format!("{v1_key}/{rest}");
    let (v1_ack, v1_notes, v1_useful) = (&v1("acknowledge")[..], &v1("notes")[..], &v1("useful")[..]);
    let incident = |rest: &str| format!("/api/v1/incidents/{key}{rest}");
    for (path, method, asked, body, status) in [
        (v1_key, "get", &incident("")[..], "", 200),
        (v1_key, "get", &incident("")[..30], "", 200),
        (v1_key, "get", "/api/v1/incidents/abcde", "", 400),
        (v1_key, "get", "/api/v1/incidents/00000000", "", 404),
        (v1_key, "get", &incident("?number=999"), "", 404),
        (&v1("review")[..], "get", &incident("/review")[..], "", 200),
        (v1_ack, "post", &incident("/acknowledge"), r#"{"by": "ada"}"#, 200),
        (v1_ack, "post", &incident("/acknowledge"), r#"{"who": "ada"}"#, 400),
        (v1_notes, "post", &incident("/notes"), r#"{"by": "ada", "note": "the disk is full"}"#, 200),
        (v1_notes, "post", &incident("/notes"), r#"{"note": " "}"#, 400),
        (v1_useful, "post", &incident("/useful"), r#"{"useful": true}"#, 200),
        (v1_useful, "post", "/api/v1/incidents/00000000/useful", r#"{"useful": true}"#, 404),
        ("/api/v1/incidents/history", "get", "/api/v1/incidents/history?state=open&words=down", "", 200),
        ("/api/v1/incidents/history", "get", "/api/v1/incidents/history?state=paged", "", 400),
        ("/api/v1/openapi.json", "get", "/api/v1/openapi.json", "", 200),
        ("/api/v1/alerts", "get", "/api/v1/alerts", "", 200),
        ("/api/v1/alerts", "get", "/api/v1/alerts?filter=%3D", "", 400),
        ("/api/v1/alerts", "get", "/api/v1/alerts?state=open", "", 400),
        ("/api/v1/alerts", "get", "/api/v1/alerts?cursor=x", "", 400),
        ("/api/v1/incidents", "get", "/api/v1/incidents", "", 200),
        ("/api/v1/incidents", "get", "/api/v1/incidents?state=open", "", 400),
        ("/api/v1/decisions", "get", "/api/v1/decisions", "", 200),
        ("/api/v1/noise", "get", "/api/v1/noise", "", 200),
        ("/api/v1/noise", "get", "/api/v1/noise?since=2999-01-01T00:00:00Z", "", 400),
        ("/api/v1/on-call", "get", "/api/v1/on-call", "", 200),
        ("/api/v1/on-call", "get", "/api/v1/on-call?since=2020-01-01T00:00:00Z", "", 400),
        ("/api/v1/baseline", "get", "/api/v1/baseline?filter=alertname%3DDown", "", 200),
        ("/api/v1/baseline", "get", "/api/v1/baseline", "", 400),
        ("/api/v1/stats", "get", "/api/v1/stats", "", 200),
        ("/api/v1/cluster", "get", "/api/v1/cluster", "", 200),
        ("/api/v1/receivers", "get", "/api/v1/receivers", "", 200),
        ("/api/v1/receivers", "get", "/api/v1/receivers?limit=0", "", 400),
        (v1_silences, "get", v1_silences, "", 200),
        (v1_silences, "post", v1_silences, again.as_str(), 200),
        (v1_silences, "post", v1_silences, "{", 400),
        (v1_one, "get", one.as_str(), "", 200),
        (v1_one, "get", gone, "", 404),
        (v1_one, "get", "/api/v1/silences/%FF", "", 400),
        (v1_one, "delete", gone, "", 404),
        (v1_one, "delete", one.as_str(), "", 200),
        ("/api/v1/dead-letters", "get", "/api/v1/dead-letters", "", 200),
        ("/api/v1/dead-letters", "get", "/api/v1/dead-letters?cursor=1", "", 400),
        (v1_replay, "post", "/api/v1/dead-letters/x/replay", "", 400),
        (v1_replay, "post", "/api/v1/dead-letters/999999/replay", "", 404),
        (v1_replay, "post", replay.as_str(), "", 202),
    ] {
        let answer = ask(&squelch, &method.to_uppercase(), asked, body).await;
        assert_eq!(answer.status, status, "{method} {asked}: {}", answer.body);
        described.holds(path, method, &answer);
        if status < 300 {
            left.remove(&(path.to_owned(), method.to_owned()));
        }
    }
    assert_eq!(left, BTreeSet::new(), "each is asked");

    // And its content is true.
    let told = until("what ada said", async || {
        let told = history(&squelch).await;
        (told["acknowledgedBy"] == "ada" && told["useful"] == true).then_some(told)
    });
    told.await;
    let told = squelch.get(&incident("")).await.json();
    let events = told["events"].as_array().unwrap();
    let said: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(said[0], "opened", "{told:#}");
    for event in ["accepted", "acknowledged", "note", "useful"] {
        assert!(said.contains(&event), "{event}: {told:#}");
    }
    let alerts = squelch.get("/api/v1/alerts?filter=alertname%3DHeld").await.json();
    assert_eq!(alerts["alerts"][0]["receivers"][0]["state"], "held", "{alerts:#}");
    assert_eq!(alerts["alerts"][0]["receivers"][0]["next"]["action"], "pages", "{alerts:#}");
    let held = squelch.get("/api/v1/alerts?state=held&status=firing&receiver=pagerduty").await.json();
    let held = held["alerts"].as_array().unwrap();
    assert!(held.contains(&alerts["alerts"][0]), "{held:#?}");
    assert!(held.iter().all(|alert| alert["receivers"][0]["state"] == "held"), "{held:#?}");
    assert_eq!(squelch.get("/api/v1/alerts?state=held&receiver=bad").await.json()["alerts"], json!([]));
    let stats = squelch.get("/api/v1/stats").await.json();
    let received = stats["received"]["firing"].as_u64().unwrap();
    assert!(received >= 4 && stats["routed"].as_u64().unwrap() >= received, "{stats:#}");
    for receiver in stats["receivers"].as_array().unwrap() {
        let count = |fates: &Value| {
            fates.as_array().unwrap().iter().map(|f| f["count"].as_u64().unwrap()).sum::<u64>()
        };
        let accounted = count(&receiver["fates"]) + receiver["pending"].as_u64().unwrap();
        assert_eq!(receiver["routed"].as_u64().unwrap(), accounted, "{receiver:#}");
        assert_eq!(receiver["budget"]["pages"], 2);
    }
    let receivers = squelch.get("/api/v1/receivers").await.json();
    let bad = &receivers["receivers"][0];
    assert_eq!((&bad["receiver"], &bad["fallback"]), (&json!("bad"), &json!("pagerduty")), "{receivers:#}");
    let failure = &bad["lastFailure"];
    assert_eq!(
        (&failure["reason"], &failure["integration"]),
        (&json!("clientError"), &json!("webhook[0]")),
        "{bad:#}"
    );
    assert!(!failure.to_string().contains("/webhook/bad"), "a URL may hold a token: {failure}");
    assert!(receivers["receivers"][1]["lastSuccess"].is_string(), "{receivers:#}");
    let noise = squelch.get("/api/v1/noise").await.json();
    // Each of them took an observation to leave, unlike a page to a second receiver.
    let first = noise["pages"].as_u64().unwrap() - noise["secondPages"].as_u64().unwrap();
    assert!(first >= 2 && noise["came"].as_u64().unwrap() > first, "{noise:#}");
    drop(pager);
}

/// An open incident at the pager as the history has it, once the pager has accepted its page.
async fn history(squelch: &Squelch) -> Value {
    let accepted = async || {
        let page = squelch.get("/api/v1/incidents/history?receiver=pagerduty&state=open").await.json();
        let incident = page["incidents"].as_array()?.last()?.clone();
        incident["notifiedAt"].is_string().then_some(incident)
    };
    until("an accepted page in the history", accepted).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_miss_and_repeat_nothing_that_stays() {
    let (_pager, _home, squelch) = started().await;
    let told = |from: usize, to: usize| -> Vec<Told> {
        (from..to).map(|n| Told::fires(&format!("Down{n}"), "to", "any")).collect()
    };
    squelch.hook(&body("http://am-0", &told(0, 25))).await;
    for (list, key, of) in [("alerts", "id", "alerts"), ("incidents", "dedupKey", "incidents")] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = squelch.get(&format!("/api/v1/{list}?limit=10{cursor}")).await.json();
            let entries = page[of].as_array().unwrap();
            assert!(entries.len() <= 10, "{list}");
            seen.extend(entries.iter().map(|e| e[key].as_str().unwrap().to_owned()));
            pages += 1;
            // An alert that comes meanwhile is on some page or on none.
            squelch.hook(&body("http://am-0", &told(100 * pages, 100 * pages + 2))).await;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{list}: nothing comes twice");
        assert!(seen.len() >= 25 && pages >= 3, "{list}: {} on {pages} pages", seen.len());
    }
    let found = squelch.get("/api/v1/incidents?filter=alertname%3DDown7&receiver=pagerduty").await.json();
    assert_eq!(found["incidents"].as_array().unwrap().len(), 1, "{found:#}");
    let key = found["incidents"][0]["dedupKey"].as_str().unwrap();
    let by_key = squelch.get(&format!("/api/v1/incidents?key={key}")).await.json();
    assert_eq!(by_key["incidents"][0]["groupKey"], found["incidents"][0]["groupKey"]);
    for (digits, count) in [(12, 1), (5, 0)] {
        let short = squelch.get(&format!("/api/v1/incidents?key={}", &key[..digits])).await.json();
        assert_eq!(short["incidents"].as_array().unwrap().len(), count, "{short:#}");
    }
}
