//! The answer of Prometheus about one expression.

use serde::Deserialize;
use std::collections::BTreeMap;
use url::form_urlencoded;

use crate::model::{LabelSet, Timestamp};
use crate::templates::RuleReading;

/// A graph has so many points, the last one now.
const POINTS: usize = 24;
/// Seconds between them: together an hour.
const STEP: i64 = 150;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Stands where there is no value.
const GAP: char = '·';

/// The question about the last hour of an expression.
pub(super) fn query(expression: &str, end: Timestamp) -> String {
    let end = end.as_millis() / 1000;
    let start = end - STEP * (POINTS as i64 - 1);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("query", expression);
    for (key, number) in [("start", start), ("end", end), ("step", STEP)] {
        query.append_pair(key, &number.to_string());
    }
    // Prometheus itself gives up at some point.
    query.append_pair("timeout", "2s");
    query.finish()
}

/// The series of an expression.
pub(super) struct Answered(Vec<(BTreeMap<String, String>, RuleReading)>);

#[derive(Deserialize)]
struct Body {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

impl Answered {
    /// Reads an answer to [`query`] with this end.
    pub(super) fn read(body: &[u8], end: Timestamp) -> Result<Answered, String> {
        let body: Body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if body.data.result_type != "matrix" {
            return Err(format!("it is no matrix but {:?}", body.data.result_type));
        }
        let end = end.as_millis() / 1000;
        let series = body.data.result.into_iter().filter_map(|mut series| {
            series.metric.remove("__name__");
            Some((series.metric, reading(&series.values, end)?))
        });
        Ok(Answered(series.collect()))
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let labels = |labels: &BTreeMap<String, String>| {
            labels.iter().map(|(name, value)| 96 + name.len() + value.len()).sum::<usize>()
        };
        self.0.iter().map(|(of, reading)| 128 + labels(of) + reading.value.len() + reading.graph.len()).sum()
    }

    /// The reading for the alert with these labels. An alert has all labels of its series, and those that
    /// its rule adds. If two series fit equally well, there is no reading.
    pub(super) fn reading(&self, labels: &LabelSet) -> Option<RuleReading> {
        let fits = self.0.iter().filter(|(of, _)| of.iter().all(|(name, value)| labels.value(name) == value));
        let most = fits.clone().map(|(of, _)| of.len()).max()?;
        let mut best = fits.filter(|(of, _)| of.len() == most);
        let (_, reading) = best.next()?;
        best.next().is_none().then(|| reading.clone())
    }
}

/// The value at the end, and the graph up to there. Nothing without a value at the end.
fn reading(values: &[(f64, String)], end: i64) -> Option<RuleReading> {
    let mut points = [None; POINTS];
    for (at, text) in values {
        let back = end.saturating_sub(at.round() as i64) / STEP;
        let place = usize::try_from(back).ok().and_then(|back| POINTS.checked_sub(1 + back));
        let value: f64 = text.parse().ok()?;
        if let Some(place) = place {
            points[place] = Some(value);
        }
    }
    let now = points.last().copied().flatten()?;
    Some(RuleReading { value: number(now), graph: graph(&points) })
}

fn graph(points: &[Option<f64>]) -> String {
    let finite = || points.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let bar = |point: &Option<f64>| match point.filter(|value| value.is_finite()) {
        None => GAP,
        Some(_) if high <= low => BARS[0],
        Some(value) => {
            // Halves first: the span itself may be larger than the largest number.
            let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
            BARS[((share * 8.0) as usize).min(7)]
        }
    };
    points.iter().map(bar).collect()
}

/// A number with four digits that count.
fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 8) as usize;
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: i64 = 1_764_331_200;

    fn end() -> Timestamp {
        Timestamp::from_millis(END * 1000)
    }

    fn answered(result: &str) -> Result<Answered, String> {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}"#);
        Answered::read(body.as_bytes(), end())
    }

    fn labels(pairs: &[(&str, &str)]) -> LabelSet {
        LabelSet::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn an_alert_finds_its_series_by_its_labels() {
        let series =
            |metric: &str, value: &str| format!(r#"{{"metric":{metric},"values":[[{END},"{value}"]]}}"#);
        let both = [
            series(r#"{"__name__":"up","instance":"a","job":"x"}"#, "1"),
            series(r#"{"__name__":"up","instance":"b","job":"x"}"#, "2"),
        ];
        let found = answered(&both.join(",")).unwrap();
        let value = |pairs: &[(&str, &str)]| found.reading(&labels(pairs)).map(|reading| reading.value);
        assert_eq!(value(&[("alertname", "Down"), ("instance", "b"), ("job", "x")]).as_deref(), Some("2"));
        assert_eq!(value(&[("alertname", "Down"), ("instance", "c"), ("job", "x")]), None);
        assert_eq!(value(&[("alertname", "Down"), ("job", "x")]), None);
        let one = answered(&series("{}", "0.07342")).unwrap();
        assert_eq!(one.reading(&labels(&[("alertname", "A")])).unwrap().value, "0.07342");
        let twice = answered(&[series("{}", "1"), series(r#"{"__name__":"b"}"#, "2")].join(",")).unwrap();
        assert!(twice.reading(&labels(&[("alertname", "A")])).is_none());
    }

    #[test]
    fn a_graph_shows_the_hour_with_its_gaps() {
        let at = |back: i64| END - back * STEP;
        let values =
            format!(r#"[{},"0"],[{},"1"],[{},"NaN"],[{},"7"],[{},"8"]"#, at(23), at(22), at(2), at(1), at(0));
        let found = answered(&format!(r#"{{"metric":{{}},"values":[{values}]}}"#)).unwrap();
        let reading = found.reading(&LabelSet::default()).unwrap();
        let graph = format!("▁▂{}██", "·".repeat(20));
        assert_eq!((reading.value.as_str(), reading.graph), ("8", graph));
        let flat = format!(r#"{{"metric":{{}},"values":[[{},"5"],[{END},"5"]]}}"#, at(1));
        assert!(answered(&flat).unwrap().reading(&LabelSet::default()).unwrap().graph.ends_with("·▁▁"));
        let wide = [Some(f64::MAX), Some(f64::MIN), Some(f64::INFINITY)];
        assert_eq!(super::graph(&wide), "█▁·");
    }

    #[test]
    fn an_answer_that_lies_says_nothing() {
        let old = format!(r#"{{"metric":{{}},"values":[[{},"5"]]}}"#, END - 600);
        assert!(answered(&old).unwrap().reading(&LabelSet::default()).is_none());
        let later = format!(r#"{{"metric":{{}},"values":[[{},"5"],[1e300,"5"],[-1e300,"6"]]}}"#, END + 600);
        assert!(answered(&later).unwrap().reading(&LabelSet::default()).is_none());
        for wrong in ["x", "{}", r#"{"metric":{},"values":[[1]]}"#, r#"{"metric":{}}"#] {
            assert!(answered(wrong).is_err(), "{wrong}");
        }
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert!(Answered::read(body, end()).is_err());
        assert!(answered(&format!(r#"{{"metric":{{}},"values":[[{END},"five"]]}}"#)).unwrap().0.is_empty());
    }

    #[test]
    fn numbers_have_four_digits_that_count() {
        let numbers =
            [0.0, 0.073_42, 0.5, 12.0, 123.456, 99_999.0, 1_234_567.8, 1.2e9, 1e-5, -3.25, f64::INFINITY];
        let texts = [
            "0", "0.07342", "0.5", "12", "123.5", "99999", "1234568", "1.200e9", "1.000e-5", "-3.25", "+Inf",
        ];
        assert_eq!(numbers.map(number), texts);
        assert_eq!((number(f64::NAN).as_str(), number(f64::NEG_INFINITY).as_str()), ("NaN", "-Inf"));
    }
}
