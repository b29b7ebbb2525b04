//! One test on the engine, under a clock that only this turns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use smol_str::SmolStr;

use super::expect::{DecisionKind, Seen};
use super::series::{StatedContent, Statement};
use super::spec::{ScriptedAnswer, Test};
use super::steps::{self, Does, PersonStep};
use crate::causes;
use crate::config::Policy;
use crate::engine::{Effects, Engine, Event, RestoreError};
use crate::model::{
    AlertId, Batch, Decision, Disposition, Duration, LabelSet, Notification, NotificationId, Observation,
    Outcome, Rejection, Report, SilenceChange, SilenceError, SilenceRequest, Source, Status, Timestamp,
};

/// The result of one test.
#[derive(Debug, Default)]
pub struct Shown {
    /// Notifications that receivers accepted, and suppressed observations, by time.
    pub seen: Vec<Seen>,
    /// Notifications that receivers refused, by time.
    pub refused: Vec<Seen>,
    /// Notifications that had no answer when the clock stopped, by time.
    pub unanswered: Vec<Seen>,
}

/// Why a test did not end.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// A clock that would not stop: more steps than any configuration has reason for.
    #[error(
        "the clock took {steps} steps and was only at {at} of {until}. Write longer intervals or a shorter \
         test"
    )]
    Runaway {
        /// How many steps it took.
        steps: usize,
        /// How far it came.
        at: Duration,
        /// How far it should have come.
        until: Duration,
    },
    /// There is no room for a silence beside those that are in force.
    #[error("the silence on line {line} is refused: {error}")]
    Silence {
        /// Where it stands.
        line: u32,
        /// Why.
        error: SilenceError,
    },
    /// The snapshot of a restart cannot be read.
    #[error("the restart on line {line} cannot read the snapshot: {error}")]
    Restart {
        /// Where it stands.
        line: u32,
        /// Why.
        error: RestoreError,
    },
}

/// The most steps that the clock of one test takes.
const MAX_STEPS: usize = 2_000_000;
/// How much longer than its own rhythm Prometheus says that an alert holds, and the shortest rhythm at
/// which it sends. Rule: `sendAlerts` and `resendDelay` of Prometheus' `rules/`.
const PROMETHEUS_HOLDS: u64 = 4;
const PROMETHEUS_RESENDS: Duration = Duration::from_mins(1);

/// Runs a test from its start to the moment at which its clock stops. The same test shows the same.
///
/// # Errors
/// [`Stopped`], such as with a configuration whose intervals are next to nothing.
pub fn run(policy: &Policy, test: &Test) -> Result<Shown, Stopped> {
    run_within(policy, test, MAX_STEPS)
}

fn run_within(policy: &Policy, test: &Test, most_steps: usize) -> Result<Shown, Stopped> {
    let mut scene = Scene::new(policy, test.start, most_steps);
    let (mut statements, mut answers) = (test.statements.as_slice(), test.answers.as_slice());
    let mut steps = test.steps.as_slice();
    loop {
        let next = [statements.first().map(|s| s.at), answers.first().map(|a| a.at)];
        let next = next.into_iter().chain([steps.first().map(|s| s.at), scene.starts_at()]);
        let Some(at) = next.flatten().min() else { break };
        scene.advance(at, test)?;
        scene.start_if_due()?;
        while let Some((step, rest)) = steps.split_first().filter(|(s, _)| s.at == at) {
            steps = rest;
            scene.step(step)?;
        }
        while let Some((change, rest)) = answers.split_first().filter(|(a, _)| a.at == at) {
            answers = rest;
            scene.change(change.receiver.as_ref(), change.answer);
        }
        if let Some(first) = statements.first().filter(|s| s.at == at) {
            let together = |s: &&Statement| (s.at, s.source, &s.peer) == (at, first.source, &first.peer);
            let count = statements.iter().take_while(together).count();
            let (request, rest) = statements.split_at(count);
            statements = rest;
            scene.say(request);
        }
    }
    scene.advance(test.until, test)?;
    Ok(scene.finish())
}

/// Internal incidents are no behaviour of the configuration.
fn without_self_watch(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.self_check.enabled = false;
    policy
}

/// A process that ended, and when the next one starts.
struct Down {
    snapshot: Vec<u8>,
    until: Timestamp,
    /// The line of the restart.
    line: u32,
}

struct Scene {
    /// It stands still while Squelch is down.
    engine: Engine,
    down: Option<Down>,
    /// The configuration as its file says.
    policy: Policy,
    /// The ids of silences by the test's names.
    silences: BTreeMap<SmolStr, SmolStr>,
    now: Timestamp,
    steps: usize,
    most_steps: usize,
    answer: ScriptedAnswer,
    answers: BTreeMap<SmolStr, ScriptedAnswer>,
    hanging: Vec<Notification>,
    /// Which of them come back in place of an answer, because their incidents have changed.
    recalled: BTreeSet<NotificationId>,
    /// The latest statement of each sender, by label set.
    told: BTreeMap<LabelSet, BTreeMap<(Source, SmolStr), Observation>>,
    labels: BTreeMap<AlertId, LabelSet>,
    shown: Shown,
}

impl Scene {
    fn new(policy: &Policy, start: Timestamp, most_steps: usize) -> Self {
        let policy = without_self_watch(policy);
        Scene {
            engine: Engine::new(policy.clone()),
            down: None,
            policy,
            silences: BTreeMap::new(),
            now: start,
            steps: 0,
            most_steps,
            answer: ScriptedAnswer::Accept,
            answers: BTreeMap::new(),
            hanging: Vec::new(),
            recalled: BTreeSet::new(),
            told: BTreeMap::new(),
            labels: BTreeMap::new(),
            shown: Shown::default(),
        }
    }

    /// Lets time pass, stopping at every deadline on the way.
    fn advance(&mut self, to: Timestamp, test: &Test) -> Result<(), Stopped> {
        while let Some((at, _)) = self.engine.next_deadline().filter(|(at, _)| *at <= to) {
            if self.down.is_some() {
                break;
            }
            self.steps += 1;
            if self.steps > self.most_steps {
                let (at, until) = (self.now.since(test.start), test.until.since(test.start));
                return Err(Stopped::Runaway { steps: self.most_steps, at, until });
            }
            self.now = self.now.max(at);
            self.handle(Event::Tick);
        }
        self.now = to;
        Ok(())
    }

    /// When Squelch starts again, if it is down.
    fn starts_at(&self) -> Option<Timestamp> {
        self.down.as_ref().map(|down| down.until)
    }

    /// Starts as the program does: from stored data, then with the configuration of the file.
    fn start_if_due(&mut self) -> Result<(), Stopped> {
        let now = self.now;
        let Some(Down { snapshot, line, .. }) = self.down.take_if(|down| down.until <= now) else {
            return Ok(());
        };
        self.engine = Engine::restore(&snapshot).map_err(|error| Stopped::Restart { line, error })?;
        self.handle(Event::Started);
        if *self.engine.policy() != self.policy {
            self.handle(Event::Policy(Box::new(self.policy.clone())));
        }
        // Unanswered notifications are sent again.
        self.settle(None);
        Ok(())
    }

    /// Takes a person's action.
    fn step(&mut self, step: &PersonStep) -> Result<(), Stopped> {
        let (now, line) = (self.now, step.line);
        match &step.does {
            Does::Restart { downtime } => {
                self.down = Some(Down { snapshot: self.engine.snapshot(), until: now + *downtime, line });
                self.start_if_due()?;
            }
            Does::Reload(policy) => {
                self.policy = without_self_watch(policy);
                if self.down.is_none() {
                    self.handle(Event::Policy(Box::new(self.policy.clone())));
                }
            }
            Does::Silence { wanted, name } => {
                let id = self.silence(&steps::request(wanted, now), line)?;
                self.silences.extend(name.clone().zip(id));
            }
            Does::Expire(name) => {
                // Reading the file has checked the name.
                if let Some(id) = self.silences.get(name) {
                    self.silence(&SilenceRequest::Expire(id.clone()), line)?;
                }
            }
        }
        Ok(())
    }

    /// Makes or ends a silence. Returns the id of one that was made.
    fn silence(&mut self, request: &SilenceRequest, line: u32) -> Result<Option<SmolStr>, Stopped> {
        let change = self.engine.query().plan_silence(self.now, request);
        let change = change.map_err(|error| Stopped::Silence { line, error })?;
        let id = match &change {
            SilenceChange::Set { silence, .. } => Some(silence.id.clone()),
            SilenceChange::Expire { .. } => None,
        };
        self.handle(Event::Silence(change));
        Ok(id)
    }

    fn handle(&mut self, event: Event) {
        let mut waiting = VecDeque::from([event]);
        while let Some(event) = waiting.pop_front() {
            let mut effects = Effects::watched();
            self.engine.handle(self.now, &event, &mut effects);
            for decision in effects.take_disposed() {
                self.decided(decision);
            }
            self.recalled.extend(effects.recalls);
            for notification in effects.notifications {
                match self.answer_of(&notification.receiver) {
                    ScriptedAnswer::Hang => self.hanging.push(notification),
                    answer => waiting.push_back(self.answered(notification, answer)),
                }
            }
        }
    }

    /// A receiver, or every one, answers differently from now on. Hanging notifications get that answer.
    fn change(&mut self, receiver: Option<&SmolStr>, answer: ScriptedAnswer) {
        match receiver {
            Some(name) => {
                self.answers.insert(name.clone(), answer);
            }
            None => {
                self.answers.clear();
                self.answer = answer;
            }
        }
        self.settle(receiver);
    }

    /// Hanging notifications at a receiver, or at every one, get its current answer.
    fn settle(&mut self, receiver: Option<&SmolStr>) {
        // A process that is down hears no answer. It sends again when it starts.
        if self.down.is_some() {
            return;
        }
        let concerned = |n: &Notification| receiver.is_none_or(|name| n.receiver == *name);
        let (ended, hanging) = std::mem::take(&mut self.hanging).into_iter().partition(concerned);
        self.hanging = hanging;
        let ended: Vec<Notification> = ended;
        for notification in ended {
            match self.answer_of(&notification.receiver) {
                ScriptedAnswer::Hang => self.hanging.push(notification),
                // It hung, and took nothing. The present state gets the answer.
                _ if self.recalled.remove(&notification.id) => {
                    let outcome = Outcome::Recalled { ambiguous: false };
                    let report = Report { id: notification.id, outcome, attempts: 1, message: None };
                    self.handle(Event::Delivered(report));
                }
                answer => {
                    let event = self.answered(notification, answer);
                    self.handle(event);
                }
            }
        }
    }

    fn answer_of(&self, receiver: &SmolStr) -> ScriptedAnswer {
        self.answers.get(receiver).copied().unwrap_or(self.answer)
    }

    fn answered(&mut self, notification: Notification, answer: ScriptedAnswer) -> Event {
        let id = notification.id;
        let outcome = if answer == ScriptedAnswer::Accept {
            self.accepted(notification);
            Outcome::Accepted
        } else {
            self.shown.refused.push(seen(self.now, notification));
            let (reason, detail) = ("clientError".into(), "the test refuses it".into());
            Outcome::Rejected(Rejection { reason, detail, ambiguous: false })
        };
        Event::Delivered(Report { id, outcome, attempts: 1, message: None })
    }

    /// The integrations of one receiver that accept the same at the same moment are seen as one.
    fn accepted(&mut self, notification: Notification) {
        let new = seen(self.now, notification);
        let mut lately = self.shown.seen.iter_mut().rev().take_while(|s| s.at == new.at);
        let same = lately.find(|s| {
            (&s.receiver, s.kind, &s.key, &s.alerts, &s.why)
                == (&new.receiver, new.kind, &new.key, &new.alerts, &new.why)
                && !new.integrations.iter().any(|i| s.integrations.contains(i))
        });
        match same {
            Some(same) => same.integrations.extend(new.integrations),
            None => self.shown.seen.push(new),
        }
    }

    fn decided(&mut self, decision: Decision) {
        let Disposition::Suppressed(reason) = decision.disposition else { return };
        if decision.observed {
            return;
        }
        let labels = self.labels.get(&decision.alert).cloned();
        self.shown.seen.push(Seen {
            at: decision.at,
            receiver: decision.receiver,
            integrations: Vec::new(),
            kind: DecisionKind::Suppressed,
            alerts: labels.map(|labels| (Status::Firing, labels)).into_iter().collect(),
            severity: SmolStr::default(),
            key: decision.incident,
            why: causes::text(&decision.cause).into(),
            reason: Some(reason),
            count: decision.count,
        });
    }

    /// The statements of one sender at one moment are one request. Squelch misses it while it is down.
    fn say(&mut self, request: &[Statement]) {
        let observations: Vec<Observation> =
            request.iter().filter_map(|said| self.observation(said)).collect();
        let (Some(first), false) = (request.first(), observations.is_empty()) else { return };
        if self.down.is_some() {
            return;
        }
        let batch = Batch::new(first.source, first.peer.clone(), observations);
        let event = match self.engine.query().repeats(&batch) {
            Some(repeats) => Event::Repeats(repeats),
            None => Event::Observe(batch),
        };
        self.handle(event);
    }

    fn observation(&mut self, said: &Statement) -> Option<Observation> {
        let told = self.told.entry(said.labels.clone()).or_default();
        // The members of a pair state the same occurrence.
        let firing = told.values().filter(|o| o.status == Status::Firing);
        let elsewhere = firing.map(|o| o.starts_at).min();
        let sender = (said.source, said.peer.clone());
        let before = told.get(&sender);
        let status = match said.said {
            StatedContent::Is(status) => status,
            StatedContent::Again => before?.status,
        };
        let open = before.filter(|o| o.status == Status::Firing || status == Status::Resolved);
        let starts_at = said.starts_at.or(open.map(|o| o.starts_at)).or(elsewhere);
        let repeated = before.filter(|o| (o.status, status) == (Status::Resolved, Status::Resolved));
        let ends_at = said.ends_at.or(match (status, said.source) {
            (Status::Resolved, _) => Some(repeated.and_then(|o| o.ends_at).unwrap_or(said.at)),
            (Status::Firing, Source::Alertmanager | Source::Pagerduty | Source::Opsgenie) => None,
            (Status::Firing, Source::Prometheus) => Some(said.at + prometheus_holds()),
        });
        let observation = Observation {
            annotations: said.annotations.clone(),
            ..Observation::new(status, said.labels.clone(), starts_at.unwrap_or(said.at), ends_at)
        };
        self.labels.insert(self.policy.identity(&said.labels), said.labels.clone());
        told.insert(sender, observation.clone());
        Some(observation)
    }

    fn finish(mut self) -> Shown {
        self.shown.unanswered =
            std::mem::take(&mut self.hanging).into_iter().map(|n| seen(n.at, n)).collect();
        self.shown.seen.sort_by_key(|s| s.at);
        self.shown
    }
}

const fn prometheus_holds() -> Duration {
    Duration::from_millis(PROMETHEUS_RESENDS.as_millis() * PROMETHEUS_HOLDS)
}

fn seen(at: Timestamp, notification: Notification) -> Seen {
    Seen {
        at,
        receiver: notification.receiver,
        integrations: vec![notification.integration],
        kind: DecisionKind::Sent(notification.kind),
        alerts: notification.alerts.into_iter().map(|a| (a.status, a.labels)).collect(),
        severity: notification.severity,
        key: notification.dedup_key,
        why: causes::text(&notification.cause).into(),
        reason: None,
        count: 1,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::commands::test::spec;

    /// Runs the one test of `text` on the configuration of the test data.
    fn shown(text: &str, most_steps: usize) -> Result<Vec<String>, Stopped> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/behaviour");
        let text = format!("config_file: squelch.yml\ntests:\n- name: t\n  expect: []\n{text}");
        let suite = spec::parse(&text, "t.yml", &base).unwrap_or_else(|e| panic!("{e}"));
        let start = suite.tests[0].start;
        let line = |s: &Seen| {
            let reason = s.reason.map(|r| format!("/{}", r.as_str())).unwrap_or_default();
            format!("{} {}{reason} {}", s.at.since(start), s.kind, s.integrations.join("+"))
        };
        run_within(&suite.policy, &suite.tests[0], most_steps)
            .map(|shown| shown.seen.iter().map(line).collect())
    }

    #[test]
    fn integrations_that_accept_the_same_are_one() {
        let got = shown("  input: [{labels: {alertname: A}, series: F R}]\n  until: 5m\n", 100).unwrap();
        assert_eq!(got, ["0s page pagerduty[0]+console[0]", "3m resolve pagerduty[0]"]);
    }

    #[test]
    fn a_receiver_that_hangs_accepts_later() {
        let input = "  input: [{labels: {alertname: A, team: web}, series: F}]\n  until: 5m\n";
        let got = shown(
            &format!("{input}  deliveries: [{{at: 0m, answer: hang}}, {{at: 4m, answer: accept}}]\n"),
            9,
        );
        assert_eq!(got.unwrap(), ["4m page console[0]"]);
    }

    #[test]
    fn silence_is_no_word_and_a_repeat_is_one() {
        let input =
            |series| format!("  input: [{{labels: {{alertname: A, team: web}}, series: {series}}}]\n");
        assert_eq!(shown(&input("F . ."), 100).unwrap(), ["0s page console[0]"]);
        assert_eq!(shown(&input("F _ ."), 100).unwrap(), ["0s page console[0]", "1m suppressed/duplicate "]);
        assert_eq!(shown(&input(". _ F"), 100).unwrap(), ["2m page console[0]"]);
    }

    #[test]
    fn members_of_a_pair_tell_of_one_occurrence() {
        let one = "{labels: {alertname: A, team: web}, series: F . . . . R";
        let text = format!("  input: [{one}, peer: a}}, {one}, peer: b, at: 10s}}]\n  until: 8m\n");
        assert_eq!(
            shown(&text, 100).unwrap(),
            [
                "0s page console[0]",
                "10s suppressed/duplicate ",
                "5m10s suppressed/duplicate ",
                "7m resolve console[0]"
            ]
        );
    }

    #[test]
    fn a_clock_that_would_not_stop_is_stopped() {
        let text = "  input: [{labels: {alertname: A, team: web}, series: F}]\n  until: 300d\n";
        let error = shown(text, 2).unwrap_err().to_string();
        assert!(error.starts_with("the clock took 2 steps and was only at 8h of 300d. "), "{error}");
    }
}
