//! The report of a period as Markdown, and the words that all reports share.

use std::fmt::Write;

use super::review::{NO_NAME, cell, second};
use super::{AnswersEntry, NameEntry, NoiseEntry, PeriodEntry, of_them};
use crate::config::Location;
use crate::model::Duration;

/// The blocks of a sparkline, from none to the most.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// How suggestions are priced.
pub const PRICED: &str = "Squelch replayed its journal with each change under your configuration. \
                          `+5m` is five minutes more than the rule has now.";
/// So many steps of a sparkline are drawn, the newest.
const DRAWN: usize = 60;

/// `1 page`, `2 pages`
fn pages(count: u64) -> String {
    format!("{count} page{}", if count == 1 { "" } else { "s" })
}

/// Counts as blocks. The largest of them is a whole block, and only 0 is the lowest one.
pub fn sparkline(counts: &[u64]) -> String {
    let shown = &counts[counts.len().saturating_sub(DRAWN)..];
    let most = u128::from(shown.iter().copied().max().unwrap_or(0).max(1));
    let highest = BLOCKS.len() as u128 - 1;
    let block = |count: &u64| BLOCKS[(u128::from(*count) * highest).div_ceil(most) as usize];
    shown.iter().map(block).collect()
}

impl AnswersEntry {
    /// `3 of 5`, or `–` if nobody said whether a page was useful.
    pub fn useful_text(&self) -> String {
        match self.rated {
            0 => "–".to_owned(),
            rated => format!("{} of {rated}", self.useful),
        }
    }
}

impl NameEntry {
    /// The median length of its occurrences, or `–`.
    pub fn lasted_text(&self) -> String {
        self.median_seconds.map_or("–".to_owned(), |seconds| Duration::from_secs(seconds).to_string())
    }
}

/// The name of a rule, or words for an alert without one.
pub fn named(name: &str) -> &str {
    if name.is_empty() { NO_NAME } else { name }
}

/// The trend of a rule as blocks, or `–` if it has no page.
pub fn trend(counts: &[u64]) -> String {
    if counts.iter().all(|count| *count == 0) { "–".to_owned() } else { sparkline(counts) }
}

/// The change from one count to another: `-40 %`, `+5`, or `±0`.
pub fn change(before: u64, now: u64) -> String {
    let difference = i128::from(now) - i128::from(before);
    match (difference, before) {
        (0, _) => "±0".to_owned(),
        (_, 0) => format!("{difference:+}"),
        _ => format!("{:+} %", difference * 100 / i128::from(before)),
    }
}

/// A figure of the period, of the one before, and the change. The last two are missing without a period
/// before.
pub struct Compared {
    /// The name of the figure.
    pub name: &'static str,
    /// The figure.
    pub now: String,
    /// The figure of the period before.
    pub before: Option<String>,
    /// The change.
    pub change: Option<String>,
}

impl NoiseEntry {
    /// The figures of the period beside those of the period before.
    pub fn compared(&self) -> Vec<Compared> {
        let (now, before) = (&self.period, self.previous.as_ref());
        let row = |name, figure: fn(&PeriodEntry) -> u64| Compared {
            name,
            now: figure(now).to_string(),
            before: before.map(|before| figure(before).to_string()),
            change: before.map(|before| change(figure(before), figure(now))),
        };
        vec![
            row("Observations in", |one| one.came),
            row("Fires", |one| one.fires),
            row("Pages", |one| one.pages),
            row("Resolved without acknowledgement", |one| one.answers.self_resolved),
            row("Acknowledged", |one| one.answers.acknowledged),
            Compared {
                name: "Useful pages, of those rated",
                now: now.answers.useful_text(),
                before: before.map(|one| one.answers.useful_text()),
                change: None,
            },
        ]
    }

    /// Whether nothing came in, and no incident paged.
    pub fn is_empty(&self) -> bool {
        self.period.came == 0 && self.period.answers.incidents == 0
    }

    /// Pages by the steps of the trend.
    pub fn pages_by_step(&self) -> Vec<u64> {
        self.trend.iter().map(|step| step.pages).collect()
    }

    /// A sentence about the period before, where Squelch has too few decisions of it.
    pub fn partly_counted(&self) -> Option<String> {
        let since = self.previous.as_ref()?.counted_since?;
        Some(format!("Squelch has no decisions from before {}, so the comparison is partial.", second(since)))
    }

    /// `, 2 of them about Squelch itself`, where a reader may not expect all of the pages.
    pub fn of_them(&self) -> String {
        of_them(self.internal_pages, self.second_pages).map(|text| format!(", {text}")).unwrap_or_default()
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        self.markdown_in(&Location::default())
    }

    /// The same with the period in the local time of a place.
    pub fn markdown_in(&self, place: &Location) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, place);
        text
    }

    fn write(&self, out: &mut String, place: &Location) -> std::fmt::Result {
        let period = &self.period;
        let local = |at| place.civil(at).strftime("%Y-%m-%d %H:%M:%S");
        let name = place.name();
        writeln!(out, "# Alert noise from {} to {} {name}\n", local(period.since), local(period.until))?;
        if let Some(since) = period.counted_since {
            writeln!(
                out,
                "There are too many decisions for one report. Squelch counted those since {}.\n",
                local(since)
            )?;
        }
        if self.is_empty() {
            return writeln!(out, "Nothing came in.");
        }
        let removed = period.removed_percent.unwrap_or(0);
        writeln!(
            out,
            "{} observations came in, and Squelch decided {}{}. {removed} % of the observations interrupted \
             nobody.\n",
            period.came,
            pages(period.pages),
            self.of_them()
        )?;
        if let Some(observed) = &self.observed {
            writeln!(
                out,
                "Profiles that only observe would have sent {} for {} observations, in place of {}.\n",
                pages(observed.pages),
                observed.came,
                observed.sent
            )?;
        }
        writeln!(out, "| | This period | The period before | Change |\n| --- | ---: | ---: | ---: |")?;
        let some = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        for row in self.compared() {
            writeln!(out, "| {} | {} | {} | {} |", row.name, row.now, some(row.before), some(row.change))?;
        }
        if let Some(partly) = self.partly_counted() {
            writeln!(out, "\n{partly}")?;
        }
        writeln!(out, "\nPages by {}: `{}`\n", self.by.as_str(), sparkline(&self.pages_by_step()))?;
        writeln!(out, "## Rules\n")?;
        writeln!(
            out,
            "| Rule | Fires | Pages | Before | Self-resolved | Acknowledged | Useful | Flaps | Lasted (median) | Trend |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
        )?;
        for name in &self.alerts {
            let before = some(name.pages_before.map(|pages| pages.to_string()));
            let answers = &name.answers;
            writeln!(
                out,
                "| {} | {} | {} | {before} | {} | {} | {} | {} | {} | `{}` |",
                cell(named(&name.alertname)),
                name.fires,
                name.pages,
                answers.self_resolved,
                answers.acknowledged,
                answers.useful_text(),
                name.flaps,
                name.lasted_text(),
                trend(&name.trend)
            )?;
        }
        writeln!(
            out,
            "\n*Self-resolved* counts the incidents that resolved without an acknowledgement. *Before* counts \
             the pages of the period before."
        )?;
        if !self.suggestions.is_empty() {
            writeln!(out, "\n## Suggestions\n\n{PRICED}\n")?;
        }
        for one in &self.suggestions {
            writeln!(out, "- {}", cell(&one.text))?;
        }
        writeln!(
            out,
            "\n## Receivers\n\n| Receiver | Observations | Pages | Page budget |\n| --- | ---: | ---: | --- |"
        )?;
        for receiver in &self.receivers {
            let budget = receiver.budget.as_ref().map_or("–".to_owned(), |budget| budget.text());
            writeln!(
                out,
                "| {} | {} | {} | {budget} |",
                cell(&receiver.receiver),
                receiver.came,
                receiver.pages
            )?;
        }
        writeln!(out, "\n## Dispositions\n\n| Result | Observations |\n| --- | ---: |")?;
        for fate in &self.fates {
            writeln!(out, "| {} | {} |", fate.word(), fate.count)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_one_beside_many() {
        assert_eq!(sparkline(&[0, 1, 350, 700]), "▁▂▅█");
        assert_eq!((sparkline(&[]), sparkline(&[0, 0])), (String::new(), "▁▁".to_owned()));
        assert_eq!(sparkline(&[9; 100]).chars().count(), DRAWN);
        assert_eq!((trend(&[0, 0]), trend(&[0, 1])), ("–".to_owned(), "▁█".to_owned()));
    }

    #[test]
    fn a_change_is_relative_where_there_was_something() {
        assert_eq!([change(20, 12), change(0, 5), change(3, 3)], ["-40 %", "+5", "±0"]);
    }
}
