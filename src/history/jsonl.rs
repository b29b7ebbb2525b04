//! The exchange format: JSON lines of `{"at", "alerts": [{"status", "labels", "annotations",
//! "startsAt", "endsAt"}]}`, plain or gzip, read as a stream.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::time::At;
use super::{HistoryError, Past};
use crate::engine::Event;
use crate::ingest;
use crate::model::{Batch, LabelSet, Observation, Source, Status, Timestamp};

/// The longest line that is read, in bytes.
const LINE_BYTES: u64 = 64 << 20;

/// The memory for label sets, in bytes of their text. Beyond it, the table begins anew.
const INTERNED_BYTES: usize = 64 << 20;

/// The peer of a history: one member of a pair, since the format names none.
pub(super) const PEER: &str = "history";

/// `input` as text: unpacked, if it begins as gzip does.
///
/// # Errors
/// `input` failed.
pub fn decompressed<'a>(input: impl Read + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    let mut input = BufReader::with_capacity(1 << 17, input);
    let packed = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(match packed {
        true => Box::new(BufReader::with_capacity(1 << 17, MultiGzDecoder::new(input))),
        false => Box::new(input),
    })
}

/// Reads a history. Ends after the first error.
pub struct Jsonl<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    labels: Interner,
    annotations: Interner,
    over: bool,
}

impl<R: BufRead> Jsonl<R> {
    /// A reader of `input`, which is unpacked already: see [`decompressed`].
    pub fn new(input: R) -> Self {
        Jsonl {
            input,
            line: Vec::new(),
            number: 0,
            labels: Interner::default(),
            annotations: Interner::default(),
            over: false,
        }
    }

    /// The next line that is not empty, without its end. False at the end of the input.
    fn read_line(&mut self) -> Result<bool, HistoryError> {
        loop {
            self.line.clear();
            self.number += 1;
            let read = (&mut self.input).take(LINE_BYTES + 1).read_until(b'\n', &mut self.line)?;
            if read as u64 > LINE_BYTES {
                let reason =
                    format!("is longer than {LINE_BYTES} bytes. Split it into several of the same time");
                return Err(HistoryError::Line { line: self.number, reason });
            }
            let mark: &[u8] = if self.number == 1 { b"\xef\xbb\xbf" } else { b"" };
            if self.line.starts_with(mark) {
                self.line.drain(..mark.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
        }
    }

    fn next_past(&mut self) -> Result<Option<Past>, HistoryError> {
        if !self.read_line()? {
            return Ok(None);
        }
        let wrong = |reason| HistoryError::Line { line: self.number, reason };
        let line: ReadLine<'_> = serde_json::from_slice(&self.line).map_err(|e| {
            wrong(format!(
                "{e}. Write {{\"at\": TIME, \"alerts\": [{{\"status\", \"labels\", \"startsAt\", …}}]}}"
            ))
        })?;
        let mut observations = Vec::with_capacity(line.alerts.len());
        for (index, alert) in line.alerts.into_iter().enumerate() {
            let labels = self.labels.of(alert.labels.get(), || ingest::label_set(alert.labels));
            let labels = labels.map_err(|e| wrong(format!("alert {index}: {e}")))?;
            let annotations = match alert.annotations {
                Some(raw) => {
                    self.annotations.of(raw.get(), || Ok(ingest::annotation_set(raw))).unwrap_or_default()
                }
                None => LabelSet::default(),
            };
            let ended = alert.ends_at.map(|at| at.0).filter(|at| *at > Timestamp::ZERO);
            observations.push(Observation {
                status: alert.status,
                labels,
                annotations,
                starts_at: alert.starts_at.0,
                start_unknown: false,
                // A webhook states no end of a firing alert.
                ends_at: (alert.status == Status::Resolved).then(|| ended.unwrap_or(line.at.0)),
                generator_url: Default::default(),
            });
        }
        let batch = Batch::new(Source::Alertmanager, PEER, observations);
        Ok(Some(Past { at: line.at.0, event: Event::Observe(batch) }))
    }
}

impl<R: BufRead> Iterator for Jsonl<R> {
    type Item = Result<Past, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.next_past().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

#[derive(Deserialize)]
struct ReadLine<'a> {
    at: At,
    #[serde(borrow)]
    alerts: Vec<ReadAlert<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadAlert<'a> {
    status: Status,
    #[serde(borrow)]
    labels: &'a RawValue,
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
    starts_at: At,
    #[serde(default)]
    ends_at: Option<At>,
}

/// Label sets by their text: the same few thousand come millions of times.
#[derive(Default)]
struct Interner {
    known: HashMap<Box<str>, LabelSet>,
    bytes: usize,
}

impl Interner {
    fn of(
        &mut self,
        text: &str,
        parse: impl FnOnce() -> Result<LabelSet, String>,
    ) -> Result<LabelSet, String> {
        if let Some(set) = self.known.get(text) {
            return Ok(set.clone());
        }
        let set = parse()?;
        if self.bytes > INTERNED_BYTES {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += text.len();
        self.known.insert(text.into(), set.clone());
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LINE: &str = concat!(
        r#"{"at":"2026-01-01T00:00:05Z","alerts":[{"status":"resolved","labels":{"b":"2","a":"1","c":""},"#,
        r#""annotations":{"n":1},"startsAt":"2026-01-01T00:00:00Z","endsAt":"2026-01-01T00:00:04.5Z"},"#,
        r#"{"status":"firing","labels":{"a":"1"},"startsAt":"2026-01-01T00:00:05Z","#,
        r#""endsAt":"0001-01-01T00:00:00Z","fingerprint":"x"}]}"#
    );

    fn read(bytes: &[u8]) -> Vec<Result<Past, HistoryError>> {
        Jsonl::new(decompressed(bytes).unwrap()).collect()
    }

    #[test]
    fn reads_lines_as_a_webhook_is_read() {
        let read = read(format!("\u{feff}{LINE}\n\n{LINE}").as_bytes());
        assert_eq!(read.len(), 2);
        let past = read[0].as_ref().unwrap();
        assert_eq!(past.at.to_string(), "2026-01-01T00:00:05Z");
        let Event::Observe(batch) = &past.event else { panic!("{past:?}") };
        let [ended, fires] = batch.observations.as_slice() else { panic!("{batch:?}") };
        assert_eq!(ended.labels.to_string(), r#"{a="1", b="2"}"#);
        assert_eq!(ended.annotations.value("n"), "1");
        assert_eq!(ended.ends_at.unwrap().to_string(), "2026-01-01T00:00:04.5Z");
        assert_eq!((fires.status, fires.ends_at), (Status::Firing, None));
        assert_eq!(past, read[1].as_ref().unwrap());
    }

    #[test]
    fn gzip_is_recognised_by_its_first_bytes_and_may_come_in_parts() {
        let mut packed = Vec::new();
        for _ in 0..2 {
            let mut gz = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::fast());
            writeln!(gz, "{LINE}").unwrap();
            gz.finish().unwrap();
        }
        assert_eq!(read(&packed).len(), 2);
        let cut = read(&packed[..packed.len() - 9]);
        assert!(matches!(cut.last(), Some(Err(HistoryError::Io(_)))), "{cut:?}");
    }

    #[test]
    fn the_first_error_names_its_line_and_ends_it() {
        let bad = LINE.replace(r#"{"b":"2","a":"1","c":""}"#, r#"{"c":""}"#);
        let read = read(format!("{LINE}\n{bad}\n{LINE}\n").as_bytes());
        assert_eq!(read.len(), 2);
        let said = read[1].as_ref().unwrap_err().to_string();
        assert_eq!(
            said,
            "line 2: alert 0: labels are missing or all empty. At least one label with a value would be right"
        );
    }
}
