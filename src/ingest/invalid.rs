//! The possible errors of input, as a closed set and as texts.

/// Classes of invalid input. They are the values of `squelch_alerts_invalid_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InvalidReason {
    /// The body, or one alert, is not JSON.
    MalformedJson,
    /// A webhook body that is not Alertmanager's version 4.
    NotV4,
    /// An API v2 body that is not a list.
    NotAList,
    /// An alert, or an event, that is not a JSON object.
    NotAnObject,
    /// An event of PagerDuty's or Opsgenie's API without a field that it needs, or with a value that the API
    /// does not have.
    BadEvent,
    /// API v2: no label, or none with a value.
    NoLabels,
    /// Mended: a label without a name, or whose value is not a string, or `labels` that are no object. At
    /// the webhook, an alert without labels.
    BadLabel,
    /// Mended: more labels than [`bounds::LABELS`](super::bounds::LABELS). The rest was left out.
    TooManyLabels,
    /// More alerts than [`bounds::ALERTS`](super::bounds::ALERTS).
    TooManyAlerts,
    /// Mended: a time that is not RFC 3339, is missing where it must not be, or is impossible. Years away,
    /// or an end before the start, count as impossible. The time was taken as not given, and the rest was
    /// taken.
    BadTime,
    /// Mended: a status other than `firing` and `resolved` was taken as not given. The rest was taken.
    BadStatus,
    /// Mended: an annotation that is not text was dropped or written as text. The rest was taken.
    BadAnnotation,
    /// Mended: a text longer than its bound was cut.
    Cut,
    /// Mended: bytes that are not UTF-8 were replaced by U+FFFD.
    InvalidUtf8,
    /// The body is larger than the limit.
    TooLarge,
    /// The body did not arrive whole in time.
    Incomplete,
    /// A content type or content encoding that is not taken.
    UnsupportedType,
    /// Mended: text behind the JSON value was ignored.
    TrailingData,
    /// Alerts that came to a path, or by a method, where none are taken.
    WrongPath,
}

impl InvalidReason {
    /// Every reason, for zero-initialised metrics.
    pub const ALL: [InvalidReason; 19] = {
        use InvalidReason::*;
        [
            MalformedJson,
            NotV4,
            NotAList,
            NotAnObject,
            BadEvent,
            NoLabels,
            BadLabel,
            TooManyLabels,
            TooManyAlerts,
            BadTime,
            BadStatus,
            BadAnnotation,
            Cut,
            InvalidUtf8,
            TooLarge,
            Incomplete,
            UnsupportedType,
            TrailingData,
            WrongPath,
        ]
    };

    /// Whether the alert was accepted.
    pub fn is_mended(self) -> bool {
        use InvalidReason::*;
        matches!(
            self,
            BadLabel | TooManyLabels | BadTime | BadStatus | BadAnnotation | Cut | InvalidUtf8 | TrailingData
        )
    }

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            InvalidReason::MalformedJson => "malformed_json",
            InvalidReason::NotV4 => "not_v4",
            InvalidReason::NotAList => "not_a_list",
            InvalidReason::NotAnObject => "not_an_object",
            InvalidReason::BadEvent => "bad_event",
            InvalidReason::NoLabels => "no_labels",
            InvalidReason::BadLabel => "bad_label",
            InvalidReason::TooManyLabels => "too_many_labels",
            InvalidReason::TooManyAlerts => "too_many_alerts",
            InvalidReason::BadTime => "bad_time",
            InvalidReason::BadStatus => "bad_status",
            InvalidReason::BadAnnotation => "bad_annotation",
            InvalidReason::Cut => "cut",
            InvalidReason::InvalidUtf8 => "invalid_utf8",
            InvalidReason::TooLarge => "too_large",
            InvalidReason::Incomplete => "incomplete",
            InvalidReason::UnsupportedType => "unsupported_type",
            InvalidReason::TrailingData => "trailing_data",
            InvalidReason::WrongPath => "wrong_path",
        }
    }
}

/// Why a whole body was refused. The same body can never succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// Not JSON, or cut off.
    #[error("the body is not valid JSON: {problem} at byte {offset} of {length}")]
    Malformed {
        /// The error of the parser.
        problem: String,
        /// Where it stopped, in bytes from the start.
        offset: usize,
        /// How long the body is, in bytes.
        length: usize,
    },
    /// JSON, but not Alertmanager's webhook body.
    #[error(
        "expected Alertmanager's webhook body, version 4: a JSON object with a list `alerts`, and found {found}. \
         Leave `payload:` unset on this webhook_config, and send API v2 alerts to /api/v2/alerts"
    )]
    NotV4 {
        /// The value that stood there.
        found: String,
    },
    /// JSON, but not an object, as an event is one.
    #[error("expected one JSON object, and found {found}")]
    NotAnEvent {
        /// The value that stood there.
        found: String,
    },
    /// JSON, but not a list of alerts.
    #[error(
        "expected a JSON list of alerts, and found {found}. \
         Alertmanager's webhook body goes to /alertmanager/webhook"
    )]
    NotAList {
        /// The value that stood there.
        found: String,
    },
}

impl IngestError {
    /// Class, for `squelch_alerts_invalid_total{reason}`.
    pub fn reason(&self) -> InvalidReason {
        match self {
            IngestError::Malformed { .. } => InvalidReason::MalformedJson,
            IngestError::NotV4 { .. } => InvalidReason::NotV4,
            IngestError::NotAList { .. } => InvalidReason::NotAList,
            IngestError::NotAnEvent { .. } => InvalidReason::NotAnObject,
        }
    }

    /// The error of a body that was not read: where it stops to be JSON, or `other` if it is JSON.
    pub(super) fn of(body: &str, other: IngestError) -> Self {
        let json = serde_json::from_str::<serde::de::IgnoredAny>(body);
        json.err().map_or(other, |error| IngestError::malformed(body, &error))
    }

    pub(super) fn malformed(body: &str, error: &serde_json::Error) -> Self {
        let lines_before = error.line().saturating_sub(1);
        let line_start: usize = body.split_inclusive('\n').take(lines_before).map(str::len).sum();
        let mut problem = error.to_string();
        if let Some(at) = problem.rfind(" at line ") {
            problem.truncate(at);
        }
        IngestError::Malformed {
            problem,
            offset: (line_start + error.column()).min(body.len()),
            length: body.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinct_metric_values() {
        let names: std::collections::BTreeSet<_> = InvalidReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(names.len(), InvalidReason::ALL.len());
        assert!(names.iter().all(|n| n.chars().all(|c| c.is_ascii_lowercase() || "_84".contains(c))));
    }

    #[test]
    fn offsets_count_bytes_over_lines() {
        let body = "{\n\"a\": 1,\n\"b\" 2}";
        let error = serde_json::from_str::<serde::de::IgnoredAny>(body).unwrap_err();
        let IngestError::Malformed { offset, length, .. } = IngestError::malformed(body, &error) else {
            panic!("not malformed")
        };
        assert_eq!((offset, length), (15, 16));
    }
}
