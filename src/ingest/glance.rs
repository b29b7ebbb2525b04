//! A first look at a body: whose alerts they are and whether they say what they said before, without reading
//! what that is.
//!
//! Most of what arrives repeats what arrived a minute ago, word for word but for `endsAt`. The words are
//! hashed as they stand; whoever remembers what came of the same words need not read them.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::alert::RawAlert;
use super::bounds;
use super::go::field;
use super::text::time;
use crate::model::{Source, Timestamp};

/// What a body says of one alert, seen from afar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The sender and the words of the labels.
    pub who: u128,
    /// The words of the rest, but for the `endsAt` of a firing alert.
    pub what: u64,
    /// API v2: until when it counts as firing.
    pub ends_at: Option<Timestamp>,
}

/// Hashes words under keys of its own: whoever does not know them cannot make two words look the same.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    keys: (u64, u64),
}

/// The one field of a webhook body that is looked at; nothing if there are several.
struct Message<'a>(Option<Vec<RawAlert<'a>>>);

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a webhook body")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut alerts, mut lists) = (None, 0);
        while let Some(key) = map.next_key::<&RawValue>()? {
            if field(key, &["alerts"]).is_some() {
                alerts = Some(map.next_value()?);
                lists += 1;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Message(alerts.filter(|_| lists == 1)))
    }
}

impl Glance {
    /// With keys that nobody knows.
    #[expect(clippy::new_without_default, reason = "no two are alike")]
    pub fn new() -> Self {
        let key = || RandomState::new().build_hasher().finish();
        Glance { keys: (key(), key()) }
    }

    fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.keys.0, self.keys.1)
    }

    /// The hash of `parts`, each told apart from the next.
    pub fn hash<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> u128 {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    /// Looks at a webhook body of `sender`. Nothing if it is not plainly one, or an alert has no start.
    pub fn webhook(&self, body: &[u8], sender: &str) -> Option<Vec<Said>> {
        let Message(alerts) = plain(body)?;
        let (alerts, sender) = (few(alerts?)?, self.sender(Source::Alertmanager, sender));
        alerts.iter().map(|alert| self.said(alert, &sender, alert.ends_at, None)).collect()
    }

    /// Looks at a body of API v2 alerts of `sender`, received at `received_at`. Nothing if it is not plainly
    /// one, an alert has no start or no end, or one has ended: what that means is for others to say.
    pub fn api_v2(&self, body: &[u8], sender: &str, received_at: Timestamp) -> Option<Vec<Said>> {
        let alerts: Vec<RawAlert<'_>> = few(plain(body)?)?;
        let sender = self.sender(Source::Prometheus, sender);
        let said = |alert: &RawAlert<'_>| {
            let ends_at = time("endsAt", alert.ends_at).ok()?.filter(|at| *at > received_at)?;
            self.said(alert, &sender, None, Some(ends_at))
        };
        alerts.iter().map(said).collect()
    }

    fn sender(&self, source: Source, sender: &str) -> [u8; 16] {
        self.hash([source.as_str().as_bytes(), sender.as_bytes()]).to_be_bytes()
    }

    fn said(
        &self,
        alert: &RawAlert<'_>,
        sender: &[u8; 16],
        end: Option<&RawValue>,
        ends_at: Option<Timestamp>,
    ) -> Option<Said> {
        let labels = alert.labels.only()?.get().as_bytes();
        if alert.annotations.only().is_none() && alert.annotations.parts().next().is_some() {
            return None;
        }
        // One that counts from its receipt says something new each time.
        alert.starts_at.filter(|raw| raw.get().len() > "\"\"".len())?;
        let rest = [alert.annotations.only(), alert.starts_at, end, alert.generator_url, alert.status];
        let what = self.hash(rest.into_iter().map(words));
        Some(Said { who: self.hash([&sender[..], labels]), what: what as u64, ends_at })
    }
}

/// A body that is JSON in UTF-8 and nothing else. What is read in a body of another kind is mended.
fn plain<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}

/// No more alerts than are taken from one body.
fn few<T>(alerts: Vec<T>) -> Option<Vec<T>> {
    Some(alerts).filter(|alerts| alerts.len() <= bounds::ALERTS)
}

/// As they stand; nothing where there is nothing.
fn words(raw: Option<&RawValue>) -> &[u8] {
    raw.map_or(b"", |raw| raw.get().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"[{"labels":{"a":"b"},"annotations":{"s":"t"},"startsAt":"2026-11-23T00:16:19Z","endsAt":"2026-11-23T00:20:19Z","generatorURL":"http://p"}]"#;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn only_the_end_of_a_firing_alert_may_change() {
        let (glance, now) = (Glance::new(), at("2026-11-23T00:17:00Z"));
        let look = |body: &str| glance.api_v2(body.as_bytes(), "p", now);
        let first = look(BODY).unwrap()[0];
        assert_eq!(first.ends_at, Some(at("2026-11-23T00:20:19Z")));
        let later = look(&BODY.replace("00:20:19", "00:21:19")).unwrap()[0];
        assert_eq!((later.who, later.what), (first.who, first.what));
        assert_eq!(later.ends_at, Some(at("2026-11-23T00:21:19Z")));
        let of = |from: &str, to: &str| look(&BODY.replace(from, to)).unwrap()[0];
        assert_ne!(of(r#""b""#, r#""c""#).who, first.who);
        for (from, to) in [(r#""t""#, r#""u""#), ("00:16:19", "00:16:20"), ("http://p", "http://q")] {
            let other = of(from, to);
            assert!(other.who == first.who && other.what != first.what, "{to}");
        }
        assert_ne!(glance.api_v2(BODY.as_bytes(), "q", now).unwrap()[0].who, first.who);
        assert_ne!(Glance::new().api_v2(BODY.as_bytes(), "p", now).unwrap()[0].who, first.who);
        assert_eq!(look(&BODY.replace("00:20:19", "00:16:59")), None, "it has ended");
    }

    #[test]
    fn what_is_not_plain_is_left_to_be_read() {
        let (glance, now) = (Glance::new(), at("2026-11-23T00:17:00Z"));
        for (from, to) in [
            (r#""startsAt":"2026-11-23T00:16:19Z","#, ""),
            ("2026-11-23T00:16:19Z", ""),
            (r#","endsAt":"2026-11-23T00:20:19Z""#, ""),
            (r#""labels":{"a":"b"},"#, ""),
            (r#""labels""#, r#""labels":{},"labels""#),
            ("]", ",5]"),
            ("]", ""),
        ] {
            assert_eq!(glance.api_v2(BODY.replace(from, to).as_bytes(), "p", now), None, "{to}");
        }
        assert_eq!(glance.webhook(b"[]", "p"), None);
    }

    #[test]
    fn all_of_a_webhook_alert_counts() {
        let glance = Glance::new();
        let body =
            format!(r#"{{"version":"4","alerts":{}}}"#, BODY.replace("{\"l", r#"{"status":"firing","l"#));
        let look = |body: &str| glance.webhook(body.as_bytes(), "p").unwrap()[0];
        let first = look(&body);
        assert_eq!(first.ends_at, None);
        for (from, to) in [("firing", "resolved"), ("00:20:19", "00:21:19")] {
            let other = look(&body.replace(from, to));
            assert!(other.who == first.who && other.what != first.what, "{to}");
        }
    }
}
