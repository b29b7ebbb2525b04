//! The `ALERTS` series of a Prometheus-compatible server as a history.
//!
//! A series says at each step whether an alert fires. An alert therefore starts at the first step that has
//! it and ends one step after the last: as precise as the step. Pure: the caller asks the server.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::jsonl::PEER;
use super::{HistoryError, Past};
use crate::engine::Event;
use crate::model::{Batch, Duration, LabelSet, Observation, Source, Status, Timestamp};

/// The path and query of a request, but for the window.
const QUERY: &str = "/api/v1/query_range?query=ALERTS%7Balertstate%3D%22firing%22%7D";

/// Steps asked for at a time, below the 11,000 points a series that Prometheus allows.
const STEPS: u64 = 10_000;

/// The longest time of one question, since its answer is held in memory.
const LONGEST: Duration = Duration::from_hours(24);

/// The time range of one question. Both ends are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first step.
    pub start: Timestamp,
    /// The last step, a multiple of the step after `start`.
    pub end: Timestamp,
    /// The time from one sample to the next, above 0.
    pub step: Duration,
}

/// The windows that cover `from` to `to`, in order, a step apart.
pub fn windows(from: Timestamp, to: Timestamp, step: Duration) -> Vec<Window> {
    let step = step.max(Duration::from_millis(1));
    let steps = (LONGEST.as_millis() / step.as_millis()).clamp(1, STEPS);
    let mut windows = Vec::new();
    let mut start = from;
    while start <= to {
        let left = to.since(start).as_millis() / step.as_millis();
        let end = start + Duration::from_millis(step.as_millis() * left.min(steps - 1));
        windows.push(Window { start, end, step });
        start = end + step;
    }
    windows
}

impl Window {
    /// The path and query to ask the server for it.
    pub fn query(&self) -> String {
        let seconds = |ms: i64| format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
        let step = i64::try_from(self.step.as_millis()).unwrap_or(i64::MAX);
        let (start, end) = (self.start.as_millis(), self.end.as_millis());
        format!("{QUERY}&start={}&end={}&step={}", seconds(start), seconds(end), seconds(step))
    }

    /// Its two halves, for a server that cannot answer all of it. `None` if it is a single step.
    pub fn halves(&self) -> Option<[Window; 2]> {
        let step = self.step.as_millis();
        let steps = self.end.since(self.start).as_millis() / step;
        let middle = self.start + Duration::from_millis(steps.checked_sub(1)? / 2 * step);
        Some([Window { end: middle, ..*self }, Window { start: middle + self.step, ..*self }])
    }
}

/// Turns answers into events. It holds the firing alerts, and one window.
#[derive(Debug, Default)]
pub struct PrometheusHistory {
    /// Labels of each alert that does not have them: `ALERTS` lacks Prometheus' external labels.
    external: BTreeMap<String, String>,
    /// The firing alerts: their start, and the last step that had them.
    firing: BTreeMap<LabelSet, (Timestamp, Timestamp)>,
}

impl PrometheusHistory {
    /// A history in which each alert also has the labels `external`, except those that it already has.
    pub fn new(external: impl IntoIterator<Item = (String, String)>) -> Self {
        PrometheusHistory { external: external.into_iter().collect(), firing: BTreeMap::new() }
    }

    /// The events of `window`, in order. `body` is the server's answer. Windows come in order.
    ///
    /// # Errors
    /// The answer is not a matrix, or is an error.
    pub fn read(&mut self, window: &Window, body: &[u8]) -> Result<Vec<Past>, HistoryError> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|e| {
            HistoryError::Source(format!("the answer is not that of /api/v1/query_range: {e}"))
        })?;
        let Some(data) = answer.data.filter(|_| answer.status == "success") else {
            let error = answer.error.unwrap_or_else(|| "no data".into());
            return Err(HistoryError::Source(format!("the server says: {error}")));
        };
        let mut events = Events::default();
        for series in data.result {
            let external = self.external.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let mut labels: BTreeMap<&str, &str> = external.collect();
            let of_alert = |name: &str| !matches!(name, "__name__" | "alertstate");
            let own = series.metric.iter().filter(|(name, value)| of_alert(name) && !value.is_empty());
            labels.extend(own.map(|(name, value)| (name.as_ref(), value.as_ref())));
            let labels = LabelSet::from_pairs(labels);
            for (seconds, _) in series.values {
                let at = Timestamp::from_millis((seconds * 1000.0).round() as i64);
                self.sample(labels.clone(), at, window.step, &mut events);
            }
        }
        self.firing.retain(|labels, (started, last)| {
            let ended = *last + window.step;
            let fires = ended > window.end;
            if !fires {
                events.add(ended, labels, *started, Some(ended));
            }
            fires
        });
        Ok(events.into_past())
    }

    fn sample(&mut self, labels: LabelSet, at: Timestamp, step: Duration, events: &mut Events) {
        if let Some((started, last)) = self.firing.get_mut(&labels) {
            let ended = *last + step;
            if at <= ended {
                *last = at.max(*last);
                return;
            }
            events.add(ended, &labels, *started, Some(ended));
        }
        events.add(at, &labels, at, None);
        self.firing.insert(labels, (at, at));
    }
}

/// Events by time. At the same time, ends come before starts.
#[derive(Default)]
struct Events(BTreeMap<(Timestamp, bool), Vec<Observation>>);

impl Events {
    fn add(&mut self, at: Timestamp, labels: &LabelSet, starts_at: Timestamp, ends_at: Option<Timestamp>) {
        let status = if ends_at.is_some() { Status::Resolved } else { Status::Firing };
        self.0.entry((at, ends_at.is_none())).or_default().push(Observation::new(
            status,
            labels.clone(),
            starts_at,
            ends_at,
        ));
    }

    fn into_past(self) -> Vec<Past> {
        let past = self.0.into_iter().map(|((at, _), mut observations)| {
            observations.sort_by(|a, b| a.labels.cmp(&b.labels));
            let batch = Batch::new(Source::Alertmanager, PEER, observations);
            Past { at, event: Event::Observe(batch) }
        });
        past.collect()
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(default)]
    error: Option<String>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

#[derive(Deserialize)]
struct Series<'a> {
    #[serde(borrow)]
    metric: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    values: Vec<(f64, IgnoredAny)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(s * 1000)
    }

    #[test]
    fn windows_cover_the_time_once_and_stay_below_the_limit_of_points() {
        let minute = Duration::from_mins(1);
        let found = windows(at(0), at(86_400 * 3 + 30), minute);
        assert_eq!(found.len(), 4);
        for pair in found.windows(2) {
            assert_eq!(pair[1].start, pair[0].end + minute);
        }
        assert_eq!(found[3].end, at(86_400 * 3));
        let short = windows(at(0), at(86_400), Duration::from_secs(1));
        assert!(short.iter().all(|w| w.end.since(w.start).as_millis() / 1000 < 11_000), "{short:?}");
        let [first, second] = found[0].halves().unwrap();
        assert_eq!((first.start, second.end), (found[0].start, found[0].end));
        assert_eq!(second.start, first.end + minute);
        assert_eq!(Window { start: at(0), end: at(0), step: minute }.halves(), None);
        assert!(found[0].query().ends_with("&start=0.000&end=86340.000&step=60.000"), "{}", found[0].query());
    }

    #[test]
    fn samples_become_starts_and_ends_across_windows() {
        let mut history = PrometheusHistory::default();
        let step = Duration::from_mins(1);
        let body = |values: &str| {
            format!(
                r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":
                {{"__name__":"ALERTS","alertname":"A","alertstate":"firing"}},"values":[{values}]}}]}}}}"#
            )
        };
        let mut said = Vec::new();
        let mut read = |window: Window, values: &str| {
            for past in history.read(&window, body(values).as_bytes()).unwrap() {
                let Event::Observe(batch) = past.event else { panic!("not an observation") };
                assert_eq!(batch.observations[0].labels.to_string(), r#"{alertname="A"}"#);
                let status = batch.observations[0].status.as_str();
                said.push((
                    past.at.as_millis() / 1000,
                    status,
                    batch.observations[0].starts_at.as_millis() / 1000,
                ));
            }
        };
        read(Window { start: at(0), end: at(240), step }, r#"[60,"1"],[180,"1"],[240.000,"1"]"#);
        read(Window { start: at(300), end: at(540), step }, r#"[300,"1"],[480,"1"]"#);
        assert_eq!(
            said,
            [
                (60, "firing", 60),
                (120, "resolved", 60),
                (180, "firing", 180),
                (360, "resolved", 180),
                (480, "firing", 480),
                (540, "resolved", 480)
            ]
        );
    }

    #[test]
    fn external_labels_fill_up_what_an_alert_does_not_say() {
        let external = [("cluster", "eu"), ("team", "core")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let mut history = PrometheusHistory::new(external);
        let window = Window { start: at(0), end: at(60), step: Duration::from_mins(1) };
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":
            {"__name__":"ALERTS","alertname":"A","alertstate":"firing","team":"web"},"values":[[60,"1"]]}]}}"#;
        let read = history.read(&window, body).unwrap();
        let Event::Observe(batch) = &read[0].event else { panic!("{read:?}") };
        let labels = batch.observations[0].labels.to_string();
        assert_eq!(labels, r#"{alertname="A", cluster="eu", team="web"}"#);
    }

    #[test]
    fn an_error_of_the_server_is_passed_on() {
        let window = Window { start: at(0), end: at(60), step: Duration::from_mins(1) };
        let body = br#"{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution"}"#;
        let said = PrometheusHistory::default().read(&window, body).unwrap_err().to_string();
        assert_eq!(said, "the server says: exceeded maximum resolution");
        assert!(PrometheusHistory::default().read(&window, b"<html>").is_err());
    }
}
