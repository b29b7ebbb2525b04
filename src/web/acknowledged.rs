//! Acknowledgements come back: PagerDuty's v3 webhooks and Opsgenie's webhooks say that a person took an
//! incident on, or gave it back. Both must show the secret of the integration that pages there.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use smol_str::SmolStr;
use subtle::ConstantTimeEq;

use super::app::App;
use super::body::ArrivedBody;
use super::gate::Acknowledgement;
use super::problem::Problem;
use crate::engine::Acknowledge;

/// How long the files of secrets may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// The longest name of a person that is kept, in characters.
const NAME_CHARS: usize = 100;
/// The longest key of an incident, in bytes.
const KEY_BYTES: usize = 512;
/// The header in which PagerDuty signs: `v1=` and a hexadecimal HMAC-SHA256 of the body, several with commas.
const SIGNATURE: &str = "x-pagerduty-signature";

/// `POST /pagerduty/v3/webhook`
pub(super) async fn pagerduty(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    answer(taken(&app, "pagerduty", &headers, body, &signed, &of_pagerduty).await)
}

/// `POST /opsgenie/webhook`
pub(super) async fn opsgenie(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    answer(taken(&app, "opsgenie", &headers, body, &shown, &of_opsgenie).await)
}

fn answer(taken: Result<(), Problem>) -> Response {
    match taken {
        Ok(()) => StatusCode::OK.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// The message about one incident.
struct PagerEvent {
    key: String,
    /// The person who acknowledged it. `None` = no one has it.
    by: Option<String>,
}

/// Whether a message with these headers and this body shows this secret.
type Genuine = dyn Fn(&HeaderMap, &[u8], &str) -> bool + Sync;
/// Reads a message. `None` = it is not about an acknowledgement.
type Read = dyn Fn(&[u8]) -> Result<Option<PagerEvent>, serde_json::Error> + Sync;

/// Takes a message in, once it is known to come from where a receiver pages, and waits until it is durable.
async fn taken(
    app: &App,
    tool: &'static str,
    headers: &HeaderMap,
    body: Body,
    is_genuine: &Genuine,
    read: &Read,
) -> Result<(), Problem> {
    let ArrivedBody { bytes, share } =
        app.read_small(headers, body).await.map_err(|refused| refused.problem)?;
    let receivers = receivers(app, tool, headers, &bytes, is_genuine).await?;
    let said = read(&bytes).map_err(|e| Problem::bad(format!("the body is not a webhook of {tool}: {e}")))?;
    drop(share);
    let Some(said) = said.filter(|said| !said.key.is_empty() && said.key.len() <= KEY_BYTES) else {
        return Ok(());
    };
    let by = said.by.map(|by| Some(person(&by)).filter(|by| !by.is_empty()).unwrap_or(tool.into()));
    let change = Acknowledge { dedup_key: said.key.into(), receivers, by, via: Some(tool.into()) };
    let change = Acknowledgement::Incident(change);
    app.gate.acknowledge(change).await.map_err(|e| Problem::unavailable(e.to_string()))
}

/// The name of a person as Squelch keeps it.
pub(super) fn person(name: &str) -> SmolStr {
    name.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect()
}

/// The receivers whose secret the message shows.
async fn receivers(
    app: &App,
    tool: &'static str,
    headers: &HeaderMap,
    body: &Bytes,
    is_genuine: &Genuine,
) -> Result<Vec<SmolStr>, Problem> {
    let callbacks = app.gate.callbacks();
    let mut found = Vec::new();
    let mut unreadable = None;
    for callback in callbacks.iter().filter(|callback| callback.tool == tool) {
        match callback.secret.reveal_apart(PATIENCE).await {
            Ok(secret) if is_genuine(headers, body, &secret) => found.push(callback.receiver.clone()),
            Ok(_) => {}
            Err(error) => unreadable = Some(error),
        }
    }
    found.sort();
    found.dedup();
    if !found.is_empty() {
        return Ok(found);
    }
    if let Some(error) = unreadable {
        tracing::warn!(%error, tool, "an acknowledgement could not be checked");
        return Err(Problem::unavailable("a secret cannot be read now: try again"));
    }
    let detail = format!("no receiver has a webhook_secret in {tool}_configs that fits this request");
    Err(Problem::new(StatusCode::FORBIDDEN, detail))
}

/// Whether one of the signatures is that of the body.
fn signed(headers: &HeaderMap, body: &[u8], secret: &str) -> bool {
    let all = headers.get_all(SIGNATURE).iter().filter_map(|value| value.to_str().ok());
    let signatures = all.flat_map(|value| value.split(',')).filter_map(|one| one.trim().strip_prefix("v1="));
    signatures.take(10).any(|signature| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
        mac.update(body);
        unhex(signature).is_some_and(|signature| mac.verify_slice(&signature).is_ok())
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// Whether the request has the secret as its bearer token. Opsgenie signs nothing.
fn shown(headers: &HeaderMap, _: &[u8], secret: &str) -> bool {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    !token.is_empty() && bool::from(token.trim().as_bytes().ct_eq(secret.as_bytes()))
}

/// A v3 webhook of PagerDuty. Types of events that say nothing about acknowledgements are `None`.
fn of_pagerduty(body: &[u8]) -> Result<Option<PagerEvent>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Webhook {
        event: Event,
    }
    #[derive(Deserialize)]
    struct Event {
        event_type: String,
        agent: Option<Agent>,
        data: Option<Incident>,
    }
    #[derive(Deserialize)]
    struct Agent {
        summary: Option<String>,
    }
    #[derive(Deserialize)]
    struct Incident {
        incident_key: Option<String>,
    }
    let Webhook { event } = serde_json::from_slice(body)?;
    let key = event.data.and_then(|incident| incident.incident_key).unwrap_or_default();
    Ok(match event.event_type.as_str() {
        "incident.acknowledged" => {
            let by = event.agent.and_then(|agent| agent.summary).unwrap_or_default();
            Some(PagerEvent { key, by: Some(by) })
        }
        "incident.unacknowledged" | "incident.reopened" | "incident.resolved" | "incident.triggered" => {
            Some(PagerEvent { key, by: None })
        }
        _ => None,
    })
}

/// A webhook of Opsgenie or of Jira Service Management.
fn of_opsgenie(body: &[u8]) -> Result<Option<PagerEvent>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Webhook {
        action: String,
        alert: Option<Alert>,
    }
    #[derive(Deserialize)]
    struct Alert {
        alias: Option<String>,
        username: Option<String>,
    }
    let Webhook { action, alert } = serde_json::from_slice(body)?;
    let Some(alert) = alert else { return Ok(None) };
    let key = alert.alias.unwrap_or_default();
    Ok(match action.as_str() {
        "Acknowledge" => Some(PagerEvent { key, by: Some(alert.username.unwrap_or_default()) }),
        "UnAcknowledge" | "Close" | "Delete" => Some(PagerEvent { key, by: None }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_body_and_its_secret() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(b"body");
        let hex = crate::model::hex(mac.finalize().into_bytes().as_slice());
        let headers = |value: &str| {
            HeaderMap::from_iter([(header::HeaderName::from_static(SIGNATURE), value.parse().unwrap())])
        };
        assert!(signed(&headers(&format!("v1={hex}")), b"body", "secret"));
        assert!(signed(&headers(&format!("v1=00,v1={}", hex.to_uppercase())), b"body", "secret"));
        for (value, body, secret) in [
            (format!("v1={hex}"), &b"Body"[..], "secret"),
            (format!("v1={hex}"), b"body", "other"),
            (format!("v0={hex}"), b"body", "secret"),
            (format!("v1={}", &hex[1..]), b"body", "secret"),
            ("v1=".into(), b"body", "secret"),
        ] {
            assert!(!signed(&headers(&value), body, secret), "{value}");
        }
        assert!(!signed(&HeaderMap::new(), b"body", "secret"));
    }

    #[test]
    fn messages_say_who_took_an_incident_on() {
        let said = |found: Result<Option<PagerEvent>, serde_json::Error>| {
            found.unwrap().map(|said| (said.key, said.by))
        };
        let event = |kind: &str| {
            let text = format!(
                r#"{{"event":{{"id":"1","event_type":"{kind}","agent":{{"summary":"Ada"}},"data":{{"incident_key":"k"}}}}}}"#
            );
            said(of_pagerduty(text.as_bytes()))
        };
        assert_eq!(event("incident.acknowledged"), Some(("k".into(), Some("Ada".into()))));
        assert_eq!(event("incident.unacknowledged"), Some(("k".into(), None)));
        assert_eq!(event("incident.resolved"), Some(("k".into(), None)));
        assert_eq!(event("incident.annotated"), None);
        assert!(of_pagerduty(br#"{"action":"x"}"#).is_err());
        let action = |action: &str| {
            let text =
                format!(r#"{{"action":"{action}","alert":{{"alias":"k","username":"ada@example.org"}}}}"#);
            said(of_opsgenie(text.as_bytes()))
        };
        assert_eq!(action("Acknowledge"), Some(("k".into(), Some("ada@example.org".into()))));
        assert_eq!(action("Close"), Some(("k".into(), None)));
        assert_eq!(action("AddNote"), None);
    }
}
