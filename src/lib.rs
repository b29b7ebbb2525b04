//! Squelch: a noise gate for the pager.
//!
//! Alertmanager (or Prometheus itself) reports firing alerts. Squelch decides which ones a person must see,
//! and loses nothing in between. Data flows one way, from [`ingest`] through the [`journal`] and the
//! [`engine`] to [`deliver`]. Imports point down only. `ARCHITECTURE.md` draws the map.

pub mod causes;
pub mod commands;
pub mod config;
pub mod decision_log;
pub mod deliver;
pub mod history;
pub mod ingest;
pub mod journal;
pub mod node;
pub mod outside;
pub mod receivers;
pub mod settings;
pub mod spans;
pub mod templates;
pub mod web;

pub use squelch_core::{engine, model};

/// The revision of the source, or nothing if the build could not tell.
const REVISION: &str = env!("SQUELCH_REVISION");
