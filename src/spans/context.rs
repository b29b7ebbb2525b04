//! The numbers of traces and spans, and how requests name them.
//!
//! Rule: W3C Trace Context, section 3.2 (`traceparent`).

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A span within a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// The trace. It is never 0.
    pub trace: u128,
    /// The span. It is never 0.
    pub span: u64,
}

impl TraceContext {
    /// Reads a `traceparent`: its span, and whether its sender records the trace. Later versions may have
    /// further fields.
    pub(super) fn parse(text: &str) -> Option<(TraceContext, bool)> {
        let mut fields = text.trim().split('-');
        let version = hex(fields.next()?, 2)?;
        let (trace, span) = (hex(fields.next()?, 32)?, hex(fields.next()?, 16)?);
        let flags = hex(fields.next()?, 2)?;
        let ends = fields.next().is_none();
        let known = version != 0xff && (ends || version != 0) && trace != 0 && span != 0;
        let span = u64::try_from(span).ok()?;
        known.then_some((TraceContext { trace, span }, flags & 1 == 1))
    }
}

/// So many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let right = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    right.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// A number that cannot be guessed, and that does not come again.
fn random() -> u64 {
    // The standard library draws the keys at random, and the hash of a counter does not repeat for long.
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    KEYS.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)).max(1)
}

/// The number of a new span.
pub(super) fn span() -> u64 {
    random()
}

/// The number of a new trace, if it is one of the share that is traced. The lower half decides, as in the
/// OpenTelemetry SDKs.
pub(super) fn trace_of(fraction: f64) -> Option<u128> {
    let low = random();
    let bound = fraction.clamp(0.0, 1.0) * (1_u64 << 63) as f64;
    let traced = fraction >= 1.0 || ((low >> 1) as f64) < bound;
    traced.then(|| u128::from(random()) << 64 | u128::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_by_the_rule() {
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        let sampled = |text: &str| TraceContext::parse(text).map(|(_, sampled)| sampled);
        assert_eq!(sampled(&format!("00-{trace}-{span}-01")), Some(true));
        assert_eq!(sampled(&format!("00-{trace}-{span}-02")), Some(false));
        assert_eq!(sampled(&format!("cc-{trace}-{span}-01-later")), Some(true));
        for wrong in [
            format!("00-{trace}-{span}-01-more"),
            format!("ff-{trace}-{span}-01"),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-{span}-01", trace.to_uppercase()),
            format!("00-{trace}-{span}"),
            format!("00-{trace}-+{}-01", &span[1..]),
            String::new(),
        ] {
            assert_eq!(TraceContext::parse(&wrong), None, "{wrong}");
        }
    }
}
