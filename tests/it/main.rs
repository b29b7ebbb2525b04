//! Integration tests: one binary.

mod deliver;
mod golden;
