//! Suggestions of a running server: priced on its own journal, by a thread of their own, when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::clock::wall;
use crate::config::Policy;
use crate::history::{Effort, HistoryError, Priced, journal, suggest};
use crate::journal::{JournalPast, JournalPlace};

/// Suggestions are priced anew at most so often.
const REST: Duration = Duration::from_secs(60);
/// A pricing may take this share of the time: one part of so many.
const SHARE: u32 = 20;

/// The suggestions that were priced last.
pub(super) struct Suggestions {
    place: JournalPlace,
    known: ArcSwap<Priced>,
    /// When they may be priced anew.
    due: ArcSwap<Option<Instant>>,
    busy: AtomicBool,
}

impl Suggestions {
    /// Nothing is priced yet. The journal is at `place`.
    pub(super) fn new(place: JournalPlace) -> Suggestions {
        Suggestions {
            place,
            known: ArcSwap::default(),
            due: ArcSwap::default(),
            busy: AtomicBool::new(false),
        }
    }

    /// The latest prices. It begins to price anew if they are old.
    pub(super) fn ask(self: &Arc<Self>, policy: Arc<Policy>) -> Arc<Priced> {
        let rests = self.due.load().is_some_and(|due| Instant::now() < due);
        if !rests && !self.busy.swap(true, Ordering::AcqRel) {
            let this = Arc::clone(self);
            let work = move || {
                let idle = Idle(&this);
                let began = Instant::now();
                let past = || {
                    let records = JournalPast::open(&this.place);
                    let records = records.map_err(|e| HistoryError::Source(e.to_string()))?;
                    Ok(journal::past(records.map(|read| read.map(|record| (record.now, record.event)))))
                };
                match suggest(past, &policy, Effort::SERVER) {
                    Ok(suggestions) => {
                        this.known.store(Arc::new(Priced { at: Some(wall()), suggestions }));
                    }
                    Err(error) => tracing::warn!(%error, "suggestions for rules cannot be priced"),
                }
                let rest = REST.max(began.elapsed() * SHARE);
                this.due.store(Arc::new(Some(Instant::now() + rest)));
                drop(idle);
            };
            // Without a thread the next question tries again.
            if std::thread::Builder::new().name("suggestions".into()).spawn(work).is_err() {
                self.busy.store(false, Ordering::Release);
            }
        }
        self.known.load_full()
    }
}

/// The next pricing may begin when this is dropped, even after a panic.
struct Idle<'a>(&'a Suggestions);

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The same journal would make it panic again.
            self.0.due.store(Arc::new(Some(Instant::now() + REST * 60)));
        }
        self.0.busy.store(false, Ordering::Release);
    }
}
