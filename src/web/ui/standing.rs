//! The notices at the top of every page: alerts are not accepted, a receiver does not accept notifications,
//! or profiles only observe.

use std::collections::BTreeMap;

use maud::{Markup, html};
use smol_str::SmolStr;

use super::text;
use crate::deliver::{Failing, FailureReason, Health};
use crate::engine::{Observing, Refused};
use crate::journal::{DeadLetter, LetterQuery};
use crate::model::{Duration, Outcome, Timestamp, hex, sha256};
use crate::web::app::App;
use crate::web::look::look;
use crate::web::undelivered::error;

/// A queue whose oldest message is younger is no news: receivers are paced, and one attempt may fail.
const PATIENCE: Duration = Duration::from_secs(60);
/// Dead letters of a receiver that are read for the error that a restart made Squelch forget.
const LETTERS: usize = 20;
/// Receivers that are named at most.
const MOST: usize = 5;

/// The notices at the top of a page.
#[derive(Default)]
pub(super) struct Notices {
    /// Why alerts are not accepted.
    trouble: Option<String>,
    undelivered: Vec<Undelivered>,
    observing: Observing,
    /// How many incidents are open.
    open: usize,
    /// The names of the levels of severity, the highest first.
    levels: Vec<SmolStr>,
}

/// An integration that does not accept notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Undelivered {
    receiver: SmolStr,
    integration: SmolStr,
    /// Incidents whose page it refused for good, and incidents of which it refused anything.
    refused: Option<Refused>,
    /// Messages that wait for it.
    waiting: usize,
    /// Since when the oldest of these waits, or the first attempt failed.
    since: Option<Timestamp>,
    /// Only a probe is sent.
    circuit_open: bool,
    /// The newest failed attempt: its class and its error.
    error: Option<(SmolStr, String)>,
}

impl Notices {
    /// How things stand at `now`.
    pub(super) async fn of(app: &App, now: Timestamp) -> Notices {
        let trouble = app.gate.ready().err();
        let health = app.gate.health();
        // While the storage is down, delivery still reports its state.
        let seen = look(app, |engine| {
            let query = engine.query();
            let levels = engine.policy().severities.levels.iter().map(|level| level.name.clone());
            (query.refused(), query.observing(), query.open(), levels.collect())
        });
        let (refused, observing, open, levels) = seen.await.unwrap_or_default();
        let mut undelivered = undelivered(now, &health, refused);
        for one in undelivered.iter_mut().take(MOST).filter(|one| one.error.is_none()) {
            one.error = refusal(app, one).await;
        }
        Notices { trouble, undelivered, observing, open, levels }
    }

    /// Whether a person must act.
    pub(super) fn is_bad(&self) -> bool {
        self.trouble.is_some() || !self.undelivered.is_empty()
    }

    /// The position of a level of severity, 0 for the highest.
    pub(super) fn place(&self, severity: &str) -> Option<usize> {
        self.levels.iter().position(|level| level == severity)
    }

    /// How many incidents are open.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// The top of the page. It has a key that changes with its text, so that a refresh need not read it out
    /// again.
    pub(super) fn show(&self, now: Timestamp, routing: &str) -> Markup {
        let (bars, said) = (self.bars(now, routing), self.said());
        html! { div #standing data-key=(&hex(&sha256(said.as_bytes()))[..16]) { (bars) } }
    }

    /// The text, except for parts that time alone changes.
    fn said(&self) -> String {
        let undelivered = self.undelivered.iter().map(|one| {
            let refused = one.refused.as_ref().map(|r| (r.incidents, r.pages, r.again));
            format!("{} {} {refused:?} {} {:?}", one.receiver, one.integration, one.waiting, one.error)
        });
        let undelivered: Vec<String> = undelivered.collect();
        format!("{:?} {undelivered:?} {:?}", self.trouble, self.observing)
    }

    fn bars(&self, now: Timestamp, routing: &str) -> Markup {
        let more = self.undelivered.len().saturating_sub(MOST);
        html! {
            @if let Some(trouble) = &self.trouble {
                p.trouble role="alert" { b { "Squelch does not accept alerts: " } (text::tame(trouble, 300)) }
            }
            @if !self.undelivered.is_empty() {
                section.trouble #undelivered role="alert" aria-label="Undelivered" {
                    @for one in self.undelivered.iter().take(MOST) { (one.show(now)) }
                    @if more > 0 { p { "And " (more) " more." } }
                    p { a href=(routing) { "See the receivers" } }
                }
            }
            (observing(&self.observing))
        }
    }
}

/// That profiles only observe.
fn observing(observing: &Observing) -> Markup {
    let named: Vec<String> = observing.receivers.iter().take(MOST).map(|name| text::tame(name, 60)).collect();
    let more = observing.receivers.len().saturating_sub(MOST);
    html! {
        @if !observing.receivers.is_empty() {
            p.mode #mode {
                b { "Observe mode" }
                @if !observing.all { " at " @for (n, name) in named.iter().enumerate() {
                    @if n > 0 { ", " } bdi { (name) } } @if more > 0 { " and " (more) " more" } }
                ". Squelch passes on the notifications of the senders, and only notes its own decisions."
            }
        }
    }
}

impl Undelivered {
    fn show(&self, now: Timestamp) -> Markup {
        let pages = self.refused.as_ref().map_or(0, |refused| refused.pages);
        let incidents = self.refused.as_ref().map_or(0, |refused| refused.incidents);
        let at = if self.integration.is_empty() { &self.receiver } else { &self.integration };
        let (one, many) = if pages > 0 { ("page", "pages") } else { ("message", "messages") };
        html! {
            p {
                b { @if pages > 0 { "Pages" } @else { "Messages" } " do not reach " bdi { (text::tame(&self.receiver, 60)) } ". " }
                bdi { (text::tame(at, 60)) }
                @if incidents > 0 {
                    " refused the newest " (one) " of " (incidents) @if incidents == 1 { " incident. " } @else { " incidents. " }
                } @else if let Some(refused) = &self.refused {
                    " refused its " @if refused.digest { "digest" } @if refused.digest && refused.report { " and its " }
                    @if refused.report { "report" } ". "
                } @else if self.waiting > 0 {
                    " has not taken " (self.waiting) " " (if self.waiting == 1 { one } else { many })
                    @if let Some(since) = self.since { " for " (text::ago(now, since)) } ". "
                } @else { " does not answer as it should. " }
                @if self.circuit_open { "Its circuit is open, so that only probes are sent. " }
                @if let Some((reason, detail)) = &self.error {
                    "The last error is " b { (text::sentence(&error(reason, detail))) } ". "
                } @else { "No attempt has failed so far. " }
                (self.remedy())
                @if let Some(again) = self.refused.as_ref().and_then(|refused| refused.again) {
                    " Squelch tries again " (text::until(now, again)) "."
                }
            }
        }
    }

    /// The remedy for a person.
    fn remedy(&self) -> &'static str {
        let reason = self.error.as_ref().map_or("", |(reason, _)| reason.as_str());
        match (&self.refused, reason) {
            (_, "authError") => {
                "Correct its key or credentials in the configuration and reload. Until then, tell the people on \
                 call another way."
            }
            (Some(_), _) => {
                "Correct its settings in the configuration and reload. Until then, tell the people on call \
                 another way."
            }
            (None, "rateLimited") => "The receiver asks for fewer messages. Squelch goes on trying.",
            (None, _) => {
                "Check that this machine reaches it. Squelch goes on trying. Until it answers, tell the people on \
                 call another way."
            }
        }
    }
}

/// The integrations that do not accept notifications, the worst first.
fn undelivered(
    now: Timestamp,
    health: &BTreeMap<SmolStr, Health>,
    refused: Vec<Refused>,
) -> Vec<Undelivered> {
    let mut all: BTreeMap<(SmolStr, SmolStr), Undelivered> = BTreeMap::new();
    let entry = |receiver: &SmolStr, integration: &SmolStr| Undelivered {
        receiver: receiver.clone(),
        integration: integration.clone(),
        refused: None,
        waiting: 0,
        since: None,
        circuit_open: false,
        error: None,
    };
    for one in refused {
        let key = (one.receiver.clone(), one.integration.clone());
        let known = all.entry(key).or_insert_with(|| entry(&one.receiver, &one.integration));
        known.refused = Some(one);
    }
    for (receiver, health) in health {
        for Failing { waiting, oldest, last } in &health.failing {
            let key = (receiver.clone(), last.integration.clone());
            let open = health.open_circuits.contains(&last.integration);
            // An integration without a waiting notification holds nothing back.
            if *waiting == 0 && !open && !all.contains_key(&key) {
                continue;
            }
            let known = all.entry(key).or_insert_with(|| entry(receiver, &last.integration));
            (known.waiting, known.since, known.circuit_open) = (*waiting, *oldest, open);
            known.error = Some((last.reason.as_str().into(), last.detail.clone()));
            if last.reason == FailureReason::ContextCanceled {
                known.error = None;
            }
        }
        let oldest = health.oldest.filter(|oldest| *oldest + PATIENCE <= now);
        let told = all.keys().any(|(name, _)| name == receiver);
        if let Some(oldest) = oldest.filter(|_| !told) {
            let mut one = entry(receiver, &"".into());
            (one.waiting, one.since) = (health.queued, Some(oldest));
            all.insert((receiver.clone(), "".into()), one);
        }
    }
    let mut all: Vec<Undelivered> = all.into_values().collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.refused.as_ref().map_or(0, |refused| refused.pages)));
    all
}

/// The error with which an integration refused before this run of the program.
async fn refusal(app: &App, one: &Undelivered) -> Option<(SmolStr, String)> {
    one.refused.as_ref()?;
    let wanted = LetterQuery { receiver: Some(one.receiver.clone()), ..LetterQuery::newest(LETTERS) };
    let found = tokio::time::timeout(app.limits.answer_timeout, app.gate.dead_letters(wanted)).await;
    let mut letters = found.ok()?.ok()?.letters.into_iter();
    let of_it = |letter: &DeadLetter| letter.notification.integration == one.integration;
    match letters.find(of_it)?.report.outcome {
        Outcome::Rejected(rejection) => Some((rejection.reason, rejection.detail)),
        Outcome::Accepted | Outcome::Recalled { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::FailedAttempt;

    fn failing(waiting: usize) -> Health {
        let last = FailedAttempt {
            ago: std::time::Duration::ZERO,
            integration: "webhook[0]".into(),
            reason: FailureReason::ServerError,
            detail: "503".into(),
        };
        let oldest = (waiting > 0).then_some(Timestamp::EPOCH);
        let failing = vec![Failing { waiting, oldest, last }];
        Health { queued: waiting, oldest, failing, ..Health::default() }
    }

    #[test]
    fn what_waits_behind_a_failure_or_for_long_is_undelivered() {
        let now = Timestamp::EPOCH + Duration::from_secs(10);
        let of = |health: Health, now| undelivered(now, &[("a".into(), health)].into(), Vec::new()).len();
        assert_eq!(of(Health::default(), now), 0);
        assert_eq!(of(failing(1), now), 1);
        assert_eq!(of(failing(0), now), 0, "nothing waits any more");
        let slow = Health { queued: 1, oldest: Some(Timestamp::EPOCH), ..Health::default() };
        assert_eq!(of(slow.clone(), now), 0, "it may be on its way");
        assert_eq!(of(slow, now + PATIENCE), 1);
    }

    #[test]
    fn a_bar_names_the_receiver_the_error_and_what_to_do() {
        let now = Timestamp::EPOCH + Duration::from_secs(10);
        let refused = Refused {
            receiver: "night".into(),
            integration: "webhook[0]".into(),
            incidents: 1,
            pages: 1,
            digest: false,
            report: false,
            again: Some(now + Duration::from_mins(5)),
        };
        let undelivered = undelivered(now, &[("night".into(), failing(0))].into(), vec![refused]);
        let shown = Notices { undelivered, ..Notices::default() }.show(now, "routing").into_string();
        for said in ["night", "webhook[0]", "serverError", "503", "Correct its settings", "in 5m"] {
            assert!(shown.contains(said), "{said}: {shown}");
        }
    }

    #[test]
    fn a_bar_says_whether_a_digest_or_a_report_was_refused() {
        let said = |digest, report| {
            let (receiver, integration) = ("team".into(), "webhook[0]".into());
            let refused =
                Refused { receiver, integration, incidents: 0, pages: 0, digest, report, again: None };
            let undelivered = undelivered(Timestamp::EPOCH, &[].into(), vec![refused]);
            let shown = Notices { undelivered, ..Notices::default() }.show(Timestamp::EPOCH, "routing");
            shown.into_string().split(" refused ").nth(1).unwrap().split('.').next().unwrap().to_owned()
        };
        let all = [said(true, false), said(false, true), said(true, true)];
        assert_eq!(all, ["its digest", "its report", "its digest and its report"]);
    }
}
