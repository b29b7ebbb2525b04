//! Digests that nobody can show.

use super::section::{Problems, shown};
use crate::config::{Mode, Policy};

/// Adds a problem for each `digest` that is written down for a receiver that can show none.
pub(super) fn check(policy: &Policy, problems: &Problems) {
    for (name, noise) in &policy.noise {
        let line = policy.lines.noise.get(name).and_then(|keys| keys.get("digest"));
        let Some(line) = line.filter(|_| !noise.digest.is_zero() && noise.mode == Mode::Enforce) else {
            continue;
        };
        let routes = policy.routes.iter().filter(|route| route.noise == *name);
        for route in routes.filter(|route| policy.shows_no_digest(&route.receiver)) {
            let message = format!(
                "digest: receiver {} of the route on line {} cannot show a digest, which PagerDuty takes beside a url \
                 that ends in /v2/enqueue; write such a url, give the receiver another integration, or give the route \
                 a noise profile with digest: 0s",
                shown(&route.receiver),
                route.line
            );
            problems.add(*line, message);
        }
    }
}
