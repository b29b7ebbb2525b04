//! The pager: it has one incident for each key, and shows the states that a person must never see.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use squelch::model::{AlertId, Kind, NotificationId, Status};

use super::delivery::{Attempt, named};
use super::plan::Mode;
use crate::plan::{Millis, SECOND};
use crate::rng::Rng;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    Later,
    None,
}

/// The state under one key.
#[derive(Default)]
struct Shown {
    open: bool,
    pages: BTreeSet<NotificationId>,
    /// The numbers of the pages that one of these took the place of, and the process that sent that one.
    replaced: Vec<(u64, Range<NotificationId>)>,
    firing: BTreeSet<AlertId>,
    /// The newest notification that closed it.
    closed_by: Option<NotificationId>,
    group: String,
}

#[derive(Default)]
pub struct Pager {
    pub mode: Option<Mode>,
    shown: BTreeMap<String, Shown>,
    /// Keys that an owner in doubt opened again.
    doubted: BTreeSet<String>,
    pub opened: u64,
    pub findings: Vec<String>,
}

impl Pager {
    /// How long a request needs to arrive.
    pub fn way(&self, rng: &mut Rng) -> Millis {
        match self.mode {
            Some(Mode::Late) if rng.once_in(2) => rng.between(4 * SECOND, 10 * SECOND),
            _ => rng.between(2, 120),
        }
    }

    /// A request arrives.
    pub fn takes(&mut self, attempt: &Attempt) -> Answer {
        match self.mode {
            Some(Mode::Fails) => return Answer::Later,
            Some(Mode::Hangs) => return Answer::None,
            Some(Mode::TakesAndHangs) => {
                self.judge(attempt);
                return Answer::None;
            }
            None | Some(Mode::Well | Mode::Late) => {}
        }
        self.judge(attempt);
        Answer::Taken
    }

    fn judge(&mut self, attempt: &Attempt) {
        let Attempt { notification: n, in_doubt, life: from, .. } = attempt;
        let (in_doubt, from) = (*in_doubt, *from);
        if n.kind == Kind::Digest {
            return;
        }
        let shown = self.shown.entry(n.dedup_key.to_string()).or_default();
        shown.group = n.group_key.to_string();
        let after_its_end = shown.closed_by.is_some_and(|closed| n.id < closed);
        // It took the place of a page that was recalled, and that may have been taken.
        let doubtful = n.replaces.is_some_and(|recalled| recalled.kind == Kind::Page && recalled.ambiguous);
        // A page of an earlier owner may arrive after its successor sent another one in its place.
        let replaced = shown.replaced.iter().any(|(by, ids)| *by != from && ids.contains(&n.id));
        let known = shown.pages.contains(&n.id) || doubtful || replaced;
        let wrong = match n.kind {
            Kind::Page | Kind::Update | Kind::Acknowledge if after_its_end => {
                "comes after the resolve that followed it"
            }
            Kind::Page if shown.open && !known && !shown.pages.is_empty() => "is silent: its key is open",
            Kind::Update | Kind::Acknowledge if shown.pages.is_empty() => "comes before its page",
            Kind::Resolve if shown.pages.is_empty() && !doubtful => "overtakes its page",
            _ => "",
        };
        if in_doubt && after_its_end {
            self.doubted.insert(n.dedup_key.to_string());
        } else if !wrong.is_empty() {
            self.findings.push(format!("{} {wrong}", named(n)));
        }
        match n.kind {
            Kind::Resolve => {
                shown.open = false;
                shown.closed_by = shown.closed_by.max(Some(n.id));
            }
            Kind::Page => {
                self.opened += u64::from(!shown.open);
                shown.open = true;
                shown.pages.insert(n.id);
                shown.replaced.extend(n.replaces.map(|first| (from, first.id..n.id)));
            }
            // It opens nothing at PagerDuty, but an event under a key that is closed does.
            Kind::Update | Kind::Digest => shown.open = true,
            Kind::Acknowledge => return,
        }
        if n.id >= shown.closed_by.unwrap_or(n.id) {
            shown.firing = n.alerts.iter().filter(|a| a.status == Status::Firing).map(|a| a.id).collect();
        }
    }

    /// Whether an open incident says that `alert` fires.
    pub fn shows(&self, alert: AlertId) -> bool {
        self.shown.values().any(|shown| shown.open && shown.firing.contains(&alert))
    }

    /// The open incidents: keys and groups. Those that an owner in doubt opened again are left out.
    pub fn open(&self) -> Vec<(String, String)> {
        let open = self.shown.iter().filter(|(key, shown)| shown.open && !self.doubted.contains(*key));
        open.map(|(key, shown)| (key.chars().take(6).collect(), shown.group.clone())).collect()
    }
}
