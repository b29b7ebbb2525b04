//! The engine under virtual time: timelines, laws, an oracle, replay.

mod audit;
mod laws;
mod many;
mod timelines;
mod world;
