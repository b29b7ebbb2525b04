//! Integration tests, in one binary.

mod journal;
mod journal_sqlite;
