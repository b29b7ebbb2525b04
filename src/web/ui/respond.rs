//! The actions of a person at an incident: to acknowledge it, to silence it, to write notes, and to say
//! whether its page was useful.

use maud::{Markup, html};

use super::page::Frame;
use super::seen::{IncidentPageParams, Seen};
use super::{now, text};
use crate::config::Role;

/// The actions above everything else.
pub(super) fn act(frame: &Frame, seen: &Seen) -> Markup {
    let past = seen.past.as_ref().map(|past| &past.incident);
    html! {
        div.act.large {
            @if let Some((key, taken)) = acknowledgeable(seen).filter(|_| frame.may(Role::Silence)) {
                form.act method="post" action=(frame.to("incident/acknowledge")) {
                    input type="hidden" name="key" value=(key);
                    @if taken {
                        input type="hidden" name="by" value="" data-author;
                        input type="hidden" name="back" value="true";
                        button title="Squelch repeats and escalates the incident again. A pager that shows it as acknowledged goes on showing that"
                            { "Take the acknowledgement back" }
                    } @else {
                        button.primary #acknowledge data-key="a" aria-keyshortcuts="a"
                            title="Squelch does not repeat or escalate the incident, and acknowledges it at the pager" { "Acknowledge" }
                        (name(frame, "acknowledge-by"))
                    }
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

/// The key of an incident that a person can acknowledge, and whether a person has.
fn acknowledgeable(seen: &Seen) -> Option<(&str, bool)> {
    match (&seen.open, &seen.past) {
        (Some(open), _) => {
            let key = open.row.standing.incident.as_deref()?;
            open.row.standing.would.is_none().then_some((key, open.row.acknowledged.is_some()))
        }
        (None, Some(past)) => {
            let past = &past.incident;
            let open = past.closed_at.is_none() && !past.observed;
            open.then_some((&past.dedup_key, past.acknowledged_by.is_some()))
        }
        (None, None) => None,
    }
}

/// The field for the name of a person. It is hidden if the server knows who asks.
fn name(frame: &Frame, id: &str) -> Markup {
    html! {
        @if !frame.is_known() {
            // A refresh of the page keeps what a person has written.
            label.by #(id) hx-preserve="true" { span.unseen { "Your name" }
                input name="by" size="12" maxlength="100" placeholder="your name" autocomplete="username" data-author; }
        }
    }
}

/// Whether the page was useful.
pub(super) fn useful(frame: &Frame, asked: &IncidentPageParams, seen: &Seen) -> Markup {
    let Some(past) = &seen.past else { return html! {} };
    let marked = |useful: bool| (past.incident.useful == Some(useful)).then_some("true");
    html! {
        section #useful aria-labelledby="useful-title" {
            h2 #useful-title { "Was this page useful?" }
            @if frame.may(Role::Silence) {
                form.act method="post" action=(frame.to("incident/useful")) {
                    (which(asked, seen))
                    input type="hidden" name="by" value="" data-author;
                    button name="useful" value="true" aria-pressed=[marked(true)] { "Yes, somebody had to act" }
                    button name="useful" value="false" aria-pressed=[marked(false)] { "No" }
                }
            } @else {
                p { @match past.incident.useful { Some(true) => "Yes, somebody had to act.", Some(false) => "No.", None => "No person has answered." } }
            }
        }
    }
}

/// The notes, and the form for a further one.
pub(super) fn notes(frame: &Frame, asked: &IncidentPageParams, seen: &Seen) -> Markup {
    let Some(past) = &seen.past else { return html! {} };
    let notes = past.events.iter().filter_map(|event| Some((event, event.note.as_deref()?)));
    html! {
        section #notes aria-labelledby="notes-title" {
            h2 #notes-title { "Notes" }
            @for (event, note) in notes {
                div.note {
                    @let by = event.by.as_deref().unwrap_or_default();
                    p.why { bdi { (text::tame(by, 60)) } ", " (text::moment(event.at)) }
                    p.lines { bdi { (text::tame_lines(note, 4_000)) } }
                }
            }
            @if frame.may(Role::Silence) {
                form.silence #new-note hx-preserve="true" method="post" action=(frame.to("incident/note")) {
                    (which(asked, seen))
                    label { span { "Note" } textarea name="note" rows="2" required maxlength="10000" {} }
                    @if !frame.is_known() { label { span { "Your name" } input name="by" size="12" data-author; } }
                    button { "Add the note" }
                }
            }
        }
    }
}

/// The fields that say which incident a form is about.
fn which(asked: &IncidentPageParams, seen: &Seen) -> Markup {
    html! {
        @if let Some(past) = &seen.past {
            input type="hidden" name="key" value=(past.incident.dedup_key);
            input type="hidden" name="number" value=(past.incident.number);
            @if asked.observed { input type="hidden" name="observed" value="true"; }
        }
    }
}
