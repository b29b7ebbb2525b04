//! A report as text for a terminal.

use std::fmt::{self, Write};

use super::compare::{Comparison, Difference};
use super::report::{Notifications, Report, Tally};
use crate::model::Duration;

/// Alertnames that the table shows.
const NAMES: usize = 20;

/// The longest bar, in characters.
const BAR: u64 = 40;

/// Writes `report` as tables. Hours are those of UTC.
///
/// # Errors
/// `out` failed.
pub fn render(out: &mut impl Write, report: &Report) -> fmt::Result {
    let history = &report.history;
    let (Some(from), Some(to)) = (history.from, history.to) else {
        return writeln!(out, "The history is empty.");
    };
    let observations = thousands(history.observations);
    writeln!(out, "{observations} observations from {from} to {to} ({})", length(to.since(from)))?;
    if history.out_of_order > 0 {
        let late = thousands(history.out_of_order);
        writeln!(out, "{late} events stood after later ones and were taken at the time of those")?;
    }
    totals(out, report)?;
    alertnames(out, report)?;
    hours(out, report)?;
    match &report.against {
        Some(against) => difference(out, &against.difference),
        None => Ok(()),
    }
}

fn totals(out: &mut impl Write, report: &Report) -> fmt::Result {
    let heads = ["pages", "delay p50", "p90", "p99", "max"];
    write!(out, "\n{:<32}", "")?;
    heads.iter().try_for_each(|head| write!(out, "{head:>12}"))?;
    writeln!(out)?;
    total(out, "every firing", &report.every_firing)?;
    total(out, "Alertmanager, same group_by", &report.alertmanager)?;
    let mut rows = vec![("Squelch", &report.squelch)];
    rows.extend(report.against.as_ref().map(|a| ("Squelch, the other file", &a.squelch)));
    for (name, sent) in &rows {
        total(out, name, &sent.pages)?;
    }
    for (name, sent) in rows {
        writeln!(out, "\n{name}: {}", change(sent.pages.pages, report))?;
        quietly(out, sent)?;
    }
    Ok(())
}

fn total(out: &mut impl Write, name: &str, tally: &Tally) -> fmt::Result {
    write!(out, "{name:<32}{:>12}", thousands(tally.pages))?;
    for delay in [50, 90, 99].map(|p| tally.delay.quantile(p)).into_iter().chain([tally.delay.max()]) {
        write!(out, "{:>12}", delay.map_or("-".into(), length))?;
    }
    writeln!(out)
}

fn change(pages: u64, report: &Report) -> String {
    let less = |before: u64| match before {
        0 => "as many as before, none".to_owned(),
        before => {
            let per_mille = pages as i128 * 1000 / before as i128 - 1000;
            let sign = match per_mille {
                0 => '±',
                more if more > 0 => '+',
                _ => '-',
            };
            format!("{sign}{}.{} %", per_mille.abs() / 10, per_mille.abs() % 10)
        }
    };
    let (firing, grouped) = (report.every_firing.pages, report.alertmanager.pages);
    format!("{} pages against every firing, {} against Alertmanager", less(firing), less(grouped))
}

fn quietly(out: &mut impl Write, sent: &Notifications) -> fmt::Result {
    let [updates, resolves, digests] = [sent.updates, sent.resolves, sent.digests].map(thousands);
    writeln!(out, "  interrupting nobody: {updates} updates, {resolves} resolves, {digests} digests")?;
    let disposed: Vec<String> =
        sent.disposed.iter().map(|(what, count)| format!("{what} {}", thousands(*count))).collect();
    let pending = thousands(sent.pending);
    writeln!(out, "  observations by what became of them: {}, pending {pending}", disposed.join(", "))
}

fn alertnames(out: &mut impl Write, report: &Report) -> fmt::Result {
    let columns = [&report.every_firing, &report.alertmanager, &report.squelch.pages];
    let pages = |tally: &Tally, name: &str| tally.by_alertname.get(name).copied().unwrap_or(0);
    let mut names: Vec<&str> =
        columns.iter().flat_map(|tally| tally.by_alertname.keys()).map(|name| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.sort_by_key(|name| std::cmp::Reverse([2, 0].map(|column: usize| pages(columns[column], name))));
    writeln!(out, "\n{:<44}{:>12}{:>14}{:>12}", "pages by alertname", "firings", "Alertmanager", "Squelch")?;
    for name in names.iter().take(NAMES) {
        let [firings, grouped, squelch] = columns.map(|tally| thousands(pages(tally, name)));
        writeln!(out, "{:<44}{firings:>12}{grouped:>14}{squelch:>12}", shown(name))?;
    }
    if names.len() > NAMES {
        writeln!(out, "and {} more; -o json has them all", names.len() - NAMES)?;
    }
    Ok(())
}

fn hours(out: &mut impl Write, report: &Report) -> fmt::Result {
    let squelch = &report.squelch.pages.by_hour;
    let most = squelch.iter().copied().max().unwrap_or(0).max(1);
    writeln!(out, "\nhour (UTC){:>12}{:>14}{:>12}", "firings", "Alertmanager", "Squelch")?;
    let rows = report.every_firing.by_hour.iter().zip(&report.alertmanager.by_hour).zip(squelch);
    for (hour, ((firings, grouped), pages)) in rows.enumerate() {
        let bar = "█".repeat((pages * BAR).div_ceil(most) as usize);
        let [firings, grouped, shown] = [*firings, *grouped, *pages].map(thousands);
        let line = format!("{hour:02}:00     {firings:>12}{grouped:>14}{shown:>12}  {bar}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn difference(out: &mut impl Write, found: &Comparison) -> fmt::Result {
    writeln!(out, "\nagainst the other file: {} pages are the same", thousands(found.same))?;
    let rows: [(&Difference, &str, &str); 4] = [
        (&found.gained, "gained: it does not page them", "it tells at"),
        (&found.lost, "lost: only it tells of them", ""),
        (&found.quiet, "gone into an open incident", "told at"),
        (&found.later, "later", "at"),
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

/// Text from a history, fit for a terminal: what a terminal would act on is left out.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// A length of time, cut to what matters at its size.
fn length(duration: Duration) -> String {
    let ms = duration.as_millis();
    let unit = match ms {
        0..10_000 => 1,
        10_000..600_000 => 1_000,
        600_000..172_800_000 => 60_000,
        _ => 3_600_000,
    };
    Duration::from_millis(ms / unit * unit).to_string()
}

fn thousands(n: u64) -> String {
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
}
