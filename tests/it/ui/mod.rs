//! The pages: in a real browser, against the real program.

pub(crate) mod browser;
mod demo;
mod everywhere;
mod hostile;
mod incident;
mod many;
mod now;
mod pages;
mod silence;
mod standing;
