//! Squelch's own journal as a history: the observations of that time, under the configuration of now.

use super::{HistoryError, Past};
use crate::engine::Event;
use crate::model::Timestamp;

/// The history in `records`: the time and the JSON of each event in the log, in order.
///
/// Input from outside is kept: upstreams' statements, and the times when the program was down. The
/// decisions of the earlier configuration are left out, and follow anew. A repeat is identified by its
/// alert. Under another `ignore_labels` it says nothing.
pub fn past<E: std::fmt::Display>(
    records: impl Iterator<Item = Result<(Timestamp, Vec<u8>), E>>,
) -> impl Iterator<Item = Result<Past, HistoryError>> {
    records.filter_map(|record| {
        let (at, json) = match record {
            Ok(record) => record,
            Err(error) => return Some(Err(HistoryError::Source(error.to_string()))),
        };
        match serde_json::from_slice::<Event>(&json) {
            Ok(
                event @ (Event::Observe(_)
                | Event::Quarantine(_)
                | Event::Repeats(_)
                | Event::Silence(_)
                | Event::Release(_)
                | Event::Acknowledge(_)
                | Event::Remark(_)
                | Event::Clocks(_)
                | Event::Started),
            ) => Some(Ok(Past { at, event })),
            Ok(
                Event::Delivered(_)
                | Event::Failed(_)
                | Event::Replay(_)
                | Event::Policy(_)
                | Event::Alarm(_)
                | Event::Report(_)
                | Event::Tick,
            ) => None,
            Err(error) => {
                let what =
                    format!("the event of {at} in the journal cannot be read: {error}. Use its version");
                Some(Err(HistoryError::Source(what)))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_from_the_configuration_of_then_is_left_out() {
        let records = [
            r#""started""#,
            r#""tick""#,
            r#"{"repeats":{"source":"prometheus","peer":0,"statements":[]}}"#,
            "{",
        ];
        let records =
            records.iter().zip(1..).map(|(e, ms)| Ok::<_, String>((Timestamp::from_millis(ms), (*e).into())));
        let read: Vec<_> = past(records).collect();
        assert_eq!(read.len(), 3);
        assert_eq!(read[0].as_ref().unwrap().event, Event::Started);
        assert_eq!(read[1].as_ref().unwrap().at, Timestamp::from_millis(3));
        assert!(read[2].as_ref().unwrap_err().to_string().contains("cannot be read"));
    }
}
