//! Secret files and a log that do not answer. The table of readers and the buffer of lines are the product's
//! own. The scheduler steps them in place of their threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use squelch::outside::{Begin, LineBatch, OutputLines, UnderWay};

use crate::bugs::Bug;
use crate::plan::Millis;

/// Bytes of lines that may wait for the log.
const LOG_BYTES: usize = 256;
/// Readers of one file that may hang after [`crate::plan::LONGEST`]: the sixth begins after 310 s.
const READERS: usize = 6;

/// The log of one process, and the one that reads it.
pub struct Log {
    pub ear: LogEar,
    /// The output has no reader.
    pub unread: bool,
    under_way: Option<LineBatch>,
    out: u64,
}

/// Where lines come from.
#[derive(Clone)]
pub struct LogEar {
    lines: Arc<OutputLines>,
    said: Arc<AtomicU64>,
}

impl LogEar {
    pub fn line(&self, text: &str) {
        self.said.fetch_add(1, Ordering::Relaxed);
        self.lines.push(format!("{text}\n").as_bytes());
    }
}

impl Log {
    pub fn new(bug: Option<Bug>) -> Log {
        let bound = if bug == Some(Bug::LogWithoutBound) { usize::MAX } else { LOG_BYTES };
        let ear = LogEar { lines: Arc::new(OutputLines::new(bound)), said: Arc::default() };
        Log { ear, unread: false, under_way: None, out: 0 }
    }

    /// Writes the waiting lines, unless there is no reader. It returns a finding, if more lines wait than
    /// may.
    pub fn step(&mut self) -> Option<String> {
        let waiting = self.ear.lines.waiting();
        if waiting > LOG_BYTES {
            return Some(format!("{waiting} bytes of the log wait where {LOG_BYTES} may"));
        }
        loop {
            if self.under_way.is_none() {
                self.under_way = self.ear.lines.take();
            }
            if self.unread || self.under_way.is_none() {
                return None;
            }
            self.out += self.under_way.take().map_or(0, |batch| batch.lines);
            self.ear.lines.wrote(0);
        }
    }

    /// Every line is out or was dropped and counted. A finding, if not.
    pub fn check_end(&self) -> Option<String> {
        let (said, out, dropped) =
            (self.ear.said.load(Ordering::Relaxed), self.out, self.ear.lines.dropped());
        (said != out + dropped).then(|| format!("{said} lines were logged, {out} are out, {dropped} dropped"))
    }

    pub fn dropped(&self) -> u64 {
        self.ear.lines.dropped()
    }
}

/// The threads of one process that read secret files which hang.
pub struct Readers {
    table: UnderWay<usize, u64>,
    bug: Option<Bug>,
    begun: u64,
}

impl Readers {
    pub fn new(bug: Option<Bug>) -> Readers {
        Readers { table: UnderWay::default(), bug, begun: 0 }
    }

    /// An attempt reads the file of `lane`, which hangs. A finding, if that is a thread too many.
    pub fn read(&mut self, lane: usize, now: Millis) -> Option<String> {
        let each = self.bug == Some(Bug::ReaderForEach);
        if each || self.table.ask(&lane, at(now)) == Begin::Start {
            self.begun += 1;
            self.table.began(&lane, at(now), self.begun);
        }
        let hang = self.table.of(&lane);
        (hang > READERS).then(|| format!("{hang} threads read one file where {READERS} may"))
    }

    /// The file of `lane` answers all that read it.
    pub fn answered(&mut self, lane: usize) {
        for number in 1..=self.begun {
            self.table.ended(&lane, &number);
        }
    }
}

fn at(now: Millis) -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now) + Duration::from_millis(now)
}
