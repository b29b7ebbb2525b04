//! The result of one attempt: whose fault a failure is, and whether to try again.

use std::time::Duration;

use super::Answer;

/// Whether a failed attempt may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// The receiver refused for good. It would refuse the same request again.
    Never,
    /// Later, by the exponential schedule.
    Backoff,
    /// Not before this much time has passed: the receiver said so in `Retry-After`.
    After(Duration),
    /// The answer does not decide. The third such answer about one notification is taken as this end.
    Undecided(Verdict),
}

/// How a notification ends whose answers do not decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The status says success, and the body says nothing that is known: the receiver took it.
    Accepted,
    /// The body says failure, for a reason that is not known: the receiver refused it for good.
    Refused,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Ours: a secret file that cannot be read, a request that cannot be built.
    Ours,
    /// The receiver's, or the network's between.
    Theirs,
}

/// Why an attempt failed, in Alertmanager's words (`notify/util.go`): the values of the label
/// `reason` of `squelch_notifications_failed_total`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FailureReason {
    /// None of the others: no connection, a redirect, an answer that means nothing.
    Other,
    /// A 4xx that says that the request is wrong.
    ClientError,
    /// A 5xx.
    ServerError,
    /// Squelch was stopping.
    ContextCanceled,
    /// No answer within the timeout.
    ContextDeadlineExceeded,
    /// 401 or 403.
    AuthError,
    /// 429.
    RateLimited,
}

impl FailureReason {
    /// Every reason, for zero-initialised metrics.
    pub const ALL: [FailureReason; 7] = [
        FailureReason::Other,
        FailureReason::ClientError,
        FailureReason::ServerError,
        FailureReason::ContextCanceled,
        FailureReason::ContextDeadlineExceeded,
        FailureReason::AuthError,
        FailureReason::RateLimited,
    ];

    /// Alertmanager's word.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::Other => "other",
            FailureReason::ClientError => "clientError",
            FailureReason::ServerError => "serverError",
            FailureReason::ContextCanceled => "contextCanceled",
            FailureReason::ContextDeadlineExceeded => "contextDeadlineExceeded",
            FailureReason::AuthError => "authError",
            FailureReason::RateLimited => "rateLimited",
        }
    }
}

/// A failed attempt.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct AttemptError {
    /// Whether to try again.
    pub retry: Retry,
    /// Whose fault it is.
    pub side: Side,
    /// Its class.
    pub reason: FailureReason,
    /// The receiver may have accepted it: the answer was lost, not the request.
    pub ambiguous: bool,
    /// The failure, without secrets.
    pub detail: String,
}

impl AttemptError {
    /// A failure on our own side. Retried: a file may come back, and a page is never dropped.
    pub fn ours(detail: impl Into<String>) -> Self {
        AttemptError {
            retry: Retry::Backoff,
            side: Side::Ours,
            reason: FailureReason::Other,
            ambiguous: false,
            detail: detail.into(),
        }
    }

    /// A failure on our own side that took all the time of the attempt: nothing was sent.
    pub fn late(detail: impl Into<String>) -> Self {
        AttemptError { reason: FailureReason::ContextDeadlineExceeded, ..AttemptError::ours(detail) }
    }

    /// A refusal for good.
    pub fn refused(reason: FailureReason, detail: impl Into<String>) -> Self {
        AttemptError {
            retry: Retry::Never,
            side: Side::Theirs,
            reason,
            ambiguous: false,
            detail: detail.into(),
        }
    }

    /// A failure of the receiver or the network that may pass.
    pub fn passing(reason: FailureReason, detail: impl Into<String>) -> Self {
        AttemptError {
            retry: Retry::Backoff,
            side: Side::Theirs,
            reason,
            ambiguous: false,
            detail: detail.into(),
        }
    }
}

/// The failure that an answer's status means. `None` for 2xx.
///
/// 5xx, 408, 425 and 429 are retried. 3xx is final: following it would send the page, and the
/// credentials, where the configuration does not say. A gateway's 502 and 504 may hide an accepted
/// request.
pub fn failure_of(answer: &Answer) -> Option<AttemptError> {
    let status = answer.status;
    if (200..300).contains(&status) {
        return None;
    }
    let reason = match status {
        401 | 403 => FailureReason::AuthError,
        408 => FailureReason::ContextDeadlineExceeded,
        429 => FailureReason::RateLimited,
        400..500 => FailureReason::ClientError,
        500.. => FailureReason::ServerError,
        _ => FailureReason::Other,
    };
    let retry = match (status, answer.retry_after) {
        (429 | 503, Some(wait)) => Retry::After(wait),
        (408 | 425 | 429, _) | (500.., _) => Retry::Backoff,
        _ => Retry::Never,
    };
    let what = if (300..400).contains(&status) { " (a redirect, which is not followed)" } else { "" };
    Some(AttemptError {
        retry,
        side: Side::Theirs,
        reason,
        ambiguous: matches!(status, 502 | 504),
        detail: format!("status {status}{what}: {}", answer.excerpt()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<u64>) -> Answer {
        Answer::new(status, retry_after.map(Duration::from_secs), b"no".to_vec())
    }

    #[test]
    fn statuses_are_classified_in_alertmanagers_words() {
        use FailureReason::*;
        let backoff = Retry::Backoff;
        let table = [
            (301, Other, Retry::Never),
            (307, Other, Retry::Never),
            (400, ClientError, Retry::Never),
            (401, AuthError, Retry::Never),
            (403, AuthError, Retry::Never),
            (404, ClientError, Retry::Never),
            (408, ContextDeadlineExceeded, backoff),
            (410, ClientError, Retry::Never),
            (413, ClientError, Retry::Never),
            (429, RateLimited, backoff),
            (500, ServerError, backoff),
            (501, ServerError, backoff),
            (503, ServerError, backoff),
        ];
        for (status, reason, retry) in table {
            let error = failure_of(&answer(status, None)).unwrap();
            assert_eq!((error.reason, error.retry), (reason, retry), "{status}");
        }
        assert!(failure_of(&answer(202, None)).is_none());
        assert!(failure_of(&answer(204, None)).is_none());
    }

    #[test]
    fn retry_after_counts_where_it_is_defined() {
        let wait = Retry::After(Duration::from_secs(7));
        assert_eq!(failure_of(&answer(429, Some(7))).unwrap().retry, wait);
        assert_eq!(failure_of(&answer(503, Some(7))).unwrap().retry, wait);
        assert_eq!(failure_of(&answer(500, Some(7))).unwrap().retry, Retry::Backoff);
        assert_eq!(failure_of(&answer(400, Some(7))).unwrap().retry, Retry::Never);
    }
}
