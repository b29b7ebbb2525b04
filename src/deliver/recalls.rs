//! The notifications that the engine wants back, because their incidents have changed.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::NotificationId;

/// The engine's thread writes it, and each schedule looks into it before an attempt.
///
/// Only the present engine may answer for a notification that comes back. The list is therefore empty
/// while the storage fails and once the process is to end. Notifications leave as they are then.
#[derive(Debug, Default)]
pub struct Recalls(Mutex<BTreeSet<NotificationId>>);

impl Recalls {
    /// Asks for a notification. It stays asked for until [`Recalls::ended`].
    pub fn ask(&self, id: NotificationId) {
        self.all().insert(id);
    }

    /// Whether this notification should come back.
    pub fn asks(&self, id: NotificationId) -> bool {
        self.all().contains(&id)
    }

    /// A notification reached its end.
    pub fn ended(&self, id: NotificationId) {
        self.all().remove(&id);
    }

    /// Asks for none of them any more.
    pub fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, BTreeSet<NotificationId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
