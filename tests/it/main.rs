//! The integration tests: one binary, so that the program is linked once.

#![allow(clippy::unwrap_used, reason = "a test that panics fails, which is what it is for")]

mod access;
mod acknowledged;
mod answers;
mod as_alertmanager;
mod backtest;
mod behaviour;
mod chat;
mod clients;
mod compat;
mod compose;
mod config;
mod conformance;
mod dashboard;
mod decision_log;
mod decision_log_month;
mod deliver;
mod documentation;
mod documents;
mod e2e;
mod email;
mod exposition;
mod fuzz;
mod golden;
mod http_client;
mod ingest;
mod journal;
mod journal_copy;
mod journal_model;
mod journal_postgres;
mod journal_sqlite;
mod metrics;
mod node;
mod outgoing;
mod postgres;
mod reliability;
mod scenario;
mod serve;
mod silences;
mod templates;
mod timelines;
mod tools;
mod ui;
mod vendors;
mod web;
