//! The functions that templates call: Alertmanager's, three of Squelch, and those that the rewriting
//! inserts.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use gotmpl::{FuncMap, SafeKind, TemplateError, Value};

use super::methods::{call, duration, get, joined, kind_of, string, unknown_zone};
use super::scope::{self, failed, spend, step};
use super::time::{GoDuration, GoTime, humanize, zone};
use super::value::{PLACE, Struct, as_set, list, shown, text};
use super::{json, layout};

type Answer = Result<Value, TemplateError>;
type Function = fn(&[Value]) -> Answer;

/// The functions that a template may name, with the least and the most arguments of each.
const NAMED: [(&str, usize, usize, Function); 29] = [
    ("toUpper", 1, 1, |args| changed(args, str::to_uppercase)),
    ("toLower", 1, 1, |args| changed(args, str::to_lowercase)),
    ("title", 1, 1, |args| changed(args, title)),
    ("trimSpace", 1, 1, |args| changed(args, |text| text.trim().to_owned())),
    ("join", 2, 2, join),
    ("match", 2, 2, |args| Ok(Value::Bool(scope::pattern(string(args, 0)?)?.is_match(string(args, 1)?)))),
    ("safeHtml", 1, 1, |args| safe(SafeKind::Html, args)),
    ("safeUrl", 1, 1, |args| safe(SafeKind::Url, args)),
    ("urlUnescape", 1, 1, url_unescape),
    ("reReplaceAll", 3, 3, replace_all),
    ("stringSlice", 0, MANY, texts),
    ("routeLabels", 1, 1, |args| scope::route_label(string(args, 0)?)),
    ("date", 2, 2, |args| Ok(text(layout::format(&time(args, 1)?.0, string(args, 0)?)))),
    ("tz", 2, 2, tz),
    ("now", 0, 0, |_| Ok(GoTime::utc(scope::now()?).value())),
    ("since", 1, 1, |args| Ok(GoTime::utc(scope::now()?).since(&time(args, 0)?).value())),
    ("humanizeDuration", 1, 1, humanize_duration),
    ("toDate", 2, 2, |args| {
        Ok(to_date(args).unwrap_or_else(|_| GoTime::utc(crate::model::Timestamp::ZERO).value()))
    }),
    ("mustToDate", 2, 2, to_date),
    ("toJson", 1, 1, |args| json::of(&args[0]).map(text)),
    ("base64encode", 1, 1, |args| Ok(text(URL_SAFE.encode(string(args, 0)?)))),
    ("base64decode", 1, 1, base64_decode),
    ("list", 0, MANY, |args| Ok(list(args.iter().cloned()))),
    ("append", 1, MANY, append),
    ("dict", 0, MANY, dict),
    ("index", 1, MANY, index),
    ("httpUrl", 1, 1, http_url),
    ("first", 2, 2, first),
    ("more", 2, 3, more),
];
/// A function that takes any number of arguments.
const MANY: usize = usize::MAX;

/// The functions that only the rewriting names.
const INNER: [(&str, Function); 10] = [
    ("__at", |args| match args {
        [Value::String(at)] => scope::begin(Arc::clone(at)).map(|()| Value::Nil),
        _ => Err(failed("no place")),
    }),
    ("__get", get),
    ("__call", call),
    ("__range", range),
    ("__show", show),
    ("__format", format),
    ("__number", number),
    ("__text", |args| printed(args, false)),
    ("__safe", |args| printed(args, true)),
    ("__url", |args| safe(SafeKind::Url, args)),
];

/// The functions that the renderer has itself.
const BUILT_IN: [&str; 18] = [
    "and", "call", "eq", "ge", "gt", "html", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// Every function, for a renderer.
pub(super) fn all() -> FuncMap {
    let named = NAMED.into_iter().map(|(name, least, most, function)| {
        let checked = move |args: &[Value]| {
            step(1)?;
            match (least..=most).contains(&args.len()) {
                true => function(args).map_err(|error| failed(format!("{name}: {}", said(&error)))),
                false => Err(arguments(name, least, most, args.len())),
            }
        };
        (name.to_owned(), Arc::new(checked) as gotmpl::ValueFunc)
    });
    let inner =
        INNER.into_iter().map(|(name, function)| (name.to_owned(), Arc::new(function) as gotmpl::ValueFunc));
    named
        .chain(inner)
        .chain([("__nil".to_owned(), Arc::new(|_: &[Value]| Ok(Value::Nil)) as gotmpl::ValueFunc)])
        .collect()
}

/// The names of the functions that a template may name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMED.into_iter().map(|(name, ..)| name).chain(BUILT_IN)
}

/// The text of an error, without the renderer's own words before it.
pub(super) fn said(error: &TemplateError) -> String {
    match error {
        TemplateError::Exec(said) => said.clone(),
        TemplateError::RecursionLimit => {
            "its templates call each other more than 200 deep. Write fewer levels".into()
        }
        TemplateError::Escape { description, .. } => match description.strip_prefix("no such template ") {
            Some(name) => format!("there is no template {name}. Define it in a file that templates: names"),
            None => description.clone(),
        },
        TemplateError::RangeIterLimit => "its loops take too many turns. Write fewer".into(),
        other => other.to_string(),
    }
}

fn arguments(name: &str, least: usize, most: usize, got: usize) -> TemplateError {
    let right = match most {
        _ if least == most => least.to_string(),
        MANY => format!("at least {least}"),
        _ => format!("{least} to {most}"),
    };
    failed(format!("{name} takes {right} arguments, and has {got}"))
}

fn changed(args: &[Value], change: impl Fn(&str) -> String) -> Answer {
    let changed = change(string(args, 0)?);
    spend(changed.len())?;
    Ok(text(changed))
}

/// Each word with its first letter in upper case and the others in lower case.
fn title(text: &str) -> String {
    let (mut out, mut in_word) = (String::with_capacity(text.len()), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let letter = c.is_alphanumeric() || c == '_';
        let joins =
            in_word && matches!(c, '\'' | '’' | '.' | ':') && rest.peek().is_some_and(|c| c.is_alphabetic());
        if letter && in_word {
            out.extend(c.to_lowercase());
        } else if letter {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        in_word = letter || joins;
    }
    out
}

fn join(args: &[Value]) -> Answer {
    match &args[1] {
        Value::List(items) => joined(items, string(args, 0)?).map(text),
        Value::Nil => Ok(text("")),
        other => Err(failed(format!("a list of texts is expected, and this is a {}", kind_of(other)))),
    }
}

fn safe(kind: SafeKind, args: &[Value]) -> Answer {
    Ok(Value::Safe { kind, s: Arc::from(string(args, 0)?) })
}

fn url_unescape(args: &[Value]) -> Answer {
    let escaped = string(args, 0)?;
    let (mut bytes, mut rest) = (Vec::with_capacity(escaped.len()), escaped.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|d| d.and_then(|d| char::from(d).to_digit(16)));
                let [Some(high), Some(low)] = digits else {
                    return Err(failed(format!(
                        "{escaped:?} holds a % without two hexadecimal digits behind it"
                    )));
                };
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
            }
            byte => bytes.push(byte),
        }
    }
    Ok(text(String::from_utf8_lossy(&bytes)))
}

fn replace_all(args: &[Value]) -> Answer {
    let (pattern, by, all) = (scope::pattern(string(args, 0)?)?, string(args, 1)?, string(args, 2)?);
    // Each match writes the replacement. It may write the matched text as often as the replacement names a
    // group.
    let matches = pattern.find_iter(all).count();
    let groups = by.matches('$').count();
    spend(matches.saturating_mul(by.len()).saturating_add(all.len().saturating_mul(1 + groups)))?;
    Ok(text(pattern.replace_all(all, by)))
}

fn texts(args: &[Value]) -> Answer {
    for at in 0..args.len() {
        string(args, at)?;
    }
    Ok(list(args.iter().cloned()))
}

fn time(args: &[Value], at: usize) -> Result<GoTime, TemplateError> {
    let value = args.get(at).unwrap_or(&Value::Nil);
    GoTime::of(value).ok_or_else(|| {
        failed(format!("a time is expected, such as .StartsAt, and this is a {}", kind_of(value)))
    })
}

fn tz(args: &[Value]) -> Answer {
    let name = string(args, 0)?;
    let zone = zone(name).filter(|_| name.parse::<i32>().is_err()).ok_or_else(|| unknown_zone(name))?;
    Ok(time(args, 1)?.within(zone).value())
}

fn humanize_duration(args: &[Value]) -> Answer {
    let seconds = match &args[0] {
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::Float(number) => *number,
        Value::String(number) => {
            let parsed = number.trim().parse();
            parsed.map_err(|_| failed(format!("{number:?} is no number of seconds")))?
        }
        other => duration(other)?.0.as_secs_f64(),
    };
    Ok(text(humanize(seconds)))
}

fn to_date(args: &[Value]) -> Answer {
    layout::parse(string(args, 0)?, string(args, 1)?).map(|at| GoTime(at).value()).map_err(failed)
}

fn base64_decode(args: &[Value]) -> Answer {
    let bytes = URL_SAFE.decode(string(args, 0)?);
    let bytes = bytes.map_err(|_| failed("the text is not base64 in the URL-safe alphabet"))?;
    Ok(text(String::from_utf8_lossy(&bytes)))
}

fn append(args: &[Value]) -> Answer {
    let Value::List(items) = &args[0] else { return Err(failed("append takes a list first")) };
    spend((items.len() + args.len()) * 16)?;
    Ok(list(items.iter().chain(&args[1..]).cloned()))
}

fn dict(args: &[Value]) -> Answer {
    if !args.len().is_multiple_of(2) {
        return Err(failed("dict takes keys and values in turn, and a value is missing"));
    }
    let pair = |at: usize| Ok((Arc::from(string(args, at)?), args[at + 1].clone()));
    let pairs: Result<_, TemplateError> = (0..args.len()).step_by(2).map(pair).collect();
    Ok(Value::Map(Arc::new(pairs?)))
}

/// A label that is not there is empty, as with `missingkey=zero`.
fn index(args: &[Value]) -> Answer {
    args[1..].iter().try_fold(args[0].clone(), |value, at| {
        if Struct::of(&value).is_some() {
            return Err(failed(format!("cannot index {}. Write .Name", kind_of(&value))));
        }
        match value.index(at)? {
            Value::Nil if as_set(&value).is_some() => Ok(text("")),
            found => Ok(found),
        }
    })
}

/// The URL if a browser opens it without running anything, else nothing.
fn http_url(args: &[Value]) -> Answer {
    Ok(match super::http_url(string(args, 0)?) {
        Some(url) => Value::Safe { kind: SafeKind::Url, s: Arc::from(url.as_str()) },
        None => text(""),
    })
}

fn many(args: &[Value]) -> Result<(usize, &[Value]), TemplateError> {
    match args {
        [Value::Int(most), Value::List(items), ..] => Ok((usize::try_from(*most).unwrap_or(0), items)),
        _ => Err(failed("a number and a list are expected")),
    }
}

/// So many items from the beginning of a list. Of a list of alerts these are the worst, so that no alert
/// hides behind others that matter less.
fn first(args: &[Value]) -> Answer {
    let (most, items) = many(args)?;
    let place = |item: &&Value| item.field(PLACE).and_then(|place| place.as_int());
    let mut items: Vec<&Value> = items.iter().collect();
    // Other items have no place, and keep their order.
    items.sort_by_key(place);
    Ok(list(items.into_iter().take(most).cloned()))
}

/// How many items of a list `first` leaves out, and so many more.
fn more(args: &[Value]) -> Answer {
    let (most, items) = many(args)?;
    let others = args.get(2).and_then(Value::as_int).unwrap_or(0);
    Ok(Value::Int(i64::try_from(items.len().saturating_sub(most)).unwrap_or(i64::MAX).saturating_add(others)))
}

/// A loop goes over lists, label sets and numbers.
fn range(args: &[Value]) -> Answer {
    step(1)?;
    let value = args.first().unwrap_or(&Value::Nil);
    match Struct::of(value) {
        Some(_) => Err(failed(format!("range cannot go over a {}", kind_of(value)))),
        None => Ok(value.clone()),
    }
}

/// A value as an argument of `print` and the like: Go writes structs, label sets and times by their methods.
fn show(args: &[Value]) -> Answer {
    step(1)?;
    let value = args.first().unwrap_or(&Value::Nil);
    let shown = match value {
        Value::Float(_) => value.clone(),
        _ => shown(value).map_or_else(|| value.clone(), text),
    };
    spend(shown.len().unwrap_or(8))?;
    Ok(shown)
}

/// The format of a `printf`, whose widths may write many bytes.
fn format(args: &[Value]) -> Answer {
    let format = string(args, 0)?;
    let (mut bytes, mut width) = (0_usize, 0_usize);
    let mut in_verb = false;
    for c in format.chars() {
        match c {
            '%' => in_verb = !in_verb,
            '*' if in_verb => width += 65_535,
            c if in_verb && c.is_ascii_digit() => {
                width = (width * 10 + c.to_digit(10).unwrap_or(0) as usize).min(65_535);
            }
            c if c.is_alphabetic() => {
                bytes = bytes.saturating_add(std::mem::take(&mut width));
                in_verb = false;
            }
            '.' => bytes = bytes.saturating_add(std::mem::take(&mut width)),
            _ => {}
        }
    }
    spend(bytes)?;
    Ok(text(format))
}

/// A value for a comparison: Go compares durations as numbers.
fn number(args: &[Value]) -> Answer {
    let value = args.first().unwrap_or(&Value::Nil);
    Ok(match GoDuration::of(value) {
        Some(duration) => Value::Int(duration.nanos()),
        None if Struct::of(value) == Some(Struct::Time) => text(shown(value).unwrap_or_default()),
        None => value.clone(),
    })
}

/// The output of an action.
fn printed(args: &[Value], of_default: bool) -> Answer {
    let value = args.first().unwrap_or(&Value::Nil);
    let escape = scope::escape(of_default)?;
    match value {
        Value::Safe { .. } => Ok(value.clone()),
        Value::Nil => Ok(text("<no value>")),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) => Ok(value.clone()),
        Value::String(text) => Ok(self::text(escape(text))),
        other => Ok(text(escape(&shown(other).unwrap_or_else(|| other.to_string())))),
    }
}
