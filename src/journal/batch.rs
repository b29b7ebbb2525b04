//! The checks that every journal makes before it writes, and the text form of a batch of events.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Commit, JournalError, Record, Seq};
use crate::model::{Decision, IncidentRecord, Timestamp};

/// Where the log ends: its last event, and the time at which that was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    /// The last event's number. It is 0 if there was none.
    pub seq: Seq,
    /// The engine's time.
    pub now: Timestamp,
}

impl Tail {
    /// Before the first event.
    pub const START: Tail = Tail { seq: 0, now: Timestamp::ZERO };

    /// Checks that `commit` continues the log from here, and returns the tail after it.
    pub fn after(self, commit: &Commit<'_>) -> Result<Tail, JournalError> {
        let mut tail = self;
        for record in commit.records {
            let expected = tail.seq + 1;
            if record.seq != expected {
                return Err(JournalError::Refused(format!(
                    "event {} does not follow event {}: it must be event {expected}",
                    record.seq, tail.seq
                )));
            }
            raw(&record.event)
                .map_err(|reason| JournalError::Refused(format!("event {}: {reason}", record.seq)))?;
            tail = Tail { seq: record.seq, now: record.now };
        }
        let decided = commit.decisions.iter().map(|d| d.at).chain(commit.notifications.iter().map(|n| n.at));
        tail.now = decided.fold(tail.now, Timestamp::max);
        Ok(tail)
    }

    /// Checks that a snapshot up to `seq` can stand in this log, whose newest one is `newest`.
    pub fn allows_snapshot(self, seq: Seq, newest: Option<Seq>) -> Result<(), JournalError> {
        if seq > self.seq {
            return Err(JournalError::Refused(format!(
                "a snapshot up to event {seq} of a log that ends with event {}",
                self.seq
            )));
        }
        match newest {
            Some(newest) if seq < newest => Err(JournalError::Refused(format!(
                "a snapshot up to event {seq} is older than the one up to event {newest}"
            ))),
            _ => Ok(()),
        }
    }
}

/// The body of a row of decisions.
#[derive(Debug, Default, Deserialize)]
pub(super) struct DecidedBody {
    pub decisions: Vec<Decision>,
    pub history: Vec<IncidentRecord>,
}

/// The body of a row of decisions as JSON. `None` if the commit has none.
pub(super) fn decided(commit: &Commit<'_>) -> Result<Option<String>, JournalError> {
    #[derive(Serialize)]
    struct Body<'a> {
        decisions: &'a [Decision],
        history: &'a [IncidentRecord],
    }
    let Commit { decisions, history, .. } = *commit;
    if decisions.is_empty() && history.is_empty() {
        return Ok(None);
    }
    let body = serde_json::to_string(&Body { decisions, history });
    body.map(Some).map_err(|e| JournalError::Failed(e.to_string()))
}

/// One line of a batch.
#[derive(Deserialize)]
struct Line<'a> {
    seq: Seq,
    now: Timestamp,
    #[serde(borrow)]
    event: &'a RawValue,
}

fn raw(event: &[u8]) -> Result<&RawValue, &'static str> {
    let value: &RawValue = serde_json::from_slice(event).map_err(|_| "not JSON in UTF-8")?;
    if value.get().len() != event.len() || event.contains(&b'\n') {
        return Err("JSON with line breaks or with blanks round it");
    }
    Ok(value)
}

/// The text of a batch: one JSON object a line. The events were checked by [`Tail::after`].
pub(super) fn encode(records: &[Record]) -> Result<String, JournalError> {
    use std::io::Write;
    let mut text = Vec::with_capacity(records.iter().map(|r| r.event.len() + 64).sum());
    for record in records {
        // In the form of a `Line`. Writing to memory does not fail.
        let _ = write!(text, "{{\"seq\":{},\"now\":\"{}\",\"event\":", record.seq, record.now);
        text.extend_from_slice(&record.event);
        text.extend_from_slice(b"}\n");
    }
    String::from_utf8(text).map_err(|e| JournalError::Refused(e.to_string()))
}

/// The records of a batch's text. The error says where it differs from the text that [`encode`] writes for
/// events `first` to `last`.
pub(super) fn decode(first: Seq, last: Seq, text: &str) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for (line, seq) in text.lines().zip(first..) {
        let line: Line<'_> = serde_json::from_str(line).map_err(|e| e.to_string())?;
        if line.seq != seq {
            return Err(format!("event {} stands where event {seq} belongs", line.seq));
        }
        records.push(Record { seq, now: line.now, event: line.event.get().as_bytes().to_vec() });
    }
    match records.last() {
        Some(end) if end.seq == last => Ok(records),
        _ => Err(format!("it does not end with event {last}")),
    }
}

/// SHA-256 over the numbers of a row and its body. Each row is verified alone, so that damage costs no more
/// than the rows that it hit.
pub(super) fn checksum(numbers: &[i64], body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for number in numbers {
        hash.update(number.to_be_bytes());
    }
    hash.update(body);
    hash.finalize().into()
}

/// The integers of SQLite and PostgreSQL are signed. No number here comes near the bound.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: Seq, event: &str) -> Record {
        Record { seq, now: Timestamp::from_millis(seq as i64), event: event.into() }
    }

    #[test]
    fn a_batch_reads_back_as_it_was() {
        let records = [record(7, r#"{"tick":"a\nb"}"#), record(8, "\"started\"")];
        let text = encode(&records).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(decode(7, 8, &text).unwrap(), records);
        assert!(decode(7, 9, &text).is_err(), "an event is missing");
        assert!(decode(6, 8, &text).is_err(), "the first number is wrong");
        assert!(decode(7, 8, &text[1..]).is_err(), "the text is damaged");
    }

    #[test]
    fn only_json_on_one_line_is_an_event() {
        for bad in ["", "{", " 1", "1 ", "[1,\n2]", "\u{feff}1"] {
            let records = [record(1, bad)];
            let commit = Commit { records: &records, ..Commit::default() };
            assert!(matches!(Tail::START.after(&commit), Err(JournalError::Refused(_))), "{bad:?}");
        }
        let records = [Record { event: vec![b'"', 0xff, b'"'], ..record(1, "") }];
        let commit = Commit { records: &records, ..Commit::default() };
        assert!(matches!(Tail::START.after(&commit), Err(JournalError::Refused(_))), "not UTF-8");
    }
}
