//! A page that no receiver has accepted, as one sentence for the API and the command line.

use crate::deliver::{FailureReason, Health};
use crate::model::{Duration, Timestamp};

/// That a page of `since` has not been accepted at `now`, and the newest error of its receiver.
pub(super) fn not_accepted(now: Timestamp, since: Timestamp, health: Option<&Health>) -> String {
    let waits = Duration::from_millis(now.since(since).as_millis() / 1000 * 1000);
    let mut said = format!("no receiver has accepted the page for {waits}");
    let failing = health.and_then(|health| health.failing.first().map(|failing| (health, &failing.last)));
    let Some((health, last)) = failing.filter(|(_, last)| last.reason != FailureReason::ContextCanceled)
    else {
        return said + ". No attempt has failed so far";
    };
    let error = error(last.reason.as_str(), &last.detail);
    said.push_str(&format!(". The last error of {} is: {error}", last.integration));
    if health.open_circuits.contains(&last.integration) {
        said.push_str(". Its circuit is open, so that only probes are sent");
    }
    said
}

/// The class of an error and its text. The class `other` tells a person nothing.
pub(super) fn error(reason: &str, detail: &str) -> String {
    match reason {
        "other" => detail.to_owned(),
        reason => format!("{reason}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{FailedAttempt, Failing};

    #[test]
    fn a_page_that_waits_names_its_time_and_the_last_error() {
        let now = Timestamp::EPOCH + Duration::from_millis(38_400);
        let quiet = not_accepted(now, Timestamp::EPOCH, Some(&Health::default()));
        assert_eq!(quiet, "no receiver has accepted the page for 38s. No attempt has failed so far");
        let last = FailedAttempt {
            ago: std::time::Duration::ZERO,
            integration: "pagerduty[0]".into(),
            reason: FailureReason::Other,
            detail: "Connection refused".into(),
        };
        let failing = vec![Failing { waiting: 1, oldest: Some(Timestamp::EPOCH), last }];
        let health = Health { failing, open_circuits: vec!["pagerduty[0]".into()], ..Health::default() };
        assert_eq!(
            not_accepted(now, Timestamp::EPOCH, Some(&health)),
            "no receiver has accepted the page for 38s. The last error of pagerduty[0] is: Connection refused. \
             Its circuit is open, so that only probes are sent"
        );
        assert_eq!(error("serverError", "503"), "serverError: 503");
    }
}
