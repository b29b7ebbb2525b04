//! Integration tests, in one binary.

mod journal;
mod journal_model;
mod journal_sqlite;
