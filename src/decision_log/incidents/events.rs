//! The events of an incident as text.

use super::EventEntry;
use crate::causes;
use crate::model::{Cause, IncidentChange, IncidentDelivery, Kind, RemarkContent, Timestamp};

/// An event as people and programs read it.
pub(super) fn event(at: Timestamp, change: IncidentChange) -> EventEntry {
    let mut entry = EventEntry {
        at,
        lane: "decision".into(),
        event: String::new(),
        text: String::new(),
        by: None,
        note: None,
        integration: None,
        cause: None,
    };
    let because = |entry: &mut EventEntry, cause: Cause| {
        entry.text.push_str(&format!(": {}", causes::text(&cause)));
        entry.cause = Some(cause);
    };
    let alerts = |firing: usize, alerts: usize| match alerts {
        1 => String::new(),
        _ => format!(", {firing} of {alerts} alerts fire"),
    };
    match change {
        IncidentChange::Opened(opened) => {
            entry.event = "opened".into();
            let (issued, receiver) = (opened.issued, opened.receiver);
            let would = if opened.observed { "Squelch would have paged" } else { "Squelch paged" };
            entry.text =
                format!("{would} {receiver} ({}{})", issued.severity, alerts(issued.firing, issued.alerts));
            because(&mut entry, issued.cause);
        }
        IncidentChange::Issued(issued) => {
            entry.event = "issued".into();
            entry.text = format!(
                "Squelch updated the incident ({}{})",
                issued.severity,
                alerts(issued.firing, issued.alerts)
            );
            because(&mut entry, issued.cause);
        }
        IncidentChange::Accepted(of) => {
            (entry.lane, entry.event) = ("delivery".into(), "accepted".into());
            entry.text = format!("{} accepted the {}", place(&of), what(of.kind));
            entry.integration = Some(place(&of));
        }
        IncidentChange::Failed { of, attempts, error, .. } => {
            (entry.lane, entry.event) = ("delivery".into(), "failed".into());
            entry.text = match attempts {
                1 => format!(
                    "{} did not take the {}, and Squelch tries again: {error}",
                    place(&of),
                    what(of.kind)
                ),
                n => format!(
                    "{n} attempts failed to deliver the {} to {}, the last one with: {error}",
                    what(of.kind),
                    place(&of)
                ),
            };
            entry.integration = Some(place(&of));
        }
        IncidentChange::Refused { of, reason } => {
            (entry.lane, entry.event) = ("delivery".into(), "refused".into());
            entry.text = format!("{} refused the {} ({reason})", place(&of), what(of.kind));
            entry.integration = Some(place(&of));
        }
        IncidentChange::Recalled { of, attempts } => {
            (entry.lane, entry.event) = ("delivery".into(), "recalled".into());
            let tried = match attempts {
                0 => "before an attempt".to_owned(),
                1 => "after one attempt".to_owned(),
                n => format!("after {n} attempts"),
            };
            entry.text = format!(
                "Squelch recalled the {} to {} {tried}, because the incident changed before it was accepted",
                what(of.kind),
                place(&of)
            );
            entry.integration = Some(place(&of));
        }
        IncidentChange::Acknowledged { by: Some(by) } => {
            (entry.lane, entry.event) = ("person".into(), "acknowledged".into());
            entry.text = format!("{by} acknowledged the incident");
            entry.by = Some(by.into());
        }
        IncidentChange::Acknowledged { by: None } => {
            (entry.lane, entry.event) = ("person".into(), "unacknowledged".into());
            entry.text = "The acknowledgement was taken back".into();
        }
        IncidentChange::Escalated { to, within } => {
            entry.event = "escalated".into();
            entry.text = format!(
                "Squelch escalated to {to}, because no person acknowledged the incident within {within}"
            );
        }
        IncidentChange::Remarked(remark) => {
            entry.lane = "person".into();
            let by = remark.by;
            match remark.said {
                RemarkContent::Note(note) => {
                    (entry.event, entry.text) = ("note".into(), format!("{by}: {note}"));
                    entry.note = Some(note);
                }
                RemarkContent::Useful(true) => {
                    (entry.event, entry.text) = ("useful".into(), format!("{by} found the page useful"));
                }
                RemarkContent::Useful(false) => {
                    (entry.event, entry.text) =
                        ("not_useful".into(), format!("{by} did not find the page useful"));
                }
            }
            entry.by = Some(by.into());
        }
        IncidentChange::Closed { cause, successor } => {
            entry.event = "closed".into();
            entry.text = match successor {
                Some(number) => format!("Squelch closed the incident, and incident {number} took its place"),
                None => "Squelch closed the incident".into(),
            };
            // The text names the successor already.
            let cause = match *cause {
                Cause::Superseded { cause } if successor.is_some() => *cause,
                cause => cause,
            };
            because(&mut entry, cause);
        }
    }
    entry
}

/// A notification of this kind in a sentence.
fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Acknowledge => "acknowledgement",
        kind => kind.as_str(),
    }
}

fn place(of: &IncidentDelivery) -> String {
    format!("{}/{}", of.receiver, of.integration)
}
