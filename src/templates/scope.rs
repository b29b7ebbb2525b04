//! The budget of one rendering, and the part used so far.
//!
//! A rendering runs on one thread from its beginning to its end. The functions of templates get nothing but
//! their arguments, so that they find the rendering under way by the thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gotmpl::{TemplateError, Value};
use regex::Regex;

use super::Escape;
use super::value::text;
use crate::model::{Timestamp, go_pattern};

/// Steps of one rendering: actions, fields, methods, and functions. 1,000 alerts with 20 labels each take
/// about 200,000.
const STEPS: u32 = 1_000_000;
/// Bytes that the functions of one rendering may read and write together.
const BYTES: usize = 32 * 1024 * 1024;
/// Steps that it takes to compile a regular expression.
const COMPILE: u32 = 1_000;

thread_local! {
    static SCOPE: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// The labels of the route that a rendering may ask for.
#[derive(Clone, Default)]
pub(super) struct Routes {
    /// Those with a value.
    pub(super) values: BTreeMap<Arc<str>, Value>,
    /// Those without one yet.
    pub(super) waiting: BTreeSet<String>,
    /// The labels that cannot have one.
    pub(super) failed: BTreeSet<String>,
    /// The label without a value yet that the rendering asked for.
    pub(super) asked: Option<String>,
}

impl Routes {
    /// The labels of data that has them rendered.
    pub(super) fn of(data: &Value) -> Self {
        let values = match data.field("RouteLabels") {
            Some(Value::Map(values)) => BTreeMap::clone(values),
            _ => BTreeMap::new(),
        };
        Routes { values, ..Routes::default() }
    }

    /// A label. It is empty if the route has none by this name.
    pub(super) fn get(&mut self, name: &str) -> Result<Value, TemplateError> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        if self.failed.contains(name) {
            return Err(failed(format!("the label {name:?} of the route has no value, because it fails")));
        }
        if self.waiting.contains(name) {
            self.asked = Some(name.to_owned());
            return Err(failed(format!("the label {name:?} of the route has no value yet")));
        }
        Ok(text(""))
    }
}

/// One rendering.
pub(super) struct Scope {
    /// The wall clock.
    now: Timestamp,
    /// Makes the values safe that a default template writes.
    escape: Escape,
    /// Makes the values safe that a template of the user writes.
    mentions: Escape,
    /// The labels of the route.
    routes: Routes,
    /// The action under way: file, line and column.
    at: Option<Arc<str>>,
    steps: u32,
    bytes: usize,
    patterns: BTreeMap<String, Regex>,
}

impl Scope {
    /// A rendering at this time, in which values are made safe so.
    pub(super) fn new(now: Timestamp, escape: Escape, mentions: Escape, routes: Routes) -> Self {
        let patterns = BTreeMap::new();
        Scope { now, escape, mentions, routes, at: None, steps: STEPS, bytes: BYTES, patterns }
    }
}

/// Renders in this scope. Also returns the action that was under way at the end, and the labels of the
/// route.
pub(super) fn within<T>(scope: Scope, render: impl FnOnce() -> T) -> (T, Option<Arc<str>>, Routes) {
    SCOPE.with_borrow_mut(|place| *place = Some(scope));
    let rendered = render();
    let scope = SCOPE.with_borrow_mut(Option::take);
    let (at, routes) = scope.map(|scope| (scope.at, scope.routes)).unwrap_or_default();
    (rendered, at, routes)
}

/// Asks the rendering under way. Outside of one there is none to ask.
fn ask<T>(question: impl FnOnce(&mut Scope) -> Result<T, TemplateError>) -> Result<T, TemplateError> {
    SCOPE.with_borrow_mut(|scope| match scope {
        Some(scope) => question(scope),
        None => Err(failed("nothing renders this template")),
    })
}

/// An error of a function.
pub(super) fn failed(message: impl Into<String>) -> TemplateError {
    TemplateError::Exec(message.into())
}

/// Begins the action at this place.
pub(super) fn begin(at: Arc<str>) -> Result<(), TemplateError> {
    ask(|scope| {
        scope.at = Some(at);
        Ok(())
    })?;
    step(1)
}

/// Takes steps.
pub(super) fn step(steps: u32) -> Result<(), TemplateError> {
    ask(|scope| {
        let left = scope.steps.checked_sub(steps);
        scope.steps = left.ok_or_else(|| failed(format!("it takes more than {STEPS} steps. Write fewer")))?;
        Ok(())
    })
}

/// Reads or writes so many bytes of text.
pub(super) fn spend(bytes: usize) -> Result<(), TemplateError> {
    ask(|scope| {
        let left = scope.bytes.checked_sub(bytes);
        scope.bytes = left.ok_or_else(|| {
            failed(format!("its functions work on more than {BYTES} bytes of text. Write less"))
        })?;
        Ok(())
    })
}

/// A label of the route.
pub(super) fn route_label(name: &str) -> Result<Value, TemplateError> {
    ask(|scope| scope.routes.get(name))
}

/// The wall clock of the rendering.
pub(super) fn now() -> Result<Timestamp, TemplateError> {
    ask(|scope| Ok(scope.now))
}

/// The function that makes the output of a template safe.
pub(super) fn escape(of_default: bool) -> Result<Escape, TemplateError> {
    ask(|scope| Ok(if of_default { scope.escape } else { scope.mentions }))
}

/// A regular expression of Go.
pub(super) fn pattern(pattern: &str) -> Result<Regex, TemplateError> {
    if let Some(known) = ask(|scope| Ok(scope.patterns.get(pattern).cloned()))? {
        return Ok(known);
    }
    step(COMPILE)?;
    let rust = go_pattern(pattern).map_err(|why| failed(format!("regular expression {pattern:?}: {why}")))?;
    let compiled = regex::RegexBuilder::new(&rust).size_limit(1024 * 1024).build();
    let compiled = compiled.map_err(|_| failed(format!("regular expression {pattern:?} is too large")))?;
    ask(|scope| {
        scope.patterns.insert(pattern.to_owned(), compiled.clone());
        Ok(())
    })?;
    Ok(compiled)
}
