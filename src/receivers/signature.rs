//! Signs outgoing webhooks by Standard Webhooks 1.0, so that a receiver knows their sender and drops
//! duplicates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::{Notification, Timestamp};
use crate::settings::SigningKeys;

/// The id is the same for every attempt at one notification, also after a restart, and for no other one.
/// The incident's key alone would make its resolve a repeat of its page.
pub(super) fn id_of(n: &Notification) -> String {
    let key: String = n.dedup_key.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("msg_{key}_{}", n.id.0)
}

/// `webhook-id`, `webhook-timestamp`, and a `v1` signature for each key.
pub(super) fn headers(
    keys: &SigningKeys,
    id: &str,
    at: Timestamp,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let timestamp = (at.as_millis() / 1000).to_string();
    let sign = |key: &[u8]| {
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    let signatures: Vec<String> = keys.reveal().filter_map(sign).collect();
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.clone()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the standard's own libraries.
    #[test]
    fn signs_as_the_published_vector_says() {
        let keys = SigningKeys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let at = Timestamp::from_millis(1_614_265_330_000);
        let headers = headers(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(headers[1].1, "1614265330");
        assert_eq!(headers[2].1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
