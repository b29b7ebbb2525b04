//! `squelch.yml` → a validated [`Config`]; every error names file, line and what would be right.

mod policy;

pub use policy::{GroupBy, IntegrationRef, Level, Noise, Policy, Receiver, Route, Severities};
