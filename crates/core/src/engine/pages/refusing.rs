//! The integrations that refused the last message which belongs to no incident: a digest, or a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::engine::renames::rename_part;
use crate::model::NotificationId;
use crate::policy::Policy;

/// A receiver, and one of its integrations.
pub(crate) type ReceiverIntegration = (SmolStr, SmolStr);

/// Each integration that refused the last message of a kind, with the number of the message.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusing(
    #[serde(with = "crate::engine::pairs")] BTreeMap<ReceiverIntegration, NotificationId>,
);

impl Refusing {
    /// The message reached its end. It returns the earlier message that it makes good.
    pub(crate) fn ended(
        &mut self,
        place: ReceiverIntegration,
        id: NotificationId,
        accepted: bool,
    ) -> Option<NotificationId> {
        if accepted {
            return self.0.remove(&place);
        }
        self.0.insert(place, id);
        None
    }

    /// The integration has accepted the message, which a person sent again.
    pub(crate) fn resent(&mut self, id: NotificationId) {
        self.0.retain(|_, refused| *refused != id);
    }

    /// The receivers and the integrations.
    pub(crate) fn places(&self) -> impl Iterator<Item = &ReceiverIntegration> {
        self.0.keys()
    }

    /// How many integrations of each receiver.
    pub(crate) fn by_receiver(&self) -> BTreeMap<SmolStr, u64> {
        let mut receivers = BTreeMap::new();
        for (receiver, _) in self.0.keys() {
            *receivers.entry(receiver.clone()).or_default() += 1;
        }
        receivers
    }

    /// Forgets the integrations that get no such message under this policy. `gets` says which receivers do.
    pub(crate) fn adopt(&mut self, policy: &Policy, gets: impl Fn(&SmolStr) -> bool) {
        self.0.retain(|(receiver, integration), _| {
            let known = policy.receivers.get(receiver).filter(|_| gets(receiver));
            known.is_some_and(|r| r.integrations.iter().any(|i| i.name == *integration && i.takes_digests))
        });
    }

    /// A receiver has another name.
    pub(crate) fn rename_receiver(&mut self, old: &SmolStr, new: &SmolStr) {
        rename_part(&mut self.0, old, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::policy;

    fn place(receiver: &str, integration: &str) -> ReceiverIntegration {
        (receiver.into(), integration.into())
    }

    #[test]
    fn an_integration_counts_until_it_accepts_a_message_or_gets_none_any_more() {
        let policy = policy(&[], Default::default());
        let refuses = || {
            let mut refusing = Refusing::default();
            for (n, one) in
                [place("pd", "pagerduty[0]"), place("pd", "gone"), place("old", "x")].iter().enumerate()
            {
                assert_eq!(refusing.ended(one.clone(), NotificationId(n as u64), false), None);
            }
            refusing
        };
        let mut refusing = refuses();
        assert_eq!(refusing.by_receiver(), BTreeMap::from([("pd".into(), 2), ("old".into(), 1)]));
        refusing.adopt(&policy, |_| true);
        assert_eq!(refusing.places().collect::<Vec<_>>(), [&place("pd", "pagerduty[0]")]);
        refusing.adopt(&policy, |_| false);
        assert_eq!(refusing, Refusing::default(), "the receiver gets no such message");
        let mut takes_none = policy.clone();
        takes_none.receivers.get_mut("pd").unwrap().integrations[0].takes_digests = false;
        let mut refusing = refuses();
        refusing.adopt(&takes_none, |_| true);
        assert_eq!(refusing, Refusing::default(), "the integration shows no such message");
    }

    #[test]
    fn a_message_that_arrives_makes_the_refused_one_good() {
        let (mut refusing, one) = (Refusing::default(), place("pd", "pagerduty[0]"));
        refusing.ended(one.clone(), NotificationId(1), false);
        assert_eq!(refusing.ended(one.clone(), NotificationId(2), true), Some(NotificationId(1)));
        refusing.ended(one.clone(), NotificationId(3), false);
        refusing.resent(NotificationId(4));
        refusing.rename_receiver(&"pd".into(), &"ops".into());
        assert_eq!(refusing.places().collect::<Vec<_>>(), [&place("ops", "pagerduty[0]")]);
        refusing.resent(NotificationId(3));
        assert_eq!(refusing, Refusing::default());
    }
}
