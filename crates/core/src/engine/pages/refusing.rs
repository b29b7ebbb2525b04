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
