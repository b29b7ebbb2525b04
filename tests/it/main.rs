//! The integration tests: one binary, so that the program is linked once.

mod compose;
mod dashboard;
mod exposition;
mod metrics;
mod tools;
