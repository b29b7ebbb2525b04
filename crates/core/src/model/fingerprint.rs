//! Identities: Alertmanager's fingerprint for display, and the 128-bit hash that decides.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::LabelSet;

/// Alertmanager's fingerprint of a full label set: FNV-1a, 64 bits, over `name 0xFF value 0xFF` in
/// the order of the names (prometheus/common `model/signature.go`). For display and API only: 64
/// bits can be collided on purpose, and then one alert would suppress another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// The fingerprint of `labels`.
    pub fn of(labels: &LabelSet) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut eat = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (name, value) in labels.iter() {
            eat(name.as_bytes());
            eat(value.as_bytes());
        }
        Fingerprint(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The identity of an alert, or of one full label set. It is the first 128 bits of SHA-256 over `name 0xFF
/// value 0xFF` in the order of the names. 0xFF never occurs in UTF-8.
///
/// Packed to the alignment of a pointer: most keys of the engine have one beside a small field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(Rust, packed(8))]
pub struct AlertId(pub u128);

impl AlertId {
    /// The identity of `labels`, less the names that `ignored` accepts.
    pub fn of(labels: &LabelSet, ignored: impl Fn(&str) -> bool) -> Self {
        let told = || labels.iter().filter(|(name, _)| !ignored(name));
        let mut text = Vec::with_capacity(told().map(|(name, value)| name.len() + value.len() + 2).sum());
        for (name, value) in told() {
            text.extend_from_slice(name.as_bytes());
            text.push(0xff);
            text.extend_from_slice(value.as_bytes());
            text.push(0xff);
        }
        let mut first = [0u8; 16];
        first.copy_from_slice(&Sha256::digest(&text)[..16]);
        AlertId(u128::from_be_bytes(first))
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", { self.0 })
    }
}

impl fmt::Debug for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Hexadecimal in formats for people, 16 bytes in binary formats.
impl Serialize for AlertId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(&self.0.to_be_bytes()) }
    }
}

impl<'de> Deserialize<'de> for AlertId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return d.deserialize_bytes(AlertIdBytes);
        }
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        u128::from_str_radix(&text, 16).map(AlertId).map_err(serde::de::Error::custom)
    }
}

struct AlertIdBytes;

impl serde::de::Visitor<'_> for AlertIdBytes {
    type Value = AlertId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16 bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<AlertId, E> {
        let bytes = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
        Ok(AlertId(u128::from_be_bytes(bytes)))
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The first 64 bits of the SHA-256 of `bytes`.
pub fn hash64(bytes: &[u8]) -> u64 {
    sha256(bytes).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Lower-case hexadecimal, as Alertmanager writes its keys.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_equal_alertmanagers() {
        let raw = LabelSet::from_pairs([("alertname", "Raw"), ("instance", "b"), ("q", "a<b&\"c\"")]);
        assert_eq!(Fingerprint::of(&raw).to_string(), "22db5782a4fe1682");
        let other = LabelSet::from_pairs([("alertname", "A204"), ("instance", "i"), ("t", "204")]);
        assert_eq!(Fingerprint::of(&other).to_string(), "12969a5a5b9c9dcd");
        assert_eq!(Fingerprint::of(&LabelSet::default()).to_string(), "cbf29ce484222325");
    }

    #[test]
    fn group_keys_hash_as_alertmanager_hashes_them() {
        assert_eq!(
            hex(&sha256(br#"{}:{alertname="HA"}"#)),
            "46bf8266969596eea1b8cd9f96e1719cfc44f71611d698977094e4482ef6d984"
        );
    }

    #[test]
    fn identity_leaves_out_ignored_labels_and_nothing_else() {
        let a = LabelSet::from_pairs([("alertname", "A"), ("replica", "1")]);
        let b = LabelSet::from_pairs([("alertname", "A"), ("replica", "2")]);
        let ignore = |name: &str| name == "replica";
        assert_eq!(AlertId::of(&a, ignore), AlertId::of(&b, ignore));
        assert_ne!(AlertId::of(&a, |_| false), AlertId::of(&b, |_| false));
    }
}
