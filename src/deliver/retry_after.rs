//! `Retry-After`: seconds, or an HTTP date (RFC 9110, 10.2.3) in any of its three formats.

use std::time::{Duration, SystemTime};

use hyper::header::{DATE, HeaderMap, RETRY_AFTER};

/// How long the answer with these headers asks to wait. A date is read against the answer's own
/// `Date`, so that the two clocks need not agree. Fractions of a second are taken (Discord, Slack).
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = date(text)?;
    let now = headers.get(DATE).and_then(|value| date(value.to_str().ok()?)).unwrap_or_else(here);
    Some(until.duration_since(now).unwrap_or(Duration::ZERO))
}

#[expect(clippy::disallowed_methods, reason = "an HTTP-date is a moment of the wall clock")]
fn here() -> SystemTime {
    SystemTime::now()
}

fn date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        of(&headers)
    }

    #[test]
    fn reads_seconds_and_dates() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked("30", None), Some(Duration::from_secs(30)));
        assert_eq!(asked("0.5", None), Some(Duration::from_millis(500)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT", date), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT", date), Some(Duration::ZERO));
        for nonsense in
            ["soon", "2026-11-23T10:00:00Z", "Sun, 06 Nov 1994 08:49:37 +0000", "-1", "NaN", "inf", ""]
        {
            assert_eq!(asked(nonsense, None), None, "{nonsense}");
        }
    }

    #[test]
    fn reads_all_three_date_formats_of_rfc_9110() {
        let formats =
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for now in formats {
            for later in formats.map(|text| text.replace(":37", ":57")) {
                assert_eq!(asked(&later, Some(now)), Some(Duration::from_secs(20)), "{later} after {now}");
            }
        }
    }
}
