//! One incident, open or closed: its subject, its state, its events, and the actions for a person. Its
//! address stays valid for as long as the decision log keeps the incident.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::page::{self, Frame};
use super::seen::{IncidentPageParams, Seen, seen};
use super::{history, now, plot, respond, rules, text, timeline};
use crate::causes;
use crate::decision_log::{AsSentEntry, IncidentRuleEntry, PastIncidentDetail, WhichIncident};
use crate::engine::{KnownAlert, NextStep, OpenIncident, Origin, Row, RowState};
use crate::ingest::events::pagerduty::ChangeEvent;
use crate::model::{Cause, Timestamp};
use crate::web::app::App;
use crate::web::v1::history::reviewed;
use squelch_core::policy::Level;

/// `GET /incident?key=…`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: IncidentPageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    match seen(&app, &asked).await {
        Ok(seen) => frame.page(&seen.title(), body(&frame, &asked, &seen)),
        Err(problem) => frame.problem(&problem),
    }
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
            (head(frame, seen))
            (respond::act(frame, seen))
            (rules::lines(seen))
            (facts(frame, seen))
            @if let Some(past) = &seen.past {
                h2 { "Timeline" }
                (timeline::draw(frame.now(), past))
                (timeline::list(frame.now(), past))
            } @else { p.empty { "The timeline appears here in a moment." } }
            (respond::notes(frame, asked, seen))
            (respond::useful(frame, asked, seen))
            @match &seen.open {
                Some(open) => (alerts(frame, seen, open, page, address)),
                None => (past_alerts(frame, seen)),
            }
            (self::changes(frame, &seen.changes))
            (baseline(seen))
            (similar_table(frame, seen))
            (details(asked, seen))
        }))
    }
}

fn address(frame: &Frame, asked: &IncidentPageParams, page: usize) -> String {
    let number = asked.number.map(|number| number.to_string()).unwrap_or_default();
    let page = if page > 1 { page.to_string() } else { String::new() };
    let observed = if asked.observed { "true" } else { "" };
    let query = [("key", &asked.key[..]), ("number", &number), ("observed", observed), ("page", &page)];
    frame.to(&format!("incident{}", text::query(&query)))
}

impl Seen {
    /// A severity in the colour of its level.
    pub(super) fn badge(&self, severity: &str) -> Markup {
        text::severity(severity, self.levels.iter().position(|level| *level.name == *severity))
    }

    /// Whether Squelch opened the incident about itself.
    fn is_internal(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.row.standing.origin == Origin::Internal)
            || self.past.as_ref().is_some_and(|past| past.origin == "internal")
    }

    /// When the incident closed, if it did.
    fn closed_at(&self) -> Option<Timestamp> {
        self.past.as_ref().filter(|_| self.open.is_none())?.incident.closed_at
    }

    /// The title of the window: the subject, and the state if it is not the usual one.
    fn title(&self) -> String {
        let title = match (&self.open, &self.past) {
            (Some(open), _) => open.row.headline.clone().unwrap_or_default().to_string(),
            (None, Some(past)) => past.incident.title.clone(),
            (None, None) => String::new(),
        };
        let title = text::tame(&title, 100);
        let acknowledged = self.open.as_ref().is_some_and(|open| open.row.acknowledged.is_some());
        match (self.closed_at(), acknowledged) {
            (Some(_), _) => format!("{title} (closed)"),
            (None, true) => format!("{title} (acknowledged)"),
            (None, false) => title,
        }
    }
}

/// Title, state, severity with its criteria, and summary.
fn head(frame: &Frame, seen: &Seen) -> Markup {
    let severity = severity(seen);
    // The criteria speak of the alerts of senders.
    let level = seen.levels.iter().find(|level| *level.name == *severity).filter(|_| !seen.is_internal());
    html! {
        @match (&seen.open, &seen.past) {
            (Some(open), _) => h1.long { (text::heading(&open.row)) },
            (None, Some(past)) => h1.long { bdi { (text::tame(&past.incident.title, 300)) } },
            (None, None) => {},
        }
        @if let Some(summary) = summary(seen) { p.subject { (text::sentence(&summary)) } }
        p.severity {
            (seen.badge(&severity))
            @if let Some(at) = seen.closed_at() {
                " " span.state.resolving { "closed" } " " (text::ago(frame.now(), at)) " ago"
                @let past = seen.past.as_ref().map(|past| &past.incident);
                @if let Some(length) = past.and_then(|past| past.time_to_resolve()) {
                    ", after " (text::span(length)) }
            } @else if let Some(level) = level { (criteria(level)) }
        }
    }
}

/// Where the incident stands, and its times.
fn facts(frame: &Frame, seen: &Seen) -> Markup {
    let now = frame.now();
    html! {
        @if let Some(open) = &seen.open { (stand(frame, &open.row)) }
        dl.facts {
            @if let Some(PastIncidentDetail { incident, .. }) = seen.past.as_deref() {
                div { dt { "Started" } dd {
                    (text::short(now, incident.started_at)) ", " (text::ago(now, incident.started_at)) " ago" } }
                div { dt { @if incident.observed { "Would page" } @else { "Paged" } } dd {
                    bdi { (text::tame(&incident.receiver, 60)) } " at " (text::short(now, incident.opened_at))
                    @if let Some(length) = incident.time_to_notify() { ", accepted " (text::span(length)) " after the start" }
                    @else if seen.open.is_some() && !incident.observed { ", and no receiver has accepted it yet" }
                } }
                @for AsSentEntry { incident: sent, .. } in &seen.as_sent {
                    @let number = sent.number.to_string();
                    @let query = text::query(&[("key", &sent.dedup_key), ("number", &number)]);
                    div { dt { "As sent" } dd {
                        a href=(frame.to(&format!("incident{query}"))) {
                            bdi { (text::tame(&sent.title, 120)) } }
                        " at " (text::short(now, sent.opened_at))
                        @if sent.notified_at.is_none() { ", and no receiver accepted it" }
                    } }
                }
                @if let (Some(by), Some(at)) = (&incident.acknowledged_by, incident.acknowledged_at) {
                    div { dt { "Acknowledged" } dd { "by " bdi { (text::tame(by, 60)) } " at " (text::short(now, at))
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
                @let since = open.row.since;
                div { dt { "Paged" } dd { (text::short(now, since)) ", " (text::ago(now, since)) " ago" } }
                @if let Some((by, at)) = &open.row.acknowledged {
                    div { dt { "Acknowledged" } dd { "by " bdi { (text::tame(by, 60)) } ", " (text::ago(now, *at)) " ago. Squelch does not repeat it." } }
                }
            }
            @if let Some(open) = &seen.open {
                div { dt { "Alerts" } dd { (open.row.firing) " of " (open.row.alerts) " fire" } }
                @let shows = open.row.standing.would.is_none();
                @if shows { div { dt { "Shown at" } dd {
                    @if open.delivered.is_empty() { "no receiver yet" } @else { @for name in &open.delivered {
                        @if !name.contains('/') { bdi { (text::tame(&open.row.standing.receiver, 60)) } "/" }
                        bdi { (text::tame(name, 60)) } " " } } } } }
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
    // An internal incident has no rule. Its problem is the cause of its page.
    let problem = |past: &PastIncidentDetail| {
        let mut causes = past.events.iter().filter_map(|event| event.cause.as_ref());
        causes.find_map(|cause| match cause {
            Cause::Problem { problem } => Some(causes::problem(problem)),
            _ => None,
        })
    };
    let past = seen.past.as_ref();
    said.or_else(|| past?.rules.iter().find_map(annotation)).or_else(|| problem(past?))
}

fn alerts(
    frame: &Frame,
    seen: &Seen,
    open: &OpenIncident,
    page: usize,
    link: impl Fn(usize) -> String,
) -> Markup {
    html! {
        h2 { "Alerts" }
        table.rows.few {
            caption.unseen { "Alerts of the incident: those that fire first, then by severity, then by name" }
            thead { tr { th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Since" } } }
            tbody { @for alert in &open.alerts { (alert_row(frame, seen, &open.row, alert)) } }
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
            table.rows.few {
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
            @for (at, (name, baseline)) in seen.baselines.iter().enumerate() {
                @let most = baseline.hours.iter().copied().max().unwrap_or(0);
                @let said = format!("Firings of {} by hour of the week", text::tame(name, 60));
                details.technical id=(format!("often-{at}")) {
                    summary { (text::alert_name(name)) ": " (baseline.text) }
                    p.dim { "Firings by hour of the week since " (text::moment(baseline.since)) ", in the time zone "
                        (baseline.location) ". Alerts that start within five minutes are one firing. No decision depends on it." }
                    @let week = by_day(&baseline.hours);
                    @let id = format!("hours-{at}");
                    figure.plot.week { (plot::heat(&id, &week, most, "hot", (&said, "firing"))) }
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
        details.technical #technical {
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

/// `GET /incident/review?key=…`: the review as Markdown, to be saved.
pub(in crate::web) async fn review(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let found = async {
        let asked: IncidentPageParams = super::parameters(&uri)?;
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
fn changes(frame: &Frame, changes: &[ChangeEvent]) -> Markup {
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
                (text::severity(&row.severity, Some(row.level)))
                " · " (text::cause(row.standing.cause.as_ref()))
            }
            @if let Some((at, what)) = &row.standing.next {
                p.next { "Next: it " bdi { (text::tame(&causes::next_step(what), 80)) } " " (text::until(now, *at))
                    @if matches!(what, NextStep::Escalates { .. }) { ", unless a person acknowledges it" } }
            }
        }
    }
}

/// The alert's own text.
fn said(alert: &KnownAlert) -> Cow<'_, str> {
    match &alert.problem {
        Some(problem) => causes::problem(problem).into(),
        None => {
            let texts = ["summary", "description"].map(|name| alert.annotations.value(name));
            texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default().into()
        }
    }
}

fn alert_row(frame: &Frame, seen: &Seen, row: &Row, alert: &KnownAlert) -> Markup {
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
                p.why { (seen.badge(&alert.severity)) " " (text::sentence(&said(alert))) }
            }
            td data-label="Since" { (text::ago(now, alert.since())) }
        }
    }
}
