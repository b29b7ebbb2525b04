//! One incident, open or closed: its subject, its state, its events, and the actions for a person. Its
//! address stays valid for as long as the decision log keeps the incident.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::page::{self, Frame};
use super::{ROWS, history, look, now, offset, plot, text, timeline};
use crate::causes;
use crate::decision_log::{
    Baseline, IncidentRuleEntry, PastIncident, PastIncidentDetail, PastIncidentQuery, WhichIncident,
};
use crate::engine::{KnownAlert, OpenIncident, Origin, Row, RowState};
use crate::ingest::events::pagerduty::Change;
use crate::model::{MatchOp, Matcher};
use crate::web::app::App;
use crate::web::problem::Problem;
use crate::web::v1::history::{incident, reviewed};
use squelch_core::policy::Level;

/// So many similar incidents of the past are listed.
const SIMILAR: usize = 6;
/// So many rules have buttons of their own.
const RULES: usize = 5;
/// So many rules have a baseline.
const BASELINES: usize = 3;

/// The parameters of the address line.
#[derive(Deserialize)]
pub(in crate::web) struct IncidentPageParams {
    /// The `dedup_key`, or a beginning of it.
    key: String,
    /// The number of an older incident with the same key.
    number: Option<u64>,
    /// The incident of observe mode, where a real one has the same key.
    #[serde(default)]
    observed: bool,
    page: Option<usize>,
}

impl IncidentPageParams {
    fn which(&self) -> WhichIncident {
        WhichIncident { key: self.key.clone(), number: self.number, observed: Some(self.observed) }
    }
}

/// All that the page shows.
struct Seen {
    /// The incident as the engine has it, while it is open.
    open: Option<OpenIncident>,
    /// The incident as the history has it. An incident that has just opened is not there yet.
    past: Option<Box<PastIncidentDetail>>,
    /// The levels of the configuration, the highest first.
    levels: Vec<Level>,
    /// Similar incidents.
    similar: Vec<PastIncident>,
    /// Changes at the time of the incident.
    changes: Vec<Change>,
    /// How often its rules fire, by their names.
    baselines: Vec<(String, Arc<Baseline>)>,
}

/// `GET /incident?key=…`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let asked: IncidentPageParams = match super::asked(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    match seen(&app, &asked).await {
        Ok(seen) => frame.page("Incident", body(&frame, &asked, &seen)),
        Err(problem) => frame.problem(&problem),
    }
}

async fn seen(app: &App, asked: &IncidentPageParams) -> Result<Seen, Problem> {
    let past = incident(app, asked.which()).await;
    let key = past.as_ref().map_or_else(|_| asked.key.clone(), |past| past.incident.dedup_key.clone());
    let (number, observed, from) = (asked.number, asked.observed, offset(asked.page));
    let (open, levels) = look(app, move |engine| {
        let open = engine.query().incident(&key, observed, from, ROWS);
        let open = open.filter(|open| number.is_none_or(|number| number == open.number));
        (open, engine.policy().severities.levels.clone())
    })
    .await?;
    // The engine knows an incident before the history does.
    let past = match (past, &open) {
        (Ok(past), Some(open)) => Some(past).filter(|past| past.incident.number == open.number),
        (Ok(past), None) => Some(past),
        (Err(_), Some(_)) => None,
        (Err(problem), None) => return Err(problem),
    };
    let since =
        past.as_ref().map(|past| past.incident.opened_at).or(open.as_ref().map(|open| open.row.since));
    let changes = since.map(|since| app.changes.since(since)).unwrap_or_default();
    let changes = if open.is_some() { changes } else { Vec::new() };
    let similar = similar(app, past.as_deref()).await;
    let baselines = baselines(app, past.as_deref()).await;
    Ok(Seen { open, past, levels, similar, changes, baselines })
}

/// Earlier incidents whose title names the same rule.
async fn similar(app: &App, past: Option<&PastIncidentDetail>) -> Vec<PastIncident> {
    let Some((past, rule)) = past.and_then(|past| Some((past, past.rules.first()?))) else {
        return Vec::new();
    };
    let query = PastIncidentQuery {
        words: vec![rule.name.clone()],
        receiver: Some(past.incident.receiver.clone()),
        limit: SIMILAR + 1,
        ..PastIncidentQuery::default()
    };
    // The page is of use without them.
    let mut found = app.gate.history(query).await.map(|page| page.incidents).unwrap_or_default();
    found.retain(|one| one.number != past.incident.number);
    found.truncate(SIMILAR);
    found
}

/// How often the first rules of an incident fire in the scope of its group, as of its page.
async fn baselines(app: &App, past: Option<&PastIncidentDetail>) -> Vec<(String, Arc<Baseline>)> {
    let mut found = Vec::new();
    let Some(past) = past.filter(|past| past.origin != "internal") else { return found };
    for rule in past.rules.iter().take(BASELINES) {
        let scope = past.group_labels.iter().filter(|(label, _)| *label != "alertname");
        let labels = scope.map(|(label, value)| (label.as_str(), value.as_str()));
        let labels = labels.chain([("alertname", rule.name.as_str())]);
        let matchers = labels.filter_map(|(label, value)| Matcher::new(label, MatchOp::Equal, value).ok());
        let key = (past.incident.dedup_key.clone(), past.incident.number, rule.name.clone());
        let mut baseline = app.baselines.get(&key);
        // The page is of use without them.
        if baseline.is_none()
            && let Ok(counted) = app.gate.baseline(matchers.collect(), past.incident.opened_at).await
        {
            app.baselines.insert(key, baseline.insert(Arc::new(counted)).clone());
        }
        found.extend(baseline.map(|baseline| (rule.name.clone(), baseline)));
    }
    found
}

fn body(frame: &Frame, asked: &IncidentPageParams, seen: &Seen) -> Markup {
    let address = |page: usize| address(frame, asked, page);
    let page = asked.page.unwrap_or(1).max(1);
    let summary = match &seen.open {
        Some(open) => {
            let (state, _) = text::state(open.row.standing.state);
            format!("{state}, {} of {} alerts fire", open.row.firing, open.row.alerts)
        }
        None => "closed".into(),
    };
    let every = if seen.open.is_some() { "5s" } else { "60s" };
    html! {
        (page::live(&address(page), every, frame.now(), &summary, html! {
            (head(seen))
            (buttons(seen))
            (act(frame, seen))
            (facts(frame, seen))
            @if let Some(past) = &seen.past {
                h2 { "Timeline" }
                (timeline::draw(frame.now(), past))
                (timeline::list(past))
            } @else { p.empty { "The timeline appears here in a moment." } }
            (by_rule(seen))
            @match &seen.open {
                Some(open) => (alerts(frame, open, page, address)),
                None => (past_alerts(frame, seen)),
            }
            (self::changes(frame, &seen.changes))
            (baseline(seen))
            (similar_table(frame, seen))
            (details(asked, seen))
        }))
        (notes(frame, asked, seen))
    }
}

fn address(frame: &Frame, asked: &IncidentPageParams, page: usize) -> String {
    let number = asked.number.map(|number| number.to_string()).unwrap_or_default();
    let page = if page > 1 { page.to_string() } else { String::new() };
    let observed = if asked.observed { "true" } else { "" };
    let query = [("key", &asked.key[..]), ("number", &number), ("observed", observed), ("page", &page)];
    frame.to(&format!("incident{}", text::query(&query)))
}

/// Title, summary, and severity with its criteria.
fn head(seen: &Seen) -> Markup {
    let severity = severity(seen);
    let level = seen.levels.iter().find(|level| *level.name == *severity);
    html! {
        @match (&seen.open, &seen.past) {
            (Some(open), _) => h1.long { (now::heading(&open.row)) },
            (None, Some(past)) => h1.long { bdi { (text::tame(&past.incident.title, 300)) } },
            (None, None) => {},
        }
        @if let Some(summary) = summary(seen) { p.lead { (text::sentence(&summary)) } }
        p.severity {
            span.sev { (text::tame(&severity, 40)) }
            @if let Some(level) = level { (criteria(level)) }
        }
    }
}

/// Where the incident stands, and its times.
fn facts(frame: &Frame, seen: &Seen) -> Markup {
    let now = frame.now();
    let firing = |open: &OpenIncident| (open.row.firing, open.row.alerts);
    html! {
        @if let Some(open) = &seen.open { (stand(frame, &open.row)) }
        dl.facts {
            @if let Some(PastIncidentDetail { incident, .. }) = seen.past.as_deref() {
                div { dt { "Started" } dd {
                    (text::moment(incident.started_at)) ", " (text::ago(now, incident.started_at)) " ago" } }
                div { dt { @if incident.observed { "Would page" } @else { "Paged" } } dd {
                    bdi { (text::tame(&incident.receiver, 60)) } " at " (text::moment(incident.opened_at))
                    @if let Some(length) = incident.time_to_notify() { ", accepted " (text::span(length)) " after the start" }
                } }
                @if let (Some(by), Some(at)) = (&incident.acknowledged_by, incident.acknowledged_at) {
                    div { dt { "Acknowledged" } dd { "by " bdi { (text::tame(by, 60)) } " at " (text::moment(at))
                        @if incident.closed_at.is_none() { ". Squelch does not repeat it." } } }
                }
                @if let Some(at) = incident.closed_at {
                    div { dt { "Closed" } dd {
                        (text::moment(at)) @if let Some(length) = incident.time_to_resolve() {
                        ", " (text::span(length)) " after the start" } } }
                }
                @if let Some(number) = incident.successor {
                    div { dt { "Replaced by" } dd { "a worse incident, number " (number) } }
                }
            } @else if let Some(open) = &seen.open {
                div { dt { "Paged" } dd { (text::moment(open.row.since)) ", " (text::ago(now, open.row.since)) " ago" } }
                @if let Some((by, at)) = &open.row.acknowledged {
                    div { dt { "Acknowledged" } dd { "by " bdi { (text::tame(by, 60)) } ", " (text::ago(now, *at)) " ago. Squelch does not repeat it." } }
                }
            }
            @if let Some(open) = &seen.open {
                @let (firing, alerts) = firing(open);
                div { dt { "Alerts" } dd { (firing) " of " (alerts) " fire" } }
                div { dt { "Shown at" } dd { @if open.delivered.is_empty() { "no receiver yet" } @else
                    { @for name in &open.delivered { bdi { (text::tame(name, 60)) } " " } } } }
                @if !open.refused.is_empty() { div { dt { "Refused by" } dd {
                    @for refused in &open.refused { bdi { (text::tame(&refused.integration, 60)) } " " } } } }
            }
        }
    }
}

/// The criteria of a severity level.
fn criteria(level: &Level) -> Markup {
    html! {
        @if let Some(within) = level.respond_within { " · respond within " (within) }
        @if !level.description.is_empty() { " · " (text::sentence(&level.description)) }
    }
}

fn severity(seen: &Seen) -> Cow<'_, str> {
    match (&seen.open, &seen.past) {
        (Some(open), _) => open.row.severity.as_str().into(),
        (None, Some(past)) => past.incident.severity.as_str().into(),
        (None, None) => "".into(),
    }
}

/// The summary of the worst alert.
fn summary(seen: &Seen) -> Option<String> {
    let annotation = |rule: &IncidentRuleEntry| {
        let of = |name| rule.annotations.get(name).filter(|text| !text.is_empty());
        of("summary").or_else(|| of("description")).cloned()
    };
    let open = seen.open.as_ref().and_then(|open| open.alerts.first());
    let said = open.map(|alert| self::said(alert).into_owned()).filter(|text| !text.is_empty());
    said.or_else(|| seen.past.as_ref()?.rules.iter().find_map(annotation))
}

/// Large links: to runbooks, graphs, dashboards and the pager.
fn buttons(seen: &Seen) -> Markup {
    let rules = seen.past.as_ref().map_or(&[][..], |past| &past.rules);
    let several = rules.len() > 1;
    let named = |what: &str, rule: &IncidentRuleEntry| match several {
        true => format!("{what}: {}", text::tame(&rule.name, 40)),
        false => what.to_owned(),
    };
    let mut links: Vec<(String, String)> = Vec::new();
    let annotations =
        [("Runbook", &["runbook_url", "runbook"][..]), ("Dashboard", &["dashboard_url", "dashboard"])];
    for rule in rules.iter().take(RULES) {
        let [runbook, dashboard] = annotations.map(|(what, names)| {
            let url = names.iter().find_map(|name| rule.annotations.get(*name));
            url.map(|url| (named(what, rule), url.clone()))
        });
        let graph =
            (!rule.generator_url.is_empty()).then(|| (named("Graph", rule), rule.generator_url.clone()));
        links.extend([runbook, graph, dashboard].into_iter().flatten());
    }
    links.extend(pager(seen));
    let mut known = std::collections::BTreeSet::new();
    links.retain(|(_, url)| known.insert(url.clone()));
    html! {
        nav.large aria-label="Links of the incident" {
            @for (what, url) in &links { (text::button(url, what)) }
        }
    }
}

/// Where the pager shows its incidents, if the incident is at a pager with a known address.
fn pager(seen: &Seen) -> Option<(String, String)> {
    let past = seen.past.as_ref()?;
    let at = past.events.iter().filter(|event| event.event == "accepted");
    let mut at = at.filter_map(|event| event.integration.as_deref()?.rsplit('/').next());
    at.find_map(|integration| match integration.split('[').next()? {
        "pagerduty" => Some(("Pager".to_owned(), "https://app.pagerduty.com/incidents".to_owned())),
        "opsgenie" => {
            let key = &past.incident.dedup_key;
            Some(("Pager".to_owned(), format!("https://app.opsgenie.com/alert/list?query=alias%3A{key}")))
        }
        _ => None,
    })
}

/// The actions for a person.
fn act(frame: &Frame, seen: &Seen) -> Markup {
    let past = seen.past.as_ref().map(|past| &past.incident);
    html! {
        div.act.large {
            @if let Some(past) = past.filter(|past| past.closed_at.is_none() && !past.observed) {
                form method="post" action=(frame.to("incident/acknowledge")) {
                    input type="hidden" name="key" value=(past.dedup_key);
                    input type="hidden" name="by" value="" data-author;
                    @if past.acknowledged_by.is_some() {
                        input type="hidden" name="back" value="true";
                        button { "Take the acknowledgement back" }
                    } @else { button.primary #acknowledge title="Squelch does not repeat the incident, and acknowledges it at the pager" { "Acknowledge" } }
                }
            }
            @if let Some(open) = &seen.open { (now::actions(frame, &open.row)) }
            @if let Some(past) = past {
                @let query = text::query(&[("key", &past.dedup_key), ("number", &past.number.to_string())]);
                a.button href=(frame.to(&format!("incident/review{query}"))) download { "Export review" }
            }
        }
    }
}

/// Alerts counted by rule and severity, the worst first.
fn by_rule(seen: &Seen) -> Markup {
    let Some(open) = seen.open.as_ref().filter(|open| open.row.alerts > 1) else { return html! {} };
    let place = |name: &str| seen.levels.iter().position(|level| level.name == name).unwrap_or(usize::MAX);
    let mut counts: BTreeMap<(usize, &str, &str), (usize, usize)> = BTreeMap::new();
    for alert in &open.alerts {
        let key = (place(&alert.severity), alert.labels.value("alertname"), alert.severity.as_str());
        let (firing, all) = counts.entry(key).or_default();
        *firing += usize::from(alert.firing);
        *all += 1;
    }
    html! {
        h2 { "Rules" }
        @if open.alerts.len() < open.row.alerts { p.dim { "Counted over the alerts of this page." } }
        ul.counted { @for ((_, name, severity), (firing, all)) in &counts {
            li { b { (firing) } @if all > firing { span.dim { "/" (all) } }
                " " span.sev { (text::tame(severity, 40)) } " " (text::alert_name(name)) }
        } }
    }
}

fn alerts(frame: &Frame, open: &OpenIncident, page: usize, link: impl Fn(usize) -> String) -> Markup {
    html! {
        h2 { "Alerts" }
        table.rows {
            caption.unseen { "Alerts of the incident: those that fire first, then by severity, then by name" }
            thead { tr { th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Since" } } }
            tbody { @for alert in &open.alerts { (alert_row(frame, &open.row, alert)) } }
        }
        (page::pager(open.row.alerts, page, link))
    }
}

/// The alerts of a closed incident.
fn past_alerts(frame: &Frame, seen: &Seen) -> Markup {
    let alerts = seen.past.as_ref().map_or(&[][..], |past| &past.alerts);
    html! {
        @if !alerts.is_empty() {
            h2 { "Alerts" }
            table.rows {
                caption.unseen { "Alerts of the incident, the earliest first" }
                thead { tr { th scope="col" { "What" } th scope="col" { "Started" } th scope="col" { "Last decision" } } }
                tbody { @for alert in alerts {
                    @let labels = alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                    tr data-row {
                        td.what { a href=(frame.to(&format!("alert{}", text::query(&[("id", &alert.id)])))) {
                            (text::title(&crate::model::LabelSet::from_pairs(labels))) } }
                        td data-label="Started" { (text::moment(alert.started_at)) }
                        td data-label="Last decision" { (text::moment(alert.last_at)) }
                    }
                } }
            }
        }
    }
}

/// How often the rules fire, in words and by hour of the week.
fn baseline(seen: &Seen) -> Markup {
    html! {
        @if !seen.baselines.is_empty() {
            h2 { "How often" }
            @for (name, baseline) in &seen.baselines {
                @let most = baseline.hours.iter().copied().max().unwrap_or(0);
                @let said = format!("Firings of {} by hour of the week", text::tame(name, 60));
                details.technical {
                    summary { (text::alert_name(name)) ": " (baseline.text) }
                    p.dim { "Firings by hour of the week since " (text::moment(baseline.since)) ", in the time zone "
                        (baseline.location) ". Alerts that start within five minutes are one firing. No decision depends on it." }
                    figure.plot.week { (plot::heat(&by_day(&baseline.hours), most, "hot", (&said, "firing"))) }
                }
            }
        }
    }
}

/// The hours of a week by its days.
fn by_day(hours: &[u64]) -> [[u64; 24]; 7] {
    let hour = |day: usize, hour: usize| hours.get(day * 24 + hour).copied().unwrap_or(0);
    std::array::from_fn(|day| std::array::from_fn(|at| hour(day, at)))
}

fn similar_table(frame: &Frame, seen: &Seen) -> Markup {
    html! {
        @if !seen.similar.is_empty() {
            h2 { "Similar incidents" }
            (history::table(frame, &seen.similar))
        }
    }
}

/// Keys and numbers, for readers who need them.
fn details(asked: &IncidentPageParams, seen: &Seen) -> Markup {
    let open = seen.open.as_ref();
    let past = seen.past.as_deref();
    let group = open.map(|o| o.group_key.as_str()).or(past.map(|p| p.group_key.as_str())).unwrap_or_default();
    let generation = open.map(|o| o.generation).or(past.map(|p| p.generation)).unwrap_or_default();
    let number = open.map(|o| o.number).or(past.map(|p| p.incident.number)).unwrap_or_default();
    let key = past.map_or(asked.key.as_str(), |past| &past.incident.dedup_key);
    html! {
        details.technical {
            summary { "Technical details" }
            dl.facts {
                div { dt { "Dedup key" } dd { code { (key) } } }
                div { dt { "Number" } dd { (number) } }
                div { dt { "Group key" } dd { code { bdi { (text::tame(group, 400)) } } } }
                div { dt { "Generation" } dd { (generation) } }
                @if let Some(past) = past {
                    div { dt { "Route" } dd { code { bdi { (text::tame(&past.route, 400)) } } } }
                    div { dt { "Decided by" } dd { (past.origin) } }
                    @if let Some(number) = past.supersedes { div { dt { "Replaces" } dd { "incident " (number) } } }
                }
            }
        }
    }
}

/// Notes, and whether the page was useful. They stand outside of the part that is refreshed, so that nothing
/// that a person writes is lost.
fn notes(frame: &Frame, asked: &IncidentPageParams, seen: &Seen) -> Markup {
    let Some(past) = &seen.past else { return html! {} };
    let incident = &past.incident;
    let hidden = || {
        html! {
            input type="hidden" name="key" value=(incident.dedup_key);
            input type="hidden" name="number" value=(incident.number);
            @if asked.observed { input type="hidden" name="observed" value="true"; }
        }
    };
    let marked = |useful: bool| (incident.useful == Some(useful)).then_some("true");
    html! {
        section #useful aria-labelledby="useful-title" {
            h2 #useful-title { "Was this page useful?" }
            form.act method="post" action=(frame.to("incident/useful")) {
                (hidden())
                input type="hidden" name="by" value="" data-author;
                button name="useful" value="true" aria-pressed=[marked(true)] { "Yes, somebody had to act" }
                button name="useful" value="false" aria-pressed=[marked(false)] { "No" }
            }
        }
        section #notes aria-labelledby="notes-title" {
            h2 #notes-title { "Notes" }
            form.silence method="post" action=(frame.to("incident/note")) {
                (hidden())
                label { span { "Note" } textarea name="note" rows="2" required maxlength="10000" {} }
                label { span { "Your name" } input name="by" size="12" data-author; }
                button { "Add the note" }
            }
        }
    }
}

/// `GET /incident/review?key=…`: the review as Markdown, to be saved.
pub(in crate::web) async fn review(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let frame = Frame::new(&app, &uri, &headers).await;
    let found = async {
        let asked: IncidentPageParams = super::asked(&uri)?;
        reviewed(&app, WhichIncident { observed: None, ..asked.which() }).await
    };
    match found.await {
        Ok(review) => {
            let opened = review.detail.incident.opened_at.to_string();
            let day = opened.get(..10).unwrap_or_default();
            let name = format!("attachment; filename=\"review-{day}-{}.md\"", review.detail.incident.number);
            let kind = "text/markdown; charset=utf-8".to_owned();
            let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
            (StatusCode::OK, headers, review.markdown()).into_response()
        }
        Err(problem) => frame.problem(&problem),
    }
}

/// The changes at the time of the incident.
fn changes(frame: &Frame, changes: &[Change]) -> Markup {
    let now = frame.now();
    html! {
        @if !changes.is_empty() {
            h2 { "Changes" }
            p { "Change events since an hour before the page, the newest first." }
            ul.changes { @for change in changes {
                li {
                    (text::ago(now, change.at)) " ago: " (text::sentence(&change.summary))
                    @if !change.source.is_empty() { " (" bdi { (text::tame(&change.source, 60)) } ")" }
                    @for (name, href) in &change.links { " " (text::link(href, &text::tame(name, 60))) }
                }
            } }
        }
    }
}

/// The state of a row, its cause, and the next step.
pub(super) fn stand(frame: &Frame, row: &Row) -> Markup {
    let now = frame.now();
    html! {
        div.stand {
            @if row.standing.state == RowState::Observed {
                p.mode { "Only observed: its profile has the observe mode, so Squelch notifies nobody." }
            }
            @if row.standing.origin == Origin::Sender {
                p.mode { "As sent: its profile has the observe mode, so Squelch forwards the sender's statements." }
            }
            @if row.standing.origin == Origin::Internal { p.mode { "Internal: Squelch says this about itself." } }
            p {
                (now::state(row)) " at "
                bdi { (text::tame(&row.standing.receiver, 60)) } " · "
                span.sev { (text::tame(&row.severity, 40)) }
                " · " (text::cause(row.standing.cause.as_ref()))
            }
            @if let Some((at, what)) = row.standing.next {
                p.next { "Next: it " (causes::next_step(what)) " " (text::until(now, at)) }
            }
        }
    }
}

/// The alert's own text.
fn said(alert: &KnownAlert) -> Cow<'_, str> {
    match &alert.problem {
        Some(problem) => causes::problem(problem).into(),
        None => alert.annotations.value("summary").into(),
    }
}

fn alert_row(frame: &Frame, row: &Row, alert: &KnownAlert) -> Markup {
    let now = frame.now();
    let link = frame.to(&format!("alert{}", text::query(&[("id", &alert.id.to_string())])));
    html! {
        tr data-row {
            td data-label="State" {
                @if alert.firing { span.state.paged { "firing" } } @else { span.state.expired { "resolved" } }
                @if let Some(flaps) = alert.flaps { " " span.state.flapping { (flaps) " changes" } }
            }
            td.what {
                @if row.standing.origin == Origin::Internal { (text::title(&alert.labels)) }
                @else { a id=(format!("a{}", alert.id)) href=(link) { (text::title(&alert.labels)) } }
                p.why {
                    span.sev { (text::tame(&alert.severity, 40)) } " "
                    (text::sentence(&said(alert)))
                }
            }
            td data-label="Since" { (text::ago(now, alert.since())) }
        }
    }
}
