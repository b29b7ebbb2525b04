//! The engine under virtual time: timelines, laws, an oracle, replay.

mod audit;
mod laws;
mod timelines;
mod world;
