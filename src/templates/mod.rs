//! Go templates, as Alertmanager has them: their data, their functions, and the library of one
//! configuration.
//!
//! The crate `gotmpl` parses and runs a template. It knows no methods of values, so `rewrite` turns them
//! into calls of functions. A rendering is bounded in steps, in the bytes that its functions work on, and
//! in the turns of its loops. The depth of its calls and its output are bounded too. It reads no clock.

mod check;
mod data;
mod functions;
mod json;
mod layout;
mod library;
mod lint;
mod methods;
mod names;
mod old;
mod order;
mod place;
mod render;
mod rewrite;
mod route;
mod scan;
mod scope;
mod text;
mod time;
mod value;

pub use check::{Checked, Form, check, check_route_labels, fields_of, says_something_without_labels};
pub use data::{Data, Facts, NO_READINGS, Readings, RuleReading, incident_url, quote_meta, reason};
pub use library::{Library, TemplateFile};
pub(crate) use names::{distance, nearest};
pub use order::in_order;
pub use place::WrongTemplate;
pub use render::{Compiled, TemplateText};
pub use text::{Escape, as_it_is, clean_line, clean_text, http_url, scheme};

/// Whether a text holds a template.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}
