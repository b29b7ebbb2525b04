//! A person's view: incidents, messages, and a count of requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use serde_json::Value;

use crate::decision_log::{SHORTEST_KEY, plain};
use crate::model::Timestamp;

/// The most incidents kept. The oldest go first.
pub const INCIDENTS: usize = 100_000;
const MESSAGES: usize = 1000;
/// Larger details are not kept.
const DETAIL_BYTES: usize = 4096;
/// Routing keys whose rate is watched. Beyond it the count starts anew.
const KEYS: usize = 10_000;
const TEXT_CHARS: usize = 4096;

/// One incident as the pager shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Incident {
    /// The sender's key: `dedup_key`, or an Alertmanager body's `groupKey`.
    pub dedup_key: String,
    /// The routing key with all but its last four characters hidden, or `webhook/<name>`.
    pub routing_key: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it closed.
    pub closed_at: Option<Timestamp>,
    /// As last said.
    pub summary: String,
    /// As last said.
    pub severity: String,
    /// How many triggers it folded, the first included.
    pub triggers: u64,
    /// How often it interrupted a human: once, when it opened.
    pub notified: u64,
    /// A person has acknowledged it.
    pub acknowledged: bool,
    /// `custom_details` of the last trigger, or the last webhook body. It is null if larger than 4 KiB.
    pub details: Value,
    #[serde(skip)]
    scope: String,
}

/// One Slack message.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Message {
    /// When it came.
    pub at: Timestamp,
    /// Its text, or its first attachment's title.
    pub title: String,
    /// The body as it came.
    pub body: Value,
}

/// How many requests were answered how.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Requests {
    /// Notifications that arrived, with any result.
    pub total: u64,
    /// By status. `reset` counts those that got no answer.
    pub by_status: BTreeMap<String, u64>,
    /// Change events, which notify no person.
    pub change_events: u64,
    /// Resolves and acknowledgements of incidents that were not open, dropped silently as PagerDuty does.
    pub dropped: u64,
    /// Incidents forgotten because there were too many.
    pub forgotten: u64,
}

/// The effect of one event on an incident.
pub struct Trigger {
    pub scope: String,
    pub shown: String,
    pub key: String,
    pub summary: String,
    pub severity: String,
    pub details: Value,
}

/// Everything a pager knows.
#[derive(Debug, Default)]
pub struct State {
    incidents: VecDeque<Incident>,
    /// Number of the incident at the front of the queue.
    first: u64,
    /// Number of the open incident of each (scope, key).
    open: BTreeMap<(String, String), u64>,
    messages: VecDeque<Message>,
    /// How many requests were answered how.
    pub requests: Requests,
    rates: BTreeMap<String, VecDeque<Timestamp>>,
    /// Gets a line about each event.
    pub tell: Option<fn(&str)>,
}

impl State {
    /// Every incident that is kept, oldest first.
    pub fn incidents(&self) -> Vec<Incident> {
        self.incidents.iter().cloned().collect()
    }

    /// Every Slack message that is kept, oldest first.
    pub fn messages(&self) -> Vec<Message> {
        self.messages.iter().cloned().collect()
    }

    /// Opens an incident, or silently folds into the open one of that key.
    pub fn trigger(&mut self, trigger: Trigger, now: Timestamp) {
        let Trigger { scope, shown, key, summary, severity, details } = trigger;
        let details = if details.to_string().len() > DETAIL_BYTES { Value::Null } else { details };
        let (summary, open_key) = (cut(summary), (scope.clone(), key.clone()));
        let at = self.open.get(&open_key).map(|number| number - self.first);
        if let Some(incident) = at.and_then(|at| self.incidents.get_mut(usize::try_from(at).ok()?)) {
            incident.triggers += 1;
            (incident.summary, incident.severity, incident.details) = (summary, severity, details);
            let line = line(now, "update", incident);
            self.say(&line);
            return;
        }
        if self.incidents.len() >= INCIDENTS {
            if let Some(gone) = self.incidents.pop_front().filter(|gone| gone.closed_at.is_none()) {
                self.open.remove(&(gone.scope, gone.dedup_key));
            }
            self.first += 1;
            self.requests.forgotten += 1;
        }
        self.open.insert(open_key, self.first + self.incidents.len() as u64);
        let incident = Incident {
            dedup_key: key,
            routing_key: shown,
            opened_at: now,
            closed_at: None,
            summary,
            severity,
            triggers: 1,
            notified: 1,
            acknowledged: false,
            details,
            scope,
        };
        self.say(&line(now, "PAGE", &incident));
        self.incidents.push_back(incident);
    }

    fn say(&self, line: &str) {
        if let Some(tell) = self.tell {
            tell(line);
        }
    }

    /// Closes the open incident of that key, or drops the event.
    pub fn resolve(&mut self, scope: &str, key: &str, now: Timestamp) {
        let number = self.open.remove(&(scope.to_owned(), key.to_owned()));
        match number.and_then(|n| self.incidents.get_mut(usize::try_from(n - self.first).ok()?)) {
            Some(incident) => {
                incident.closed_at = Some(now);
                let line = line(now, "resolve", incident);
                self.say(&line);
            }
            None => self.requests.dropped += 1,
        }
    }

    /// Marks the open incident of that key, or drops the event.
    pub fn acknowledge(&mut self, scope: &str, key: &str, now: Timestamp) {
        let number = self.open.get(&(scope.to_owned(), key.to_owned()));
        match number.and_then(|n| self.incidents.get_mut(usize::try_from(n - self.first).ok()?)) {
            Some(incident) => {
                incident.acknowledged = true;
                let line = line(now, "acknowledge", incident);
                self.say(&line);
            }
            None => self.requests.dropped += 1,
        }
    }

    /// A person takes on the incidents that are open under a key, or gives them back. `named` is the key, or
    /// a beginning of at least [`SHORTEST_KEY`] characters that no other open incident has. Returns the key.
    pub fn taken_on(&mut self, named: &str, taken: bool) -> Option<String> {
        let open = self.incidents.iter().filter(|i| i.closed_at.is_none()).map(|i| &i.dedup_key);
        let begins = |key: &&String| named.len() >= SHORTEST_KEY && key.starts_with(named);
        let mut keys: BTreeSet<&String> = open.clone().filter(|key| *key == named).collect();
        if keys.is_empty() {
            keys = open.filter(begins).collect();
        }
        let key = keys.first().filter(|_| keys.len() == 1)?.to_string();
        let open = self.incidents.iter_mut().filter(|i| i.closed_at.is_none() && i.dedup_key == key);
        open.for_each(|incident| incident.acknowledged = taken);
        Some(key)
    }

    /// Keeps a Slack message.
    pub fn message(&mut self, body: Value, now: Timestamp) {
        if self.messages.len() >= MESSAGES {
            self.messages.pop_front();
        }
        let attached = body.pointer("/attachments/0/title").or_else(|| body.pointer("/attachments/0/text"));
        let title = body.get("text").or(attached).and_then(Value::as_str).unwrap_or_default();
        let title = cut(title.to_owned());
        self.say(&format!("{}  message      {}", clock(now), plain(&title)));
        self.messages.push_back(Message { at: now, title, body });
    }

    /// Counts an answer. `None` is a connection that was reset.
    pub fn answered(&mut self, status: Option<u16>) {
        let status = status.map_or("reset".to_owned(), |s| s.to_string());
        *self.requests.by_status.entry(status).or_default() += 1;
    }

    /// Whether `key` has sent fewer than `limit` events in the last 60 s. It counts this one if so.
    pub fn within_rate(&mut self, key: &str, limit: u32, now: Timestamp) -> bool {
        let since = now - crate::model::Duration::from_secs(60);
        self.rates.retain(|_, times| times.back().is_some_and(|last| *last > since));
        if self.rates.len() > KEYS {
            self.rates.clear();
        }
        let times = self.rates.entry(key.to_owned()).or_default();
        while times.front().is_some_and(|at| *at <= since) {
            times.pop_front();
        }
        let within = times.len() < usize::try_from(limit).unwrap_or(usize::MAX);
        if within {
            times.push_back(now);
        }
        within
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = State { tell: self.tell, ..State::default() };
    }
}

/// One event as a person reads it: the time, the pager's action, and the incident.
fn line(now: Timestamp, what: &str, incident: &Incident) -> String {
    let Incident { severity, summary, dedup_key, .. } = incident;
    let key: String = dedup_key.chars().take(12).collect();
    format!("{}  {what:<11}  {:<8}  {}  ({})", clock(now), plain(severity), plain(summary), plain(&key))
}

/// `14:03:10Z`
pub fn clock(at: Timestamp) -> String {
    let seconds = Timestamp::from_millis(at.as_millis().div_euclid(1000) * 1000).to_string();
    seconds.get(11..).unwrap_or(&seconds).to_owned()
}

fn cut(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS) {
        Some((at, _)) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(key: &str) -> Trigger {
        let (scope, shown) = ("s".to_owned(), "…".to_owned());
        let (summary, severity) = ("sum".to_owned(), "critical".to_owned());
        Trigger { scope, shown, key: key.into(), summary, severity, details: Value::Null }
    }

    #[test]
    fn keys_fold_close_and_open_anew() {
        let (mut state, now) = (State::default(), Timestamp::from_millis(1000));
        state.trigger(trigger("a"), now);
        state.trigger(trigger("a"), now);
        state.resolve("s", "b", now);
        state.resolve("other", "a", now);
        state.resolve("s", "a", now);
        state.trigger(trigger("a"), now);
        let seen: Vec<_> = state.incidents().iter().map(|i| (i.triggers, i.closed_at.is_some())).collect();
        assert_eq!(seen, [(2, true), (1, false)]);
        assert_eq!(state.requests.dropped, 2);
    }

    #[test]
    fn a_person_names_an_incident_by_the_beginning_of_its_key() {
        let (mut state, now) = (State::default(), Timestamp::from_millis(1000));
        for key in ["8fd47d6dd8c1aa", "8fd47d6dd8c1bb", "3612c444f11c"] {
            state.trigger(trigger(key), now);
        }
        assert_eq!(state.taken_on("8fd47d6dd8c1", true), None, "two begin so");
        assert_eq!(state.taken_on("3612", true), None, "too short");
        assert_eq!(state.taken_on("361200", true), None);
        assert_eq!(state.taken_on("3612c4", true).as_deref(), Some("3612c444f11c"));
        assert_eq!(state.taken_on("8fd47d6dd8c1bb", true).as_deref(), Some("8fd47d6dd8c1bb"));
        let seen: Vec<_> = state.incidents().iter().map(|i| i.acknowledged).collect();
        assert_eq!(seen, [false, true, true]);
        state.resolve("s", "3612c444f11c", now);
        assert_eq!(state.taken_on("3612c4", true), None, "it is closed");
    }

    #[test]
    fn each_event_is_told_in_one_line() {
        use std::cell::RefCell;

        thread_local!(static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });
        let tell: fn(&str) = |line| TOLD.with_borrow_mut(|told| told.push(line.to_owned()));
        let (mut state, now) =
            (State { tell: Some(tell), ..State::default() }, Timestamp::from_millis(83_001_000));
        state.trigger(Trigger { summary: "down\n\u{1b}[2J".into(), ..trigger("a") }, now);
        state.trigger(trigger("a"), now);
        state.acknowledge("s", "a", now);
        state.resolve("s", "a", now);
        state.resolve("s", "a", now);
        state.message(serde_json::json!({"text": "hello"}), now);
        let expected = [
            "23:03:21Z  PAGE         critical  down\u{fffd}\u{fffd}[2J  (a)",
            "23:03:21Z  update       critical  sum  (a)",
            "23:03:21Z  acknowledge  critical  sum  (a)",
            "23:03:21Z  resolve      critical  sum  (a)",
            "23:03:21Z  message      hello",
        ];
        assert_eq!(TOLD.take(), expected);
    }

    #[test]
    fn the_newest_incidents_are_kept() {
        let (mut state, now) = (State::default(), Timestamp::from_millis(1000));
        for n in 0..INCIDENTS + 1 {
            state.trigger(trigger(&n.to_string()), now);
        }
        assert_eq!((state.incidents.len(), state.requests.forgotten), (INCIDENTS, 1));
        assert_eq!(state.incidents[0].dedup_key, "1");
        state.resolve("s", "1", now);
        assert!(state.incidents[0].closed_at.is_some());
        state.resolve("s", "0", now);
        assert_eq!(state.requests.dropped, 1);
    }

    #[test]
    fn the_rate_is_over_a_rolling_minute() {
        let (mut state, at) = (State::default(), |s: i64| Timestamp::from_millis(s * 1000));
        assert!(state.within_rate("k", 2, at(100)));
        assert!(state.within_rate("k", 2, at(130)));
        assert!(!state.within_rate("k", 2, at(159)));
        assert!(state.within_rate("other", 2, at(159)));
        assert!(state.within_rate("k", 2, at(160)));
        assert!(!state.within_rate("k", 2, at(161)));
    }
}
