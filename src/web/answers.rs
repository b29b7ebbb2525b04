//! Recognises a body that was sent before, so that it is not even looked at again.
//!
//! Alertmanager's retries and repeats are byte-identical. Only the words that they hold are remembered: what
//! came of them is for the node to say, each time.

use std::net::IpAddr;
use std::sync::Arc;

use moka::sync::Cache;

use crate::ingest::{Glance, Said};
use crate::model::Source;

/// What is remembered of bodies, in bytes.
const CAPACITY: u64 = 8 << 20;

/// The words of bodies by what was sent, and by whom.
#[derive(Clone)]
pub(super) struct Answers {
    glance: Glance,
    known: Cache<u128, Arc<[Said]>>,
}

impl Answers {
    pub(super) fn new() -> Self {
        let weight = |said: &Arc<[Said]>| u32::try_from(128 + size_of_val(&**said)).unwrap_or(u32::MAX);
        let known = Cache::builder().max_capacity(CAPACITY).weigher(move |_, said| weight(said)).build();
        Answers { glance: Glance::new(), known }
    }

    /// What hashes words.
    pub(super) fn glance(&self) -> &Glance {
        &self.glance
    }

    /// The words in a webhook body, if it is plainly one; those of a body that was seen before are known.
    pub(super) fn webhook(&self, sender: Option<&str>, peer: IpAddr, body: &[u8]) -> Option<Arc<[Said]>> {
        let sender = named(sender, peer);
        let key = self.glance.hash([Source::Alertmanager.as_str().as_bytes(), sender.as_bytes(), body]);
        if let Some(said) = self.known.get(&key) {
            return Some(said);
        }
        let said: Arc<[Said]> = self.glance.webhook(body, &sender)?.into();
        self.known.insert(key, Arc::clone(&said));
        Some(said)
    }
}

/// Who speaks: the source by its credentials, and the address. No name of a source holds a zero byte.
pub(super) fn named(sender: Option<&str>, peer: IpAddr) -> String {
    format!("{}\0{peer}", sender.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_body_of_the_same_sender_is_known() {
        let (answers, peer) = (Answers::new(), IpAddr::from([192, 0, 2, 1]));
        let body =
            br#"{"alerts":[{"status":"firing","labels":{"a":"b"},"startsAt":"2026-11-23T00:16:19Z"}]}"#;
        let first = answers.webhook(None, peer, body).unwrap();
        assert!(Arc::ptr_eq(&first, &answers.webhook(None, peer, body).unwrap()));
        for (sender, peer) in [(Some("a"), peer), (None, IpAddr::from([192, 0, 2, 2]))] {
            assert_ne!(first[0].who, answers.webhook(sender, peer, body).unwrap()[0].who);
        }
        assert!(answers.webhook(None, peer, b"{}").is_none());
    }
}
