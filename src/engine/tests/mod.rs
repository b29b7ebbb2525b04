//! The engine under virtual time: timelines, laws, an oracle, replay.

mod audit;
mod board;
mod consumers;
mod dry;
mod found;
mod laws;
mod many;
mod observe;
mod read;
mod reload;
mod timelines;
mod told;
mod trust;
mod world;
