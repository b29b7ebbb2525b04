//! A report as text for a terminal.

use std::fmt::{self, Write};

use super::SWALLOWED_AFTER;
use super::compare::{Comparison, Difference};
use super::report::{BacktestReport, BacktestSide, PageTally, SeverityFigures};
use crate::model::Duration;

/// Alertnames that the table shows.
const NAMES: usize = 20;

/// The longest bar, in characters.
const BAR: u64 = 40;

/// The longest name of a file in a table, in characters.
const FILE: usize = 30;

/// Writes `report` as tables, the verdict first. Hours are those of UTC.
///
/// # Errors
/// `out` failed.
pub fn render(out: &mut impl Write, report: &BacktestReport) -> fmt::Result {
    let history = &report.history;
    let (Some(from), Some(to)) = (history.from, history.to) else {
        return writeln!(out, "The history is empty.");
    };
    let sides = sides(report);
    for side in &sides {
        let name = if sides.len() > 1 { format!("{}: ", shown(&side.of.file)) } else { String::new() };
        writeln!(out, "{name}{}", side.of.verdict)?;
        writeln!(out, "{}", swallowed(side.of))?;
    }
    let observations = thousands(history.observations);
    writeln!(out, "\n{observations} observations from {from} to {to} ({})", length(to.since(from)))?;
    if history.out_of_order > 0 {
        let late = thousands(history.out_of_order);
        writeln!(out, "{late} events stood after later ones and were taken at the time of those")?;
    }
    totals(out, &sides)?;
    severities(out, &sides)?;
    alertnames(out, &sides)?;
    hours(out, &sides)?;
    match &report.against {
        Some(against) => difference(out, &sides, &against.difference),
        None => Ok(()),
    }
}

/// The result of a configuration in a sentence: pages, alerts of the highest level that people learn of
/// later, and alerts that join an incident.
pub fn verdict(side: &BacktestSide) -> String {
    let (before, after) = (side.alertmanager.pages.pages, side.squelch.pages.pages);
    let pages = match before {
        _ if before == after => format!("As many pages as today ({})", thousands(after)),
        0 => format!("{} pages, and none today", thousands(after)),
        _ => {
            let percent = (u128::from(before.abs_diff(after)) * 200 / u128::from(before)).div_ceil(2);
            let way = if after < before { "fewer" } else { "more" };
            let (before, after) = (thousands(before), thousands(after));
            format!("{percent} % {way} pages than today ({after} instead of {before})")
        }
    };
    let highest = side.squelch.pages.by_severity.first();
    let (later, never, level) =
        highest.map_or((0, 0, ""), |figures| (figures.later, figures.never, figures.severity.as_str()));
    let never = if never > 0 { format!(", {} never", thousands(never)) } else { String::new() };
    let joined = side.squelch.pages.joined();
    let noun = if joined == 1 { "alert" } else { "alerts" };
    format!(
        "{pages}. {} {} alerts come later{never}. {} {noun} joined an open incident.",
        thousands(later),
        shown(level),
        thousands(joined)
    )
}

/// How many alerts Alertmanager's groups swallow, and how many Squelch does, in a sentence. People learn of
/// them only after they stopped looking at the incident.
pub fn swallowed(side: &BacktestSide) -> String {
    let (before, after) = (side.alertmanager.pages.swallowed(), side.squelch.pages.swallowed());
    format!(
        "Alerts first listed in the update of an incident older than {SWALLOWED_AFTER}: {} today, {} with Squelch.",
        thousands(before),
        thousands(after)
    )
}

/// One configuration, and its names in the tables' rows and columns.
struct Named<'r> {
    of: &'r BacktestSide,
    alertmanager: String,
    squelch: String,
}

fn sides(report: &BacktestReport) -> Vec<Named<'_>> {
    let all = [Some(&report.trial), report.against.as_ref().map(|against| &against.side)];
    let named = |of| {
        let name = |what: &str| match report.against {
            Some(_) => format!("{what}, {}", file(of)),
            None => what.to_owned(),
        };
        Named { of, alertmanager: name("Alertmanager"), squelch: name("Squelch") }
    };
    all.into_iter().flatten().map(named).collect()
}

/// The end of a file's name says most.
fn file(side: &BacktestSide) -> String {
    let name = shown(&side.file);
    match name.chars().count().checked_sub(FILE) {
        None | Some(0) => name,
        Some(over) => format!("…{}", name.chars().skip(over + 1).collect::<String>()),
    }
}

fn totals(out: &mut impl Write, sides: &[Named<'_>]) -> fmt::Result {
    let row = |name: &str, tally: &PageTally| {
        let delays = [50, 90, 99].map(|p| tally.delay.quantile(p)).into_iter().chain([tally.delay.max()]);
        let delays = delays.map(|delay| delay.map_or("-".into(), length));
        [name.to_owned(), thousands(tally.pages)].into_iter().chain(delays).collect()
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    rows.extend(sides.first().map(|side| row("every firing", &side.of.every_firing)));
    for side in sides {
        rows.push(row(&side.alertmanager, &side.of.alertmanager.pages));
        rows.push(row(&side.squelch, &side.of.squelch.pages));
    }
    table(out, 1, &["", "pages", "delay p50", "p90", "p99", "max"], &rows)?;
    for side in sides {
        let (grouped, sent) = (&side.of.alertmanager, &side.of.squelch);
        let counts = [grouped.updates, grouped.repeats, grouped.resolves].map(thousands);
        let [updates, repeats, resolves] = counts;
        writeln!(out, "\n{}: {}", side.squelch, change(side.of))?;
        writeln!(
            out,
            "  {} also sends {updates} updates, {repeats} repeats, {resolves} resolves, which interrupt nobody",
            side.alertmanager
        )?;
        let [updates, resolves, digests] = [sent.updates, sent.resolves, sent.digests].map(thousands);
        writeln!(
            out,
            "  {} also sends {updates} updates, {resolves} resolves, {digests} digests, which interrupt nobody",
            side.squelch
        )?;
        let disposed: Vec<String> =
            sent.disposed.iter().map(|(what, count)| format!("{what} {}", thousands(*count))).collect();
        let pending = thousands(sent.pending);
        writeln!(out, "  observations by disposition: {}, pending {pending}", disposed.join(", "))?;
    }
    Ok(())
}

fn change(side: &BacktestSide) -> String {
    let pages = side.squelch.pages.pages;
    let less = |before: u64| match before {
        0 => "as many as before, none".to_owned(),
        before => {
            let per_mille = i128::from(pages) * 1000 / i128::from(before) - 1000;
            let sign = match per_mille {
                0 => '±',
                more if more > 0 => '+',
                _ => '-',
            };
            format!("{sign}{}.{} %", per_mille.abs() / 10, per_mille.abs() % 10)
        }
    };
    let (firing, grouped) = (side.every_firing.pages, side.alertmanager.pages.pages);
    format!("{} pages against every firing, {} against Alertmanager", less(firing), less(grouped))
}

/// How people first learn of the firings of each level.
fn severities(out: &mut impl Write, sides: &[Named<'_>]) -> fmt::Result {
    let row = |name: &str, figures: &SeverityFigures, later: String| {
        let f = figures;
        let counts =
            [f.firings, f.pages, f.paged, f.joined, f.swallowed, f.open, f.not_notified].map(thousands);
        let delays = [50, 99].map(|p| f.delay.quantile(p).map_or("-".into(), length));
        let mut row = vec![shown(&f.severity), name.to_owned()];
        row.extend(counts.into_iter().chain(delays).chain([later]));
        row
    };
    let mut rows = Vec::new();
    for side in sides {
        let (before, after) = (&side.of.alertmanager.pages, &side.of.squelch.pages);
        let levels = before.by_severity.iter().zip(&after.by_severity);
        for (before, after) in levels.filter(|(before, after)| before.occurs() || after.occurs()) {
            let later = match after.never {
                0 => thousands(after.later),
                never => format!("{} + {} never", thousands(after.later), thousands(never)),
            };
            rows.push(row(&side.alertmanager, before, "-".into()));
            rows.push(row(&side.squelch, after, later));
        }
    }
    let head = ["severity", "", "firings", "pages", "paged", "joined", "swallowed", "open", "not notified"];
    table(out, 2, &[&head[..], &["delay p50", "p99", "later than today"]].concat(), &rows)?;
    writeln!(
        out,
        "  paged: first listed in a page\n  joined: first listed in the update of an incident of at most \
         {SWALLOWED_AFTER}\n  swallowed: first listed in the update of an older incident\n  open: the alert \
         fires again while an open incident lists it"
    )?;
    match sides.iter().any(|side| side.of.truncated) {
        true => writeln!(out, "there are more firings than can be judged: choose a shorter history"),
        false => Ok(()),
    }
}

fn alertnames(out: &mut impl Write, sides: &[Named<'_>]) -> fmt::Result {
    let (heads, columns) = columns(sides);
    let mut names: Vec<&str> = PageTally::alertnames(columns.iter().copied()).into_iter().collect();
    names.sort_by_key(|name| std::cmp::Reverse([2, 0].map(|column: usize| columns[column].of(name))));
    let row = |name: &&str| {
        let counts = columns.iter().map(|tally| thousands(tally.of(name)));
        [shown(name)].into_iter().chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = names.iter().take(NAMES).map(row).collect();
    let head: Vec<&str> = ["pages by alertname"].into_iter().chain(heads).collect();
    table(out, 1, &head, &rows)?;
    if names.len() > NAMES {
        writeln!(out, "and {} more (-o json has them all)", names.len() - NAMES)?;
    }
    Ok(())
}

/// The columns of a table by name or hour, with their heads: every firing first.
fn columns<'r>(sides: &'r [Named<'_>]) -> (Vec<&'r str>, Vec<&'r PageTally>) {
    let firings = sides.first().map(|side| ("firings", &side.of.every_firing));
    let both = sides.iter().flat_map(|side| {
        [
            (side.alertmanager.as_str(), &side.of.alertmanager.pages),
            (side.squelch.as_str(), &side.of.squelch.pages),
        ]
    });
    firings.into_iter().chain(both).unzip()
}

fn hours(out: &mut impl Write, sides: &[Named<'_>]) -> fmt::Result {
    let (heads, columns) = columns(sides);
    let Some(squelch) = sides.first().map(|side| &side.of.squelch.pages.by_hour) else { return Ok(()) };
    let most = squelch.iter().copied().max().unwrap_or(0).max(1);
    let rows: Vec<Vec<String>> = (0..24)
        .map(|hour| {
            let counts = columns.iter().map(|tally| thousands(tally.by_hour[hour]));
            let bar = "█".repeat((squelch[hour] * BAR).div_ceil(most) as usize);
            [format!("{hour:02}:00")].into_iter().chain(counts).chain([format!(" {bar}")]).collect()
        })
        .collect();
    let head: Vec<&str> = ["hour (UTC)"].into_iter().chain(heads).collect();
    table(out, 1, &head, &rows)
}

fn difference(out: &mut impl Write, sides: &[Named<'_>], found: &Comparison) -> fmt::Result {
    let [new, old] = sides else { return Ok(()) };
    let (new, old) = (file(new.of), file(old.of));
    writeln!(out, "\n{new} against {old}: {} pages are the same", thousands(found.same))?;
    let rows: [(&Difference, String, String); 4] = [
        (&found.gained, format!("gained: {old} does not page them"), format!("{old} notifies at")),
        (&found.lost, format!("lost: only {old} notifies of them"), String::new()),
        (&found.quiet, format!("listed in an open incident of {new}"), "listed at".into()),
        (&found.later, format!("later in {new}"), "at".into()),
    ];
    for (difference, what, other) in rows {
        writeln!(out, "{:>8} {what}", thousands(difference.pages))?;
        for example in &difference.first {
            let told = example.other.map(|at| format!(" ({other} {at})")).unwrap_or_default();
            writeln!(out, "         {} {}{told}", example.at, shown(&example.alert))?;
        }
        let rest = difference.pages.saturating_sub(difference.first.len() as u64);
        if rest > 0 {
            writeln!(out, "         and {} more", thousands(rest))?;
        }
    }
    if found.truncated {
        writeln!(out, "there was more than can be compared: choose a shorter history")?;
    }
    Ok(())
}

/// A table after an empty line. The first `left` columns and all beyond `head` stand at the left.
fn table(out: &mut impl Write, left: usize, head: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    writeln!(out)?;
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = widths.get(column).map_or(0, |width| width - cell.chars().count());
            let space = " ".repeat(pad);
            let gap = if column == 0 { "" } else { "  " };
            match column < left || column >= widths.len() {
                true => line.push_str(&[gap, cell, &space].concat()),
                false => line.push_str(&[gap, &space, cell].concat()),
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Text from a history, safe for a terminal: control characters are left out.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// A length of time, cut to the digits that matter at its size.
pub fn length(duration: Duration) -> String {
    let ms = duration.as_millis();
    let unit = match ms {
        0..10_000 => 1,
        10_000..600_000 => 1_000,
        600_000..172_800_000 => 60_000,
        _ => 3_600_000,
    };
    Duration::from_millis(ms / unit * unit).to_string()
}

/// A number with a comma before each three digits.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        let lengths = [0, 9_999, 61_500, 5_400_001, 864_001_000].map(|ms| length(Duration::from_millis(ms)));
        assert_eq!(lengths, ["0s", "9s999ms", "1m1s", "1h30m", "10d"]);
        assert_eq!(shown("a\u{1b}[31mb\n"), "a[31mb");
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let mut text = String::new();
        table(&mut text, 1, &["", "pages"], &[row(["é", "1", "█"]), row(["long", "123,456", ""])]).unwrap();
        assert_eq!(text, "\n        pages\né           1  █\nlong  123,456\n");
    }
}
