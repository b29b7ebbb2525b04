//! The engine under virtual time: timelines, laws, an oracle, replay.

mod acknowledged;
mod board;
mod churn;
mod clocks;
mod dry;
mod escalation;
mod firing;
mod found;
mod handover;
mod history;
mod invariants;
mod keyed;
mod laws;
mod many;
mod noise;
mod observe;
mod quarantine;
mod read;
mod relations;
mod reload;
mod repeats;
mod report;
mod rerouted;
mod scene;
mod told;
mod trust;
