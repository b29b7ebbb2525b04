//! Silences: made, listed and ended. The form shows the alerts that its matchers match before it silences
//! anything.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;
use smol_str::SmolStr;

use super::page::{self, Frame};
use super::{ROWS, look, offset, text};
use crate::config::Role;
use crate::engine::Matching;
use crate::model::{Silence, SilenceState, Timestamp, parse_matchers_within};
use crate::web::app::App;
use crate::web::problem::Problem;
use crate::web::v1::PARAMETERS_COMPILED;

/// So many names of alerts are shown.
const NAMED: usize = 5;
/// Looks at the alerts that one count takes at most.
const LOOKS: usize = 20;

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct SilencePageParams {
    /// Matchers that a new silence begins with.
    #[serde(default)]
    q: String,
    /// The `dedup_key` of the incident that is to be silenced.
    #[serde(default)]
    incident: String,
    page: Option<usize>,
}

/// The content of a form.
#[derive(Deserialize, Default)]
pub(super) struct Form {
    pub(super) matchers: String,
    #[serde(rename = "for")]
    pub(super) length: String,
    pub(super) comment: String,
    pub(super) by: String,
    /// The incident that it is about, if it is about one.
    #[serde(default)]
    pub(super) incident: String,
    /// The matchers whose count was shown.
    pub(super) counted: Option<String>,
}

/// Which field of the form is wrong, and how.
pub(super) struct WrongField {
    pub(super) field: &'static str,
    pub(super) why: String,
}

impl WrongField {
    fn of<'w>(wrong: Option<&'w WrongField>, field: &str) -> Option<&'w WrongField> {
        wrong.filter(|wrong| wrong.field == field)
    }

    /// The value of `aria-invalid` at `field`.
    pub(super) fn marks(wrong: Option<&WrongField>, field: &str) -> Option<&'static str> {
        Self::of(wrong, field).map(|_| "true")
    }

    /// The error beside `field`.
    pub(super) fn beside(wrong: Option<&WrongField>, field: &str) -> Markup {
        html! { @if let Some(wrong) = Self::of(wrong, field) {
            small.error role="alert" id=(format!("{field}-error")) { (text::tame(&wrong.why, 400)) }
        } }
    }
}

/// `GET /silences`
pub(in crate::web) async fn show(State(app): State<App>, uri: Uri, frame: Frame) -> Response {
    let asked: SilencePageParams = match super::parameters(&uri) {
        Ok(asked) => asked,
        Err(problem) => return frame.problem(&problem),
    };
    let mut form =
        Form { matchers: asked.q, length: "2h".into(), incident: asked.incident, ..Form::default() };
    if form.matchers.is_empty() && !form.incident.is_empty() {
        let key = form.incident.clone();
        match look(&app, move |engine| engine.query().propose_silence(&key)).await {
            Ok(proposed) => form.matchers = text::written(&proposed.unwrap_or_default()),
            Err(problem) => return frame.problem(&problem),
        }
    }
    page(&app, &frame, &form, None, asked.page).await
}

/// The same page with a form that was sent and not granted.
pub(super) async fn again(app: &App, frame: &Frame, form: &Form, wrong: Option<&WrongField>) -> Response {
    page(app, frame, form, wrong, None).await
}

async fn page(
    app: &App,
    frame: &Frame,
    form: &Form,
    wrong: Option<&WrongField>,
    page: Option<usize>,
) -> Response {
    let from = offset(page);
    let seen = look(app, move |engine| {
        let mut all = engine.query().silences();
        all.sort_by_key(|(s, state)| (*state == SilenceState::Expired, Reverse(s.updated_at), s.id.clone()));
        let count = all.len();
        (count, all.into_iter().skip(from).take(ROWS).collect::<Vec<_>>())
    });
    let (count, silences) = match seen.await {
        Ok(seen) => seen,
        Err(problem) => return frame.problem(&problem),
    };
    let key = form.incident.clone();
    let about = look(app, move |engine| engine.query().incident(&key, false, 0, 0).map(|open| open.row));
    let about = match about.await {
        Ok(about) => about,
        Err(problem) => return frame.problem(&problem),
    };
    let counted = match counted(app, &form.matchers, &form.incident).await {
        Ok(counted) => counted,
        Err(problem) => return frame.problem(&problem),
    };
    let link = |page: usize| frame.to(&format!("silences{}", text::query(&[("page", &page.to_string())])));
    let body = html! {
        h1 { "Silences" }
        @if let Some(row) = &about {
            @let incident = frame.to(&format!("incident{}", text::query(&[("key", &form.incident)])));
            p.about { "A silence for the incident " a href=(incident) { (text::heading(row)) } "." }
        }
        @if frame.may(Role::Silence) { (fields(frame, form, wrong, &counted)) }
        h2 { "All silences" }
        @if silences.is_empty() { p.empty { "There is no silence." } } @else { (table(frame, silences.iter())) }
        (page::pager(count, page.unwrap_or(1).max(1), link))
    };
    let status = if wrong.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    frame.answer(status, "Silences", body)
}

/// The parameters of the address line.
#[derive(Deserialize, Default)]
pub(in crate::web) struct AskedMatching {
    #[serde(default)]
    matchers: String,
    #[serde(default)]
    incident: String,
}

/// `GET /silences/matching`: the part of the form that shows the alerts that matchers match now.
pub(in crate::web) async fn matching(State(app): State<App>, uri: Uri) -> Response {
    let counted = async {
        let asked: AskedMatching = super::parameters(&uri)?;
        let counted = counted(&app, &asked.matchers, &asked.incident).await?;
        Ok::<_, Problem>(said(&asked.matchers, &asked.incident, &counted))
    };
    match counted.await {
        Ok(said) => page::fragment(said),
        Err(problem) => problem.into_response(),
    }
}

/// The alerts that matchers match.
enum Counted {
    /// No matcher is given.
    Nothing,
    /// They cannot be read.
    Wrong(String),
    /// The alerts, and the end of a silence in force with the same matchers. Not all alerts were looked at if
    /// there is a `next`.
    Alerts(Matching, Option<Timestamp>),
}

async fn counted(app: &App, matchers: &str, incident: &str) -> Result<Counted, Problem> {
    let mut allowance = PARAMETERS_COMPILED;
    let matchers = match parse_matchers_within(matchers, &mut allowance) {
        Ok(matchers) if matchers.is_empty() => return Ok(Counted::Nothing),
        Ok(matchers) => matchers,
        Err(error) => return Ok(Counted::Wrong(error.to_string())),
    };
    let mut all = Matching::default();
    for _ in 0..LOOKS {
        let (matchers, incident, after) = (matchers.clone(), incident.to_owned(), all.next);
        let found = look(app, move |engine| engine.query().matching(&matchers, &incident, after)).await?;
        let (inside, others) = (all.inside + found.inside, all.others + found.others);
        let mut rules = all.rules;
        for (rule, count) in found.rules {
            *rules.entry(rule).or_default() += count;
        }
        all = Matching { inside, others, rules, ..found };
        if all.next.is_none() {
            break;
        }
    }
    let text = text::written(&matchers);
    let until = look(app, move |engine| {
        let silences = engine.query().silences().into_iter();
        let same = silences.filter(|(silence, state)| {
            *state == SilenceState::Active && silence.matchers.iter().any(|set| text::written(set) == text)
        });
        same.map(|(silence, _)| silence.ends_at).max()
    });
    Ok(Counted::Alerts(all, until.await?))
}

/// The part of the form that shows the alerts that its matchers match.
fn said(matchers: &str, incident: &str, counted: &Counted) -> Markup {
    html! {
        div #matching .matching aria-live="polite" {
            @match counted {
                Counted::Nothing => p { "No matcher is given yet." },
                Counted::Wrong(why) => p.error #matchers-error { (text::tame(why, 400)) },
                Counted::Alerts(Matching { inside, others, of, rules, next }, until) => {
                    @let all = inside + others;
                    p class=[(*others > 0 && !incident.is_empty()).then_some("wide")] {
                        "Matches " @if next.is_some() { "at least " }
                        b { (all) } @if all == 1 { " alert that fires" } @else { " alerts that fire" }
                        @if incident.is_empty() { "." } @else {
                            ": " b { (inside) } " of the " (of) " in the incident, and " b { (others) }
                            @if *others == 1 { " other." } @else { " others." }
                        }
                    }
                    (kinds(rules))
                    @if let Some(until) = until {
                        p.wide { "A silence with these matchers is in force already. It ends at " (text::moment(*until)) "." }
                    }
                }
            }
            input type="hidden" name="counted" value=(matchers);
        }
    }
}

/// The severities and the names of the alerts that a silence would match, the worst first.
fn kinds(rules: &BTreeMap<(usize, SmolStr, SmolStr), usize>) -> Markup {
    let mut severities: Vec<((usize, &str), usize)> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for ((level, severity, name), count) in rules {
        match severities.last_mut().filter(|((last, _), _)| last == level) {
            Some((_, all)) => *all += count,
            None => severities.push(((*level, severity), *count)),
        }
        if !name.is_empty() && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    html! {
        @if !severities.is_empty() {
            p {
                @for ((level, severity), count) in severities {
                    b { (count) } " " (text::severity(severity, Some(level))) " " }
                @for (row, name) in names.iter().take(NAMED).enumerate() {
                    @if row > 0 { ", " } (text::alert_name(name)) }
                @if names.len() > NAMED { ", and " (names.len() - NAMED) " more names" }
            }
        }
    }
}

/// The form for a new silence.
fn fields(frame: &Frame, form: &Form, wrong: Option<&WrongField>, counted: &Counted) -> Markup {
    let error =
        |field: &str| wrong.filter(|wrong| wrong.field == field).map(|wrong| text::tame(&wrong.why, 400));
    let bad = |field: &str| error(field).map(|_| "true");
    let beside = |field: &str| {
        html! { @if let Some(why) = error(field) { small.error id=(format!("{field}-error")) { (why) } } }
    };
    let described = |field: &str| error(field).map(|_| format!("{field}-error"));
    let unread = matches!(counted, Counted::Wrong(_));
    let unconfirmed =
        wrong.is_none() && form.counted.as_ref().is_some_and(|known| !same(known, &form.matchers));
    html! {
        form.silence method="post" action=(frame.to("act/silence")) {
            @if let Some(wrong) = wrong {
                p.problem role="alert" { "Nothing is silenced: " (text::tame(&wrong.why, 400)) }
            } @else if unconfirmed {
                p.problem role="alert" { "Nothing is silenced yet: look at how much these matchers match, and send the form again." }
            }
            label { span { "Silence alerts that match" } textarea name="matchers" required rows="2"
                autocomplete="off" spellcheck="false" aria-describedby="matching" data-counted
                aria-invalid=[(unread || bad("matchers").is_some()).then_some("true")]
                hx-get=(frame.to("silences/matching")) hx-trigger="input changed delay:250ms" hx-target="#matching"
                hx-swap="outerHTML" hx-include="[name=incident]" hx-sync="this:replace"
                placeholder="alertname=\"DiskFull\", host=~\"db-.*\"" { (form.matchers) } }
            (said(&form.matchers, &form.incident, counted))
            input type="hidden" name="incident" value=(form.incident);
            label { span { "for" } input name="for" required value=(form.length) size="6" pattern="[0-9a-z ]+"
                aria-invalid=[bad("for")] aria-describedby=[described("for")]
                title="such as 30m, 2h or 1d12h"; (beside("for")) }
            label { span { "because" } input name="comment" required maxlength="500" value=(form.comment)
                aria-invalid=[bad("comment")] aria-describedby=[described("comment")]
                placeholder="the reason, and the work under way"; (beside("comment")) }
            label { span { "by" } input name="by" required maxlength="100" value=(form.by)
                autocomplete="username" data-author; }
            button.primary { "Silence" }
        }
    }
}

/// Whether two fields have the same matchers, apart from their lines.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

/// A table of silences.
pub(super) fn table<'a>(
    frame: &Frame,
    silences: impl Iterator<Item = &'a (Silence, SilenceState)>,
) -> Markup {
    html! {
        table.rows.few {
            caption.unseen { "Silences" }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "By" }
                th scope="col" { "Ends" } th scope="col" { span.unseen { "Actions" } }
            } }
            tbody { @for (silence, state) in silences { (row(frame, silence, *state)) } }
        }
    }
}

fn row(frame: &Frame, silence: &Silence, state: SilenceState) -> Markup {
    let now = frame.now();
    let matchers = text::written_sets(silence);
    html! {
        tr data-row {
            td data-label="State" { span class=(format!("state {}", state.as_str())) { (state.as_str()) } }
            td.what { code { bdi { (text::tame(&matchers, 300)) } } p.why {
                (text::sentence(&silence.comment)) }
                @if state != SilenceState::Expired && !silence.is_compiled() {
                    p.why { "Silences nothing: its expressions take more memory than there is for silences." }
                } }
            td data-label="By" { bdi { (text::tame(&silence.created_by, 60)) } }
            td data-label="Ends" {
                @match state {
                    SilenceState::Active => (text::until(now, silence.ends_at)),
                    SilenceState::Pending => { "begins " (text::until(now, silence.starts_at)) },
                    SilenceState::Expired => { (text::ago(now, silence.ends_at)) " ago" },
                }
            }
            td.act {
                @if !frame.may(Role::Silence) {} @else if state == SilenceState::Expired {
                    a.button href=(frame.to(&format!("silences{}", text::query(&[("q", &matchers)])))) { "Again" }
                } @else {
                    form method="post" action=(frame.to("silences/expire")) {
                        input type="hidden" name="id" value=(silence.id);
                        input type="hidden" name="by" value="" data-author;
                        button { "Expire" }
                    }
                }
            }
        }
    }
}
