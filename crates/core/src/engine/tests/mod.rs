//! The engine under virtual time: timelines, laws, an oracle, replay.

mod board;
mod churn;
mod clocks;
mod dry;
mod found;
mod handover;
mod laws;
mod many;
mod observe;
mod read;
mod reload;
mod told;
mod trust;
