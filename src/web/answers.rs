//! Recognises a webhook body that was sent before, so that it is not parsed again.
//!
//! Alertmanager's retries and repeats are byte-identical. What was parsed is all that is remembered: the
//! batch goes to the node each time, which alone says what repeats what.

use std::net::IpAddr;
use std::sync::Arc;

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::ingest::Parsed;
use crate::model::Source;

/// Bodies remembered, in bytes.
const CAPACITY: u64 = 32 << 20;

/// Parsed bodies by what was sent, and by whom.
#[derive(Clone)]
pub(super) struct Answers {
    known: Cache<[u8; 32], Arc<Parsed>>,
}

impl Answers {
    pub(super) fn new() -> Self {
        let known = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(|_, parsed: &Arc<Parsed>| u32::try_from(weight(parsed)).unwrap_or(u32::MAX))
            .build();
        Answers { known }
    }

    /// The key of a body.
    pub(super) fn key(source: Source, sender: Option<&str>, peer: IpAddr, body: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(source.as_str());
        hash.update([0]);
        // No name of a source holds a zero byte, and none is empty.
        hash.update(sender.unwrap_or_default());
        hash.update([0]);
        hash.update(peer.to_string());
        hash.update([0]);
        hash.update(body);
        hash.finalize().into()
    }

    /// What the body said, if it was remembered.
    pub(super) fn get(&self, key: &[u8; 32]) -> Option<Arc<Parsed>> {
        self.known.get(key)
    }

    /// Remembers what a body said, if it will say the same next time and nothing needs to be counted
    /// or said about it.
    pub(super) fn remember(&self, key: [u8; 32], parsed: &Arc<Parsed>) {
        if parsed.rejected.is_empty() && parsed.mended.is_empty() && !parsed.depends_on_receipt {
            self.known.insert(key, Arc::clone(parsed));
        }
    }
}

/// Roughly the bytes that a parsed body takes.
fn weight(parsed: &Parsed) -> usize {
    let pairs = |set: &crate::model::LabelSet| -> usize {
        set.iter().map(|(name, value)| 48 + name.len() + value.len()).sum()
    };
    let alerts: usize = parsed
        .batch
        .observations
        .iter()
        .map(|o| 160 + pairs(&o.labels) + pairs(&o.annotations) + o.generator_url.len())
        .sum();
    512 + parsed.group_key.len() + alerts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::webhook;
    use crate::model::Timestamp;

    #[test]
    fn remembers_only_what_will_mean_the_same_again() {
        let answers = Answers::new();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let remembered = |body: &str| {
            let key = Answers::key(Source::Alertmanager, None, peer, body.as_bytes());
            let parsed = webhook::parse(body.as_bytes(), "p", Timestamp::from_millis(0)).unwrap();
            answers.remember(key, &Arc::new(parsed));
            answers.get(&key).is_some()
        };
        let alert = r#"{"status":"firing","labels":{"a":"b"},"startsAt":"2026-11-23T00:16:19Z"}"#;
        assert!(remembered(&format!(r#"{{"alerts":[{alert}]}}"#)));
        assert!(!remembered(&format!(r#"{{"alerts":[{alert},5]}}"#)));
        assert!(!remembered(r#"{"alerts":[{"status":"firing","labels":{"a":"b"}}]}"#));
        let this = Answers::key(Source::Alertmanager, None, peer, b"x");
        assert_ne!(this, Answers::key(Source::Alertmanager, None, IpAddr::from([192, 0, 2, 2]), b"x"));
        assert_ne!(this, Answers::key(Source::Alertmanager, Some("a"), peer, b"x"));
    }
}
