//! Writing the exchange format that [`super::Jsonl`] reads.

use std::io::{self, Write};

use serde::Serialize;

use crate::model::{LabelSet, Observation, Status, Timestamp};

#[derive(Serialize)]
struct ExportLine<'a> {
    at: Timestamp,
    alerts: Vec<ExportAlert<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportAlert<'a> {
    status: Status,
    labels: &'a LabelSet,
    #[serde(skip_serializing_if = "LabelSet::is_empty")]
    annotations: &'a LabelSet,
    starts_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
}

/// Writes the statements of one time as a line.
///
/// # Errors
/// `out` failed.
pub fn write_history(out: &mut impl Write, at: Timestamp, said: &[Observation]) -> io::Result<()> {
    let line = ExportLine { at, alerts: said.iter().map(alert).collect() };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

fn alert(o: &Observation) -> ExportAlert<'_> {
    ExportAlert {
        status: o.status,
        labels: &o.labels,
        annotations: &o.annotations,
        starts_at: o.starts_at,
        // Until when it holds is no word about its end.
        ends_at: o.ends_at.filter(|_| o.status == Status::Resolved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Event;
    use crate::history::Jsonl;

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let at = Timestamp::from_millis(1_800_000_000_123);
        let observation = |status, ends_at| Observation {
            annotations: LabelSet::from_pairs([("summary", "s")]),
            ..Observation::new(
                status,
                LabelSet::from_pairs([("a", "x\"\n"), ("b", "é")]),
                Timestamp::from_millis(1_800_000_000_001),
                ends_at,
            )
        };
        let said = [observation(Status::Firing, None), observation(Status::Resolved, Some(at))];
        let mut text = Vec::new();
        write_history(&mut text, at, &said).unwrap();
        let read: Vec<_> = Jsonl::new(text.as_slice()).map(Result::unwrap).collect();
        let [past] = read.as_slice() else { panic!("{read:?}") };
        let Event::Observe(batch) = &past.event else { panic!("{past:?}") };
        assert_eq!((past.at, batch.observations.as_slice()), (at, said.as_slice()));
    }
}
