//! The fields and methods of Go's values. [`super::rewrite`] turns `.A.B` and `.A.B x` into calls of these.

use gotmpl::{TemplateError, Value};
use jiff::SignedDuration;

use super::scope::{failed, spend, step};
use super::time::{GoDuration, GoTime, local, zone};
use super::value::{Struct, as_set, list, record, set, shown, sorted, text};
use super::{layout, names};

type Answer = Result<Value, TemplateError>;

/// `__get VALUE "A" "B"`: a chain of fields and methods without arguments.
pub(super) fn get(args: &[Value]) -> Answer {
    let (value, chain) = args.split_first().ok_or_else(|| failed("nothing to take a field of"))?;
    chain.iter().try_fold(value.clone(), |value, name| member(&value, name.as_str().unwrap_or_default(), &[]))
}

/// `__call VALUE "Method" ARGUMENTS`
pub(super) fn call(args: &[Value]) -> Answer {
    let [value, name, args @ ..] = args else { return Err(failed("nothing to call")) };
    member(value, name.as_str().unwrap_or_default(), args)
}

/// The field or method `name` of a value.
fn member(value: &Value, name: &str, args: &[Value]) -> Answer {
    step(1)?;
    if let Some(found) = method(value, name, args) {
        return found;
    }
    if !args.is_empty() {
        return Err(failed(format!(".{name} is no method, and takes no argument. Remove the argument")));
    }
    match value {
        Value::Nil => Ok(Value::Nil),
        Value::Map(map) => match (map.get(name), Struct::of(value)) {
            (Some(found), _) => Ok(found.clone()),
            (None, Some(kind)) => Err(failed(names::missing(kind.shown(), name, names::of_struct(kind)))),
            (None, None) if as_set(value).is_some() => Ok(text("")),
            (None, None) => Ok(Value::Nil),
        },
        Value::List(_) => Err(failed(names::missing("a list", name, names::LISTS))),
        Value::Function(_) => Err(failed(format!("a function has no .{name}"))),
        _ => Err(failed(format!("a {} has no .{name}. Remove .{name}", kind_of(value)))),
    }
}

/// The name of a value's type in errors.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "missing value",
        Value::Bool(_) => "boolean",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::String(_) | Value::Safe { .. } => "text",
        Value::List(_) => "list",
        Value::Function(_) => "function",
        Value::Map(_) => match Struct::of(value) {
            Some(kind) => kind.shown().trim_start_matches("an ").trim_start_matches("a "),
            None => "label set",
        },
    }
}

fn method(value: &Value, name: &str, args: &[Value]) -> Option<Answer> {
    if let Some(time) = GoTime::of(value) {
        return of_time(&time, name, args);
    }
    if let Some(duration) = GoDuration::of(value) {
        return of_duration(duration, name, args);
    }
    match value {
        Value::List(items) => of_list(items, name, args),
        Value::Map(_) => of_set(value, name, args),
        _ => None,
    }
}

fn of_list(items: &[Value], name: &str, args: &[Value]) -> Option<Answer> {
    let with_status = |status: &str| {
        let of = |alert: &&Value| alert.field("Status").and_then(Value::as_str) == Some(status);
        Ok(list(items.iter().filter(of).cloned()))
    };
    let parts = |part: &str| Ok(list(items.iter().filter_map(|pair| pair.field(part).cloned())));
    let of = |kind| items.iter().all(|item| Struct::of(item) == Some(kind));
    let texts = items.iter().all(|item| matches!(item, Value::String(_)));
    let answer = match name {
        "Firing" if of(Struct::Alert) => with_status("firing"),
        "Resolved" if of(Struct::Alert) => with_status("resolved"),
        "Names" if of(Struct::Pair) => parts("Name"),
        "Values" if of(Struct::Pair) => parts("Value"),
        "Join" if texts => {
            return Some(string(args, 0).and_then(|by| joined(items, by)).map(text));
        }
        "String" => Ok(text(shown(&list(items.iter().cloned())).unwrap_or_default())),
        _ => return None,
    };
    Some(none(name, args).and(answer))
}

/// The texts of a list with `by` between them.
pub(super) fn joined(items: &[Value], by: &str) -> Result<String, TemplateError> {
    let mut out = String::new();
    for (i, item) in items.iter().enumerate() {
        let part = item.to_string();
        spend(by.len() + part.len())?;
        if i > 0 {
            out.push_str(by);
        }
        out.push_str(&part);
    }
    Ok(out)
}

fn of_set(value: &Value, name: &str, args: &[Value]) -> Option<Answer> {
    let labels = as_set(value)?;
    let of = |part: fn((&str, &Value)) -> Value| Ok(list(sorted(labels).map(part)));
    let answer = match name {
        "SortedPairs" => {
            of(|(name, value)| record(Struct::Pair, [("Name", text(name)), ("Value", value.clone())]))
        }
        "Names" => of(|(name, _)| text(name)),
        "Values" => of(|(_, value)| value.clone()),
        "String" => Ok(text(shown(value).unwrap_or_default())),
        "Remove" => {
            let Some(Value::List(gone)) = args.first() else {
                let right = "Remove takes a list of names, such as .GroupLabels.Names";
                return Some(Err(failed(right)));
            };
            let gone = |name: &str| gone.iter().any(|one| one.as_str() == Some(name));
            let left = labels.iter().filter(|(name, _)| !gone(name));
            return Some(Ok(set(left.map(|(name, value)| (&**name, value.as_str().unwrap_or_default())))));
        }
        _ => return None,
    };
    Some(none(name, args).and(answer))
}

fn of_time(time: &GoTime, name: &str, args: &[Value]) -> Option<Answer> {
    let at = &time.0;
    let other = || {
        argument(args, 0).and_then(|other| {
            GoTime::of(other).ok_or_else(|| failed(format!("{name} takes a time, such as .StartsAt")))
        })
    };
    let distance = || argument(args, 0).and_then(duration);
    let int = |number: i64| Ok(Value::Int(number));
    let moved = |by: SignedDuration| {
        let moved = at.checked_add(by).map_err(|_| failed("the time is out of range"));
        moved.map(|at| GoTime(at).value())
    };
    let answer = match name {
        "Format" => {
            let layout = string(args, 0);
            return Some(layout.map(|layout| text(layout::format(at, layout))));
        }
        "Sub" => return Some(other().map(|earlier| time.since(&earlier).value())),
        "Equal" => return Some(other().map(|other| Value::Bool(at.timestamp() == other.0.timestamp()))),
        "Before" => return Some(other().map(|other| Value::Bool(at.timestamp() < other.0.timestamp()))),
        "After" => return Some(other().map(|other| Value::Bool(at.timestamp() > other.0.timestamp()))),
        "Add" => return Some(distance().and_then(|by| moved(by.0))),
        "Truncate" | "Round" => {
            return Some(distance().and_then(|unit| {
                let unit = i128::from(unit.nanos());
                if unit <= 0 {
                    return Ok(time.value());
                }
                // Go counts from its zero time.
                let zero = i128::from(crate::model::Timestamp::ZERO.as_millis()) * 1_000_000;
                let over = (at.timestamp().as_nanosecond() - zero).rem_euclid(unit);
                let up = name == "Round" && over + over >= unit;
                let by = if up { unit - over } else { -over };
                moved(SignedDuration::from_nanos(i64::try_from(by).unwrap_or(0)))
            }));
        }
        "AddDate" => {
            let part = |i| argument(args, i).and_then(whole);
            let moved = |years, months, days| {
                let span = jiff::Span::new().try_years(years)?.try_months(months)?.try_days(days)?;
                at.checked_add(span)
            };
            let by = part(0).and_then(|years| Ok((years, part(1)?, part(2)?)));
            return Some(by.and_then(|(years, months, days)| {
                let moved = moved(years, months, days);
                moved.map(|at| GoTime(at).value()).map_err(|_| failed("the time is out of range"))
            }));
        }
        "In" => {
            // Go takes a *time.Location here, which only the function tz makes.
            let zone = string(args, 0).and_then(|name| zone(name).ok_or_else(|| unknown_zone(name)));
            return Some(zone.map(|zone| time.within(zone).value()));
        }
        "UTC" => Ok(time.within(jiff::tz::TimeZone::UTC).value()),
        "Local" => Ok(time.within(local()).value()),
        "Unix" => int(at.timestamp().as_second()),
        "UnixMilli" => int(at.timestamp().as_millisecond()),
        "UnixMicro" => int(at.timestamp().as_microsecond()),
        "UnixNano" => int(i64::try_from(at.timestamp().as_nanosecond()).unwrap_or_default()),
        "Year" => int(at.year().into()),
        "Month" => Ok(text(layout::format(at, "January"))),
        "Day" => int(at.day().into()),
        "YearDay" => int(at.day_of_year().into()),
        "Weekday" => Ok(text(layout::format(at, "Monday"))),
        "Hour" => int(at.hour().into()),
        "Minute" => int(at.minute().into()),
        "Second" => int(at.second().into()),
        "Nanosecond" => int(at.subsec_nanosecond().into()),
        "IsZero" => Ok(Value::Bool(time.is_zero())),
        "String" => Ok(text(time.to_string())),
        _ => return None,
    };
    Some(none(name, args).and(answer))
}

/// Of a zone that there is none of.
pub(super) fn unknown_zone(name: &str) -> TemplateError {
    failed(format!("unknown time zone {name:?}. Write one such as Europe/Berlin"))
}

fn of_duration(duration: GoDuration, name: &str, args: &[Value]) -> Option<Answer> {
    let nanos = duration.nanos();
    let answer = match name {
        "Hours" => Ok(Value::Float(duration.0.as_secs_f64() / 3600.0)),
        "Minutes" => Ok(Value::Float(duration.0.as_secs_f64() / 60.0)),
        "Seconds" => Ok(Value::Float(duration.0.as_secs_f64())),
        "Milliseconds" => Ok(Value::Int(nanos / 1_000_000)),
        "Microseconds" => Ok(Value::Int(nanos / 1_000)),
        "Nanoseconds" => Ok(Value::Int(nanos)),
        "Abs" => Ok(GoDuration(duration.0.abs()).value()),
        "String" => Ok(text(duration.to_string())),
        "Round" | "Truncate" => {
            return Some(argument(args, 0).and_then(self::duration).map(|unit| {
                let unit = unit.nanos();
                if unit <= 0 {
                    return duration.value();
                }
                let over = nanos % unit;
                let up = name == "Round" && over.abs() >= unit - over.abs();
                let rounded = nanos - over + if up { unit * over.signum() } else { 0 };
                GoDuration(SignedDuration::from_nanos(rounded)).value()
            }));
        }
        _ => return None,
    };
    Some(none(name, args).and(answer))
}

/// A duration of Go, or a number of nanoseconds.
pub(super) fn duration(value: &Value) -> Result<GoDuration, TemplateError> {
    match (GoDuration::of(value), value) {
        (Some(duration), _) => Ok(duration),
        (None, Value::Int(_) | Value::Float(_)) => {
            whole(value).map(|nanos| GoDuration(SignedDuration::from_nanos(nanos)))
        }
        _ => Err(failed(format!("a duration is expected, and this is a {}", kind_of(value)))),
    }
}

/// A whole number. As in Go, `28800e9` is one too.
fn whole(value: &Value) -> Result<i64, TemplateError> {
    /// 2^63
    const END: f64 = 9_223_372_036_854_775_808.0;
    match value {
        Value::Int(number) => Ok(*number),
        Value::Float(number) if number.fract() == 0.0 && (-END..END).contains(number) => Ok(*number as i64),
        Value::Float(number) => Err(failed(format!("a whole number is expected, and this is {number}"))),
        other => Err(failed(format!("a whole number is expected, and this is a {}", kind_of(other)))),
    }
}

fn argument(args: &[Value], at: usize) -> Result<&Value, TemplateError> {
    args.get(at).ok_or_else(|| failed("an argument is missing"))
}

/// The argument at this place, which is a text.
pub(super) fn string(args: &[Value], at: usize) -> Result<&str, TemplateError> {
    match argument(args, at)? {
        Value::String(text) | Value::Safe { s: text, .. } => {
            spend(text.len())?;
            Ok(text)
        }
        other => Err(failed(format!("a text is expected, and this is a {}", kind_of(other)))),
    }
}

fn none(name: &str, args: &[Value]) -> Result<(), TemplateError> {
    match args.is_empty() {
        true => Ok(()),
        false => Err(failed(format!("{name} takes no argument"))),
    }
}
