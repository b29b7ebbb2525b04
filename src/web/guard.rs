//! The guard before every handler: it checks the browser's origin and the caller, and adds the headers of
//! every answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::ServerLimits;
use super::access::{Admission, Area, Caller, Shown};
use super::app::{App, Certificate, Peer};
use super::crowd::Seat;
use super::forward::passed_on;
use super::gate::Bounded;
use super::problem::Problem;
use super::ui;
use super::unserved::{Unserved, misdirected};
use super::v2::cors::readable;
use crate::config::Role;

/// Where alerts come in.
const INGEST: [&str; 4] = [
    "/alertmanager/webhook",
    "/api/v2/alerts",
    "/opsgenie/v2/alerts",
    "/opsgenie/v2/alerts/{identifier}/{request}",
];
/// Paths for events whose body identifies the sender. The handler judges that.
const EVENTS: [&str; 2] = ["/pagerduty/v2/enqueue", "/pagerduty/v2/change/enqueue"];
/// Paths for tools that report acknowledgements. Each message carries a secret of its own.
const CALLBACKS: [&str; 2] = ["/pagerduty/v3/webhook", "/opsgenie/webhook"];
/// Parts of a path at which the people on call act: they silence, acknowledge and write notes.
const RESPONSES: [&str; 4] = ["silence", "silences", "incident", "incidents"];
/// Paths that say only whether the server works.
const OPEN: [&str; 2] = ["/-/healthy", "/-/ready"];
/// Pages have no script, style or picture but our own, and stand in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The end of the connection that is ours is a loopback address.
#[derive(Clone, Copy)]
pub(super) struct OnLoopback(pub(super) bool);

/// Lets a request through to its handler, or answers in its place. Then it adds the headers.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let access = app.gate.access();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let matched = matched.as_deref().map(|path| path.strip_prefix(&*app.prefix).unwrap_or(path));
    let area = area(request.method(), matched);
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let seat = request.extensions().get::<Arc<Seat>>().cloned();
    let shows_page = ui::shows_page(request.uri(), request.headers(), &app.prefix);
    let page = shows_page.then(|| request.uri().clone());
    let has_origin = app.is_v2(request.uri()).then(|| request.headers().contains_key(header::ORIGIN));
    // Another replica has checked the caller.
    let passed_on = passed_on(&*app.gate, request.headers());
    let foreign = match passed_on {
        Some(_) => None,
        None => foreign(&request, (area, matched), &app.limits),
    };
    let mut response = match foreign {
        Some(problem) => {
            app.refusals.log_foreign(peer, &problem.detail);
            problem.into_response()
        }
        None => {
            let certificate = request.extensions().get::<Certificate>().cloned();
            let shown = Shown {
                headers: request.headers(),
                certificate: certificate.as_ref().map(|certificate| &*certificate.0),
                peer,
                seat: seat.as_deref(),
            };
            let logs_in = request.headers().contains_key(header::AUTHORIZATION);
            let verdict = match passed_on {
                Some(Some(caller)) => Admission::Known(caller),
                Some(None) => Admission::Anyone,
                None => access.judge(area, &shown).await,
            };
            match verdict {
                Admission::Anyone => admitted(&app, (area, matched), (peer, seat), None, request, next).await,
                Admission::Known(caller) => {
                    request.extensions_mut().insert(caller.clone());
                    admitted(&app, (area, matched), (peer, seat), Some(caller), request, next).await
                }
                Admission::Busy => {
                    app.gate.bounded(Bounded::Logins);
                    app.refusals.log_busy(peer);
                    let detail = "too many logins wait to be checked: try again";
                    let mut response = Problem::unavailable(detail).into_response();
                    ends(&mut response);
                    response
                }
                verdict => {
                    app.gate.refused(area);
                    let not_allowed = match &verdict {
                        Admission::NotAllowed(Caller { name, role }) => {
                            let (role, needed) = (role.as_str(), area.as_str());
                            Some(format!("{name} has the role {role}, and this needs {needed}"))
                        }
                        _ => None,
                    };
                    let problem =
                        |detail: &String| Problem::new(StatusCode::FORBIDDEN, detail.clone()).into_response();
                    let mut problem = not_allowed.as_ref().map_or_else(|| unknown(area), problem);
                    // A source that posts its alerts to a path that is not for it loses them.
                    if area != Area::Ingest && access.is_source(&shown) {
                        misdirected(&app, peer, request).await;
                    } else if let Some(detail) = not_allowed {
                        app.refusals.log_not_allowed(peer, &detail, request.uri().path());
                    } else {
                        app.refusals.log_unknown(peer, area, request.uri().path());
                        if logs_in && verdict == Admission::Unknown {
                            if let Some(seat) = &seat {
                                seat.is_suspect();
                            }
                            ends(&mut problem);
                        }
                    }
                    problem
                }
            }
        }
    };
    if let (Some(uri), Some(problem)) = (page, response.extensions_mut().remove::<Problem>()) {
        ui::draw_refusal(&mut response, &problem, &uri, &app.prefix);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(has_origin) = has_origin {
        readable(has_origin, headers);
    }
    if matched.is_some_and(|path| path.starts_with("/api/")) {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    for (name, value) in access.headers() {
        headers.insert(name.clone(), value.clone());
    }
    response
}

/// The connection ends after this answer.
fn ends(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// Serves a request whose sender may send it. A question waits for its turn, and until then its connection
/// may make room for others. Alerts and the health endpoints wait for no turn.
async fn admitted(
    app: &App,
    (area, path): (Area, Option<&str>),
    (peer, seat): (IpAddr, Option<Arc<Seat>>),
    caller: Option<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let counts = matches!(area, Area::Of(_));
    let turn = match counts && !changes(request.method()) {
        true => match app.outgoing.question(path.unwrap_or_default(), &*app.gate).await {
            Ok(turn) => Some(turn),
            Err(problem) => return problem.into_response(),
        },
        false => None,
    };
    if let Some(seat) = &seat {
        seat.is_admitted();
    }
    let response = audited(app, (area, path), peer, caller, request, next).await;
    match counts {
        true => app.outgoing.hold(response, turn, seat, &app.gate).await,
        false => response,
    }
}

/// The area of a request. A method that changes something needs an administrator unless the list below says
/// less. A path that is added later is therefore closed until the list opens it.
fn area(method: &Method, path: Option<&str>) -> Area {
    let path = path.unwrap_or_default();
    if changes(method) {
        match path {
            path if INGEST.contains(&path) => Area::Ingest,
            path if EVENTS.contains(&path) || CALLBACKS.contains(&path) => Area::Open,
            path if path.split('/').any(|part| RESPONSES.contains(&part)) => Area::Of(Role::Silence),
            _ => Area::Of(Role::Admin),
        }
    } else if OPEN.contains(&path) {
        Area::Open
    } else {
        Area::Of(Role::Read)
    }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Why a browser seems to send the request for a page of another site.
///
/// Only browsers send `Origin` and `Sec-Fetch-Site`, so no sender of alerts is refused by mistake. On
/// loopback the requested host name counts too. If an attacker lets a name point here, his page has the
/// same origin (DNS rebinding). A name without a dot cannot be registered. Requests for alerts, health and
/// metrics may use any name, unless a browser sends them.
fn foreign(request: &Request, (area, path): (Area, Option<&str>), limits: &ServerLimits) -> Option<Problem> {
    let external_url = &limits.external_url;
    let headers = request.headers();
    let refused = |detail: String| Some(Problem::new(StatusCode::FORBIDDEN, detail));
    let host = host(request.uri(), headers);
    let browser = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    let loopback = request.extensions().get::<OnLoopback>().is_some_and(|local| local.0);
    let any_name = match area {
        Area::Open => true,
        Area::Ingest => !browser,
        Area::Of(_) => path == Some("/metrics") && !browser,
    };
    if loopback && !any_name && !is_ours(host, limits) {
        let host: String = host.chars().take(100).collect();
        return refused(format!(
            "the name {host:?} is not known to be this server's. Call it by its address, localhost or a name \
             of this machine in /etc/hosts, or start it with --web.external-url=http://{host}/"
        ));
    }
    if !changes(request.method()) {
        return None;
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    let same_site = site.is_none_or(|site| matches!(site, b"same-origin" | b"none"));
    let same_origin = origin.is_none_or(|origin| {
        let authority =
            |url: &str| url.split_once("://").map(|(_, rest)| rest.split('/').next() == Some(host));
        authority(origin) == Some(true) || (!external_url.is_empty() && is_origin_of(origin, external_url))
    });
    if same_site && same_origin {
        return None;
    }
    refused(
        "a page of another site may not change anything here. Send it from this server's own pages".into(),
    )
}

/// The host and port by which we were called.
fn host<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> &'r str {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    uri.authority().map_or(named, |authority| authority.as_str())
}

fn is_ours(host: &str, limits: &ServerLimits) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.ends_with(".localhost")
        || limits.own_names.iter().any(|own| own.eq_ignore_ascii_case(&name))
        || limits
            .external_url
            .parse::<Uri>()
            .is_ok_and(|url| url.host().is_some_and(|h| h.eq_ignore_ascii_case(&name)))
}

fn is_origin_of(origin: &str, url: &str) -> bool {
    url.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unknown(area: Area) -> Response {
    let detail = match area {
        Area::Ingest => {
            "no source of this server has these credentials. Write those of its entry in sources into the \
             sender's http_config"
        }
        Area::Open | Area::Of(_) => "log in with a user name and password, or a bearer token",
    };
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    let challenge = HeaderValue::from_static("Basic realm=\"squelch\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Runs the handler. A change leaves a line in the log, for every caller. An unserved path changes nothing.
async fn audited(
    app: &App,
    (area, matched): (Area, Option<&str>),
    peer: IpAddr,
    caller: Option<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let owner = &app.forwarder;
    let way = (&*app.prefix, app.limits.answer_timeout);
    let response = match owner.forward(&*app.gate, way, matched, caller.as_ref(), request).await {
        Ok(response) => response,
        Err(request) => next.run(request).await,
    };
    if let Area::Of(role) = area
        && changes(&method)
        && response.extensions().get::<Unserved>().is_none()
    {
        let user = caller.as_ref().map_or("", |caller| caller.name.as_str());
        let (role, status) = (role.as_str(), response.status().as_u16());
        let path: String = path.strip_prefix(&*app.prefix).unwrap_or(&path).chars().take(200).collect();
        tracing::info!(user, %peer, %method, %path, needs = role, status, "audit");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_to_need_less_needs_an_administrator() {
        let of = |method, path: &str| area(&method, Some(path).filter(|path| !path.is_empty()));
        for path in super::super::paths() {
            let post = of(Method::POST, path);
            let expected = match path {
                "/alertmanager/webhook" | "/api/v2/alerts" => Area::Ingest,
                path if path.starts_with("/opsgenie/v2/") => Area::Ingest,
                path if EVENTS.contains(&path) || CALLBACKS.contains(&path) => Area::Open,
                path if path.contains("silence") || path.contains("incident") => Area::Of(Role::Silence),
                _ => Area::Of(Role::Admin),
            };
            assert_eq!(post, expected, "{path}");
            let open = path == "/-/healthy" || path == "/-/ready";
            assert_eq!(of(Method::GET, path) == Area::Open, open, "{path}");
        }
        assert_eq!(of(Method::DELETE, "/api/v2/silence/{id}"), Area::Of(Role::Silence));
        assert_eq!(of(Method::from_bytes(b"BREW").unwrap(), ""), Area::Of(Role::Admin));
        assert_eq!(of(Method::GET, ""), Area::Of(Role::Read));
    }

    fn asked(method: &str, area: Area, headers: &[(&str, &str)]) -> bool {
        asked_at(method, (area, "/x"), headers)
    }

    fn asked_at(method: &str, (area, path): (Area, &str), headers: &[(&str, &str)]) -> bool {
        let mut request = axum::http::Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(axum::body::Body::empty()).unwrap();
        request.extensions_mut().insert(OnLoopback(true));
        let limits = ServerLimits {
            external_url: "https://ops.example/squelch".into(),
            own_names: vec!["db1.example".into()],
            ..ServerLimits::default()
        };
        foreign(&request, (area, Some(path)), &limits).is_none()
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let admin = Area::Of(Role::Admin);
        let post = |headers: &[(&str, &str)]| asked("POST", admin, headers);
        let host = ("host", "localhost:9096");
        assert!(post(&[host]));
        assert!(post(&[host, ("origin", "http://localhost:9096"), ("sec-fetch-site", "same-origin")]));
        assert!(post(&[("host", "ops.example"), ("origin", "https://ops.example")]));
        assert!(post(&[host, ("origin", "https://ops.example")]), "behind a proxy that changes the host");
        assert!(!post(&[host, ("origin", "https://ops.example.evil.example")]));
        for site in ["cross-site", "same-site"] {
            assert!(!post(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        for origin in ["null", "http://evil.example", "http://localhost:9097", "http://localhost", ""] {
            assert!(!post(&[host, ("origin", origin)]), "{origin}");
            assert!(!asked("POST", Area::Ingest, &[host, ("origin", origin)]), "{origin}");
            assert!(!asked("DELETE", admin, &[host, ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_point_here_is_refused() {
        let read = Area::Of(Role::Read);
        for host in [
            "localhost:9096",
            "127.0.0.1:9096",
            "[::1]:9096",
            "squelch",
            "a.localhost",
            "ops.example",
            "DB1.example:9096",
            "db1.example.",
        ] {
            assert!(asked("GET", read, &[("host", host)]), "{host}");
        }
        for host in ["evil.example", "evil.example:9096", "127.0.0.1.evil.example", "localhost.evil.example."]
        {
            assert!(!asked("GET", read, &[("host", host)]), "{host}");
            let origin = format!("http://{host}");
            assert!(!asked("POST", Area::Ingest, &[("host", host), ("origin", &origin)]), "{host}");
            assert!(
                asked("POST", Area::Ingest, &[("host", host)]),
                "an Alertmanager may call us what it likes"
            );
            assert!(asked("GET", Area::Open, &[("host", host), ("origin", &origin)]), "{host}");
            assert!(asked_at("GET", (read, "/metrics"), &[("host", host)]), "{host}");
            assert!(!asked_at(
                "GET",
                (read, "/metrics"),
                &[("host", host), ("sec-fetch-site", "same-origin")]
            ));
        }
    }
}
