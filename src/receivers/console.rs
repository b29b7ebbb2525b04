//! `console_configs`: one line a notification, on standard output.

use std::path::Path;
use std::sync::Arc;

use squelch_core::policy::KnownBy;

use super::text::{clean_line, subject};
use super::{Attempt, AttemptError, Notifier, Reader, ReceiverType, Request, View};
use crate::causes;
use crate::settings::section::Section;

/// `console_configs`
pub static TYPE: ReceiverType = ReceiverType {
    list: "console_configs",
    name: "console",
    send_resolved: true,
    send_updates: true,
    known_by: KnownBy::Nothing,
    reader,
};

/// Notifications as text on standard output.
#[derive(Clone, Debug, Default)]
pub struct ConsoleConfig {}

fn reader<'b>(_: &mut Section<'_>, _: &'b Path) -> Reader<'b> {
    Box::new(|_| Arc::new(ConsoleConfig {}))
}

impl Notifier for ConsoleConfig {
    fn kind(&self) -> &'static ReceiverType {
        &TYPE
    }

    fn speaks_http(&self) -> bool {
        false
    }

    fn request(&self, attempt: &Attempt<'_>) -> Result<Request, AttemptError> {
        Ok(Request::Line(line(&attempt.view)))
    }
}

/// `2026-11-23T10:00:00Z page team/console[0] critical [FIRING:2] … key=0123456789ab why="…"`.
fn line(view: &View<'_>) -> String {
    let n = view.notification;
    let key: String = n.dedup_key.chars().take(12).collect();
    let repeat = if view.possible_repeat { " (possible repeat)" } else { "" };
    clean_line(&format!(
        "{} {} {}/{} {} {} key={key} why={:?}{repeat}",
        n.at,
        n.kind.as_str(),
        n.receiver,
        n.integration,
        n.severity,
        subject(view),
        causes::text(&n.cause),
    ))
}
