//! The events that go into the engine, and the effects that come out.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::repeats::Repeats;
use crate::model::{
    AlertId, Batch, Decision, Duration, FailedDelivery, IncidentRecord, Notification, NotificationId,
    Problem, Remark, Report, SilenceChange, Timestamp,
};
use crate::policy::Policy;

/// An event. It is journalled with the time at which it was handled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// An upstream made statements that may change the state.
    Observe(Batch),
    /// The same, after the engine failed to decide about it. It bypasses the stages.
    Quarantine(Batch),
    /// A peer repeated its earlier statements.
    Repeats(Repeats),
    /// A notification reached its end.
    Delivered(Report),
    /// Attempts at a notification failed, and it has not reached its end.
    Failed(FailedDelivery),
    /// A person asks for a dead letter to be sent again.
    Replay(NotificationId),
    /// A person releases an alert that is held back.
    Release(Release),
    /// A person took an incident on, here or in the tool that paged them, or gave it back.
    Acknowledge(Acknowledge),
    /// A person's remark about an incident, which may be over.
    Remark(IncidentRemark),
    /// A person made, changed or ended a silence.
    Silence(SilenceChange),
    /// A problem outside of the engine that a person must know.
    Alarm(Alarm),
    /// The report of a period is due.
    Report(PeriodReport),
    /// The configuration, at start and whenever it changes.
    Policy(Box<Policy>),
    /// Engine time is so many milliseconds ahead of wall time from now on: senders' times are compared with
    /// wall time.
    Clocks(i64),
    /// The program started. Squelch received nothing while it was down.
    Started,
    /// Only time passed.
    Tick,
}

/// An alert that a person releases: it waits for its page at a receiver, or flaps there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// The alert.
    pub alert: AlertId,
    /// The receiver.
    pub receiver: SmolStr,
    /// The person.
    pub by: SmolStr,
}

/// A person took an incident on, or gave it back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acknowledge {
    /// The key by which the tool knows the incident.
    pub dedup_key: SmolStr,
    /// The receivers that page through this tool.
    pub receivers: Vec<SmolStr>,
    /// The person who acknowledged it. `None` = the acknowledgement was taken back.
    pub by: Option<SmolStr>,
    /// The receiver type of the tool that says so, such as `pagerduty`. `None` = a person said so here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<SmolStr>,
}

/// A person's remark about an incident. The engine keeps no closed incidents, so it takes the number and
/// the key as they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentRemark {
    /// The number of the incident.
    pub incident: u64,
    /// Its `dedup_key`.
    pub key: SmolStr,
    /// The person and the remark.
    pub remark: Remark,
}

/// A report of a period, for one receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeriodReport {
    /// The receiver.
    pub receiver: SmolStr,
    /// When the period begins.
    pub since: Timestamp,
    /// When it ends: the report is due then. There is one report at most for each due time.
    pub due: Timestamp,
    /// The report as text of several lines.
    pub text: SmolStr,
}

/// A problem, for the receiver of `self_check`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alarm {
    /// The problem. There is one incident for each kind.
    pub problem: Problem,
    /// It is over after this time, unless it is raised again.
    pub lasts: Duration,
}

/// The effects of an event. None of them may leave the process before the event is durable.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Effects {
    /// To be sent, in this order for each (receiver, integration, incident).
    pub notifications: Vec<Notification>,
    /// Notifications that left earlier, and whose incidents have changed. Delivery gives each back with
    /// [`Outcome::Recalled`] where its next attempt would begin. If the receiver accepts or refuses it
    /// before, that is its end.
    ///
    /// [`Outcome::Recalled`]: crate::model::Outcome::Recalled
    pub recalls: Vec<NotificationId>,
    /// For the accounting: unchanged repeats are among them once in an hour, as one.
    pub decisions: Vec<Decision>,
    /// The changes of incidents, in order.
    pub history: Vec<IncidentRecord>,
    /// Unchanged repeats at the moment of their disposition, if a caller watches. They are written down
    /// later, with [`Self::decisions`].
    pub repeats: Option<Vec<Decision>>,
    /// Stored notifications to be sent again as they are.
    pub resend: Vec<NotificationId>,
    /// Refused notifications whose receiver has got a later one.
    pub made_good: Vec<NotificationId>,
}

impl Effects {
    /// For a caller that watches all decisions, repeats too.
    pub fn watched() -> Effects {
        Effects { repeats: Some(Vec::new()), ..Effects::default() }
    }

    /// Takes the dispositions out, each observation once, at the moment of its disposition. It serves
    /// callers that watch decisions and do not keep them.
    pub fn take_disposed(&mut self) -> Vec<Decision> {
        let mut disposed = std::mem::take(&mut self.decisions);
        disposed.retain(|decision| decision.basis.repeats_since.is_none());
        disposed.extend(self.repeats.iter_mut().flat_map(std::mem::take));
        disposed
    }
}

/// Why the engine wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Facts known of an alert expire.
    Alert,
    /// A hold ends.
    Hold,
    /// A flapping alert's penalty falls to `reuse_at`, its `max_hold` ends, or it fired for long enough.
    Reuse,
    /// A group's wait ends.
    GroupWait,
    /// An update of an incident may leave.
    Update,
    /// A resolved incident's hold ends.
    ResolveHold,
    /// An open incident is repeated.
    Repeat,
    /// Squelch tries a page again that was refused for good.
    Retry,
    /// A silence or a time interval begins or ends.
    Mute,
    /// A receiver gets the digest of alerts held back.
    Digest,
    /// Self-check: a receiver should have been notified by now, or the check is due again.
    Watch,
    /// A person should have acknowledged an incident by now.
    Respond,
    /// A heartbeat has been silent for long enough.
    Heartbeat,
    /// A remembered entry may be forgotten.
    Forget,
}
