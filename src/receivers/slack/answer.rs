//! The answers of Slack, and of servers that are compatible with Slack.
//!
//! An incoming webhook answers `ok`. `chat.postMessage` answers 200 in any case: the body says
//! `{"ok":true,…}` or `{"ok":false,"error":"word"}`. Compatible servers have success bodies of their own.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use smol_str::SmolStr;

use crate::receivers::{Answer, AttemptError, FailureReason, Retry, Verdict};

/// Errors that pass by themselves. They are the documented ones about a limit, a fault inside Slack, or a
/// migration under way. `rollup_error` is the incoming webhooks' own.
const PASSING: [&str; 10] = [
    "fatal_error",
    "internal_error",
    "message_limit_exceeded",
    "org_login_required",
    "rate_limited",
    "ratelimited",
    "request_timeout",
    "rollup_error",
    "service_unavailable",
    "team_added_to_org",
];

/// Passing errors after which a part of the operation may have succeeded, as the documentation says.
const HALF_DONE: [&str; 2] = ["fatal_error", "internal_error"];

/// Errors that are about a limit.
const LIMITS: [&str; 3] = ["message_limit_exceeded", "rate_limited", "ratelimited"];

/// Final errors about the caller's identity.
const AUTH: [&str; 18] = [
    "access_denied",
    "accesslimited",
    "account_inactive",
    "action_prohibited",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_auth",
    "invalid_token",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "restricted_action",
    "team_access_not_granted",
    "team_not_found",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
];

/// The other final errors: the same message would meet them again.
const FINAL: [&str; 58] = [
    "as_user_not_supported",
    "attachment_payload_limit_exceeded",
    "cannot_reply_to_message",
    "channel_is_archived",
    "channel_not_found",
    "deprecated_endpoint",
    "draft_already_deleted",
    "draft_already_sent",
    "draft_has_conflict",
    "draft_not_found",
    "duplicate_channel_not_found",
    "duplicate_message_not_found",
    "invalid_arg_name",
    "invalid_arguments",
    "invalid_array_arg",
    "invalid_attachments",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_channel",
    "invalid_charset",
    "invalid_form_data",
    "invalid_json",
    "invalid_metadata_format",
    "invalid_metadata_schema",
    "invalid_payload",
    "invalid_post_type",
    "is_archived",
    "json_not_object",
    "markdown_text_conflict",
    "messages_tab_disabled",
    "metadata_must_be_sent_from_app",
    "metadata_too_large",
    "method_deprecated",
    "missing_charset",
    "missing_file_data",
    "missing_post_type",
    "missing_text_or_fallback_or_attachments",
    "msg_blocks_too_long",
    "msg_too_long",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "no_text",
    "not_in_channel",
    "posting_to_general_channel_denied",
    "restricted_action_non_threadable_channel",
    "restricted_action_read_only_channel",
    "restricted_action_thread_locked",
    "restricted_action_thread_only_channel",
    "slack_connect_canvas_sharing_blocked",
    "slack_connect_file_link_sharing_blocked",
    "slack_connect_lists_sharing_blocked",
    "too_many_attachments",
    "too_many_contact_cards",
    "unknown_method",
    "upgrade_required",
    "user_not_found",
];

/// The meaning of a 2xx answer. An unknown error is tried three times and is then a refusal: Squelch raises
/// an alarm, and notifies the fallback. A body that is no answer of Slack's is tried three times, and then
/// counts as success. The status says so, and each attempt may be a message in the channel.
pub(super) fn check(answer: &Answer) -> Result<(), AttemptError> {
    let said = AnswerBody::of(&answer.body);
    let detail = format!("status {} with {:?} instead of ok", answer.status, answer.excerpt());
    let word = match &said.end {
        Some(End::Success) => return Ok(()),
        Some(End::Failure(word)) => word.as_str(),
        None => {
            let undecided = AttemptError::passing(FailureReason::Other, detail);
            let retry = Retry::Undecided(Verdict::Accepted);
            return Err(AttemptError { retry, ambiguous: true, ..undecided });
        }
    };
    if AUTH.contains(&word) {
        return Err(AttemptError::refused(FailureReason::AuthError, detail));
    }
    if FINAL.contains(&word) {
        return Err(AttemptError::refused(FailureReason::ClientError, detail));
    }
    let reason = if LIMITS.contains(&word) { FailureReason::RateLimited } else { FailureReason::Other };
    let retry = match answer.retry_after.or(said.retry_after) {
        _ if !PASSING.contains(&word) => Retry::Undecided(Verdict::Refused),
        Some(wait) => Retry::After(wait),
        None => Retry::Backoff,
    };
    Err(AttemptError { retry, ambiguous: HALF_DONE.contains(&word), ..AttemptError::passing(reason, detail) })
}

/// Why Slack refused, in its word, if it did.
pub(super) fn refusal(answer: &Answer) -> Option<String> {
    match AnswerBody::of(&answer.body).end {
        Some(End::Failure(word)) => Some(word),
        Some(End::Success) | None => None,
    }
}

/// The message that Slack took: its channel, a blank and its `ts`, by which `chat.update` knows it.
pub(super) fn posted(answer: &Answer) -> Option<SmolStr> {
    let said = AnswerBody::of(&answer.body);
    let (channel, ts) = said.message.filter(|_| said.end == Some(End::Success))?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    (plain(&channel) && plain(&ts)).then(|| format!("{channel} {ts}").into())
}

/// The known content of a body.
#[derive(Default, Debug)]
struct AnswerBody {
    end: Option<End>,
    retry_after: Option<Duration>,
    /// The channel and the `ts` of the message.
    message: Option<(String, String)>,
}

#[derive(PartialEq, Eq, Debug)]
enum End {
    Success,
    /// The reason, empty if it gives none.
    Failure(String),
}

impl AnswerBody {
    fn of(body: &[u8]) -> AnswerBody {
        let text = String::from_utf8_lossy(body);
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.starts_with('{') {
            let end = match text {
                text if text.trim_matches(['"', '.']).eq_ignore_ascii_case("ok") => Some(End::Success),
                text if is_known(text) => Some(End::Failure(text.to_owned())),
                _ => None,
            };
            return AnswerBody { end, ..AnswerBody::default() };
        }
        let mut fields = Fields::default();
        // A cut body still has the fields before the cut: `chat.postMessage` repeats the whole message.
        let _ = (&mut serde_json::Deserializer::from_str(text)).deserialize_map(&mut fields);
        fields.said()
    }
}

fn is_known(word: &str) -> bool {
    AUTH.contains(&word) || FINAL.contains(&word) || PASSING.contains(&word)
}

/// The fields of an object that tell how it went, as far as it can be read.
#[derive(Default)]
struct Fields {
    /// `ok`, as Slack has it, or `success`, as Rocket.Chat has it.
    ok: Option<bool>,
    /// `status` or `result`, as Zulip has it.
    status: Option<String>,
    error: Option<String>,
    retry_after: Option<f64>,
    channel: Option<String>,
    ts: Option<String>,
}

impl Fields {
    fn said(self) -> AnswerBody {
        let status = self.status.unwrap_or_default();
        let is = |words: &[&str]| words.iter().any(|word| status.eq_ignore_ascii_case(word));
        let end = match (self.ok, self.error) {
            (Some(true), _) => Some(End::Success),
            (Some(false), error) => Some(End::Failure(error.unwrap_or_default())),
            (None, Some(error)) if !error.is_empty() => Some(End::Failure(error)),
            (None, _) if is(&["ok", "success"]) => Some(End::Success),
            (None, _) if is(&["error", "fail", "failed", "failure"]) => Some(End::Failure(String::new())),
            (None, _) => None,
        };
        let retry_after = self.retry_after.and_then(|wait| Duration::try_from_secs_f64(wait).ok());
        AnswerBody { end, retry_after, message: self.channel.zip(self.ts) }
    }
}

impl<'de> Visitor<'de> for &mut Fields {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "ok" | "success" => {
                    if let serde_json::Value::Bool(value) = map.next_value()? {
                        self.ok = Some(self.ok.unwrap_or(true) && value);
                    }
                }
                "status" | "result" => set(&mut self.status, map.next_value()?),
                "error" => set(&mut self.error, map.next_value()?),
                "channel" => set(&mut self.channel, map.next_value()?),
                "ts" => set(&mut self.ts, map.next_value()?),
                "retry_after" => {
                    let value: serde_json::Value = map.next_value()?;
                    self.retry_after = value.as_f64().or(self.retry_after);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn set(field: &mut Option<String>, value: serde_json::Value) {
    if let serde_json::Value::String(text) = value {
        *field = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(body: &str) -> Result<(), AttemptError> {
        check(&Answer::new(200, None, body.into()))
    }

    fn retry(body: &str) -> Retry {
        answered(body).unwrap_err().retry
    }

    #[test]
    fn success_is_known_in_the_words_of_slack_and_of_servers_like_it() {
        let good = [
            "ok",
            " OK\n",
            "\"ok\"",
            "{\"ok\":true}",
            "{\"channel\":\"C1\",\"ok\":true,\"error\":\"\"}",
            "{\"success\":true}",
            "{\"result\":\"success\",\"msg\":\"\"}",
            "{\"status\":\"ok\"}",
            // Cut after 64 KiB: the answer of `chat.postMessage` holds the whole message.
            "{\"ok\":true,\"channel\":\"C1\",\"message\":{\"text\":\"abc",
        ];
        for body in good {
            assert_eq!(answered(body), Ok(()), "{body}");
        }
    }

    #[test]
    fn a_body_that_says_nothing_known_does_not_decide() {
        let unknown = [
            "",
            "<html>sign in</html>",
            "{}",
            "[]",
            "{\"id\":7}",
            "o",
            "accepted",
            "{\"ok\":\"yes\"}",
            "{\"ok",
        ];
        for body in unknown {
            let error = answered(body).unwrap_err();
            assert_eq!((error.retry, error.ambiguous), (Retry::Undecided(Verdict::Accepted), true), "{body}");
        }
    }

    #[test]
    fn an_error_that_is_not_known_is_no_success() {
        let refused = Retry::Undecided(Verdict::Refused);
        for body in
            ["{\"ok\":false,\"error\":\"new_word\"}", "{\"success\":false}", "{\"error\":\"try later\"}"]
        {
            assert_eq!(retry(body), refused, "{body}");
        }
        assert_eq!(retry("{\"status\":\"error\"}"), refused);
        assert_eq!(retry("{\"ok\":true,\"success\":false}"), refused);
    }

    /// The documented errors of `chat.postMessage` and of incoming webhooks, each in one list.
    #[test]
    fn every_documented_error_is_sorted_once() {
        let mut all: Vec<&str> = [&AUTH[..], &FINAL, &PASSING].concat();
        let many = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), many, "a word stands in two lists");
        for word in FINAL.iter().chain(&AUTH) {
            for body in [(*word).to_owned(), format!("{{\"ok\":false,\"error\":\"{word}\"}}")] {
                let error = answered(&body).unwrap_err();
                assert_eq!((error.retry, error.ambiguous), (Retry::Never, false), "{word}");
            }
        }
        for word in PASSING {
            let error = answered(&format!("{{\"ok\":false,\"error\":\"{word}\"}}")).unwrap_err();
            assert_eq!((error.retry, error.ambiguous), (Retry::Backoff, HALF_DONE.contains(&word)), "{word}");
        }
    }

    #[test]
    fn the_message_that_was_posted_has_a_name() {
        let posted = |body: &str| posted(&Answer::new(200, None, body.into()));
        let whole =
            "{\"ok\":true,\"channel\":\"C1\",\"ts\":\"1503435956.000247\",\"message\":{\"ts\":\"9\"}}";
        assert_eq!(posted(whole).as_deref(), Some("C1 1503435956.000247"));
        assert_eq!(
            posted("{\"ok\":true,\"channel\":\"C1\",\"ts\":\"1.2\",\"mess").as_deref(),
            Some("C1 1.2")
        );
        for none in ["ok", "{\"ok\":true}", "{\"ok\":false,\"channel\":\"C1\",\"ts\":\"1.2\"}"] {
            assert_eq!(posted(none), None, "{none}");
        }
    }

    #[test]
    fn a_limit_says_how_long_in_the_header_or_in_the_body() {
        let body = "{\"retry_after\":1.5,\"ok\":false,\"error\":\"rate_limited\"}";
        let error = answered(body).unwrap_err();
        let wait = Duration::from_millis(1500);
        assert_eq!((error.retry, error.reason), (Retry::After(wait), FailureReason::RateLimited));
        let header = Duration::from_secs(30);
        let error = check(&Answer::new(200, Some(header), body.into())).unwrap_err();
        assert_eq!(error.retry, Retry::After(header));
    }
}
