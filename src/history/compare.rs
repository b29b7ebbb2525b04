//! The pages that one configuration sends, and that another does not send, or sends later.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;
use smol_str::SmolStr;

use super::time::SAME_MS;
use super::told::Telling;
use crate::model::{AlertView, Kind, Timestamp};

/// The differences that are named one by one. Further ones are only counted.
const NAMED: usize = 20;

/// The occurrences that are remembered of each configuration. Notifications about further ones are not
/// compared.
const MOST: usize = 5_000_000;

/// The differences between a configuration, *new*, and another, *old*. Pages correspond if they have an
/// occurrence in common.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Pages of new that old does not have.
    pub gained: Difference,
    /// Pages of old that new does not have, and that new tells in an incident that is open already.
    pub quiet: Difference,
    /// Pages of old of which new tells nothing at all.
    pub lost: Difference,
    /// Pages of old that in new come later.
    pub later: Difference,
    /// Pages of old that new has as early.
    pub same: u64,
    /// There was more to remember than is remembered: not all was compared.
    pub truncated: bool,
}

/// Pages that differ in one way.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// How many.
    pub pages: u64,
    /// The first of them.
    pub first: Vec<Example>,
}

/// One page that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// When it pages where it does.
    pub at: Timestamp,
    /// The first alert that it includes, as a label set.
    pub alert: String,
    /// When the other configuration notifies of it, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Timestamp>,
}

/// The notifications of a configuration, remembered for comparison.
#[derive(Debug, Default)]
pub(super) struct Diary {
    pages: Vec<Page>,
    /// By occurrence: the times of its first page, and of its first notification.
    told: HashMap<u64, (Option<Timestamp>, Timestamp)>,
    truncated: bool,
}

#[derive(Debug)]
struct Page {
    at: Timestamp,
    alert: SmolStr,
    occurrences: Vec<u64>,
}

impl Diary {
    pub(super) fn note(&mut self, telling: &Telling<'_>) {
        let n = telling.notification;
        if !matches!(n.kind, Kind::Page | Kind::Update) {
            return;
        }
        for alert in &telling.alerts {
            if self.told.len() >= MOST {
                self.truncated = true;
                break;
            }
            let paged = (n.kind == Kind::Page).then_some(n.at);
            let (first_paged, _) = self.told.entry(occurrence(alert)).or_insert((paged, n.at));
            *first_paged = first_paged.or(paged);
        }
        if n.kind == Kind::Page && self.pages.len() < MOST {
            // Its new alerts made it. A page without a new alert is about all of its alerts.
            let about = if telling.fresh.is_empty() { &telling.alerts } else { &telling.fresh };
            let first = about.iter().min_by_key(|a| a.starts_at);
            let page = Page {
                at: n.at,
                alert: first.map(|a| a.labels.to_string()).unwrap_or_default().into(),
                occurrences: about.iter().map(|a| occurrence(a)).collect(),
            };
            self.pages.push(page);
        }
    }
}

/// An occurrence, independent of the alert identity of either configuration.
fn occurrence(alert: &AlertView) -> u64 {
    let mut hash = DefaultHasher::new();
    (&alert.labels, alert.starts_at).hash(&mut hash);
    hash.finish()
}

/// Compares the notifications of `new` and `old` on the same history.
pub(super) fn compare(new: &Diary, old: &Diary) -> Comparison {
    let mut found = Comparison { truncated: new.truncated || old.truncated, ..Comparison::default() };
    for page in &old.pages {
        let (paged, told) = told_by(new, page);
        match (paged, told) {
            (Some(at), _) if at.since(page.at).as_millis() <= SAME_MS => found.same += 1,
            (Some(at), _) => found.later.add(page, Some(at)),
            (None, Some(at)) => found.quiet.add(page, Some(at)),
            (None, None) => found.lost.add(page, None),
        }
    }
    for page in &new.pages {
        let (paged, told) = told_by(old, page);
        if paged.is_none() {
            found.gained.add(page, told);
        }
    }
    found
}

/// When `diary` first paged one of the occurrences of `page`, and first notified of one.
fn told_by(diary: &Diary, page: &Page) -> (Option<Timestamp>, Option<Timestamp>) {
    let told = page.occurrences.iter().filter_map(|o| diary.told.get(o));
    told.fold((None, None), |(paged, first), (p, t)| {
        ([paged, *p].into_iter().flatten().min(), [first, Some(*t)].into_iter().flatten().min())
    })
}

impl Difference {
    fn add(&mut self, page: &Page, other: Option<Timestamp>) {
        self.pages += 1;
        if self.first.len() < NAMED {
            self.first.push(Example { at: page.at, alert: page.alert.to_string(), other });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diary(pages: &[(i64, &[u64])], quiet: &[(i64, u64)]) -> Diary {
        let mut diary = Diary::default();
        for (at, occurrences) in pages {
            let at = Timestamp::from_millis(at * 1000);
            for occurrence in *occurrences {
                diary.told.insert(*occurrence, (Some(at), at));
            }
            diary.pages.push(Page { at, alert: "{}".into(), occurrences: occurrences.to_vec() });
        }
        let quiet = quiet.iter().map(|(at, o)| (*o, (None, Timestamp::from_millis(at * 1000))));
        diary.told.extend(quiet);
        diary
    }

    #[test]
    fn pages_correspond_by_what_they_tell() {
        let old = diary(&[(0, &[1, 2]), (10, &[3]), (20, &[4]), (30, &[5])], &[(31, 6)]);
        let new = diary(&[(1, &[2]), (40, &[3]), (50, &[6]), (60, &[7])], &[(45, 4)]);
        let found = compare(&new, &old);
        let counts =
            [&found.gained, &found.quiet, &found.lost, &found.later].map(|difference| difference.pages);
        assert_eq!((counts, found.same), ([2, 1, 1, 1], 1));
        assert_eq!(found.later.first[0].other, Some(Timestamp::from_millis(40_000)));
        assert_eq!(found.gained.first[0].other, Some(Timestamp::from_millis(31_000)));
        assert_eq!(found.lost.first[0].at, Timestamp::from_millis(30_000));
    }
}
