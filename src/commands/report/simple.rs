//! The report in the terminal.

use crate::commands::asking::moment;
use crate::commands::screen::Screen;
use crate::decision_log::{
    BudgetEntry, ChangingLabelEntry, Compared, FateEntry, NameEntry, NoiseEntry, PRICED, ReceiverNoiseEntry,
    UnknownSeverityEntry, named, plain, share, sparkline, trend,
};
use crate::web::{counted, pages_text};

/// The report as text and tables.
pub(super) fn simple(noise: &NoiseEntry, screen: &Screen) -> String {
    let period = &noise.period;
    let mut text = format!("From {} to {}\n", moment(period.since), moment(period.until));
    if let Some(since) = period.counted_since {
        text.push_str(&format!(
            "There are too many decisions for one report. Squelch counted those since {}.\n",
            moment(since)
        ));
    }
    if noise.is_empty() {
        return text + "Nothing came in.\n";
    }
    let removed = period.removed_percent.unwrap_or(0);
    let (came, pages) = (counted(period.came, "observation"), pages_text(period.pages));
    let of_them = noise.of_them();
    text.push_str(&format!("\n{came} in, {pages} decided{of_them}: {removed} % interrupted nobody\n"));

    if let Some(observed) = &noise.observed {
        let (sent, pages, removed) = (observed.sent, pages_text(observed.pages), observed.removed_percent);
        let came = counted(observed.came, "observation");
        text.push_str(&format!(
            "Observe mode sent {sent} of these as the senders sent them. Only observed: {pages} would have gone \
             out for {came}, and {removed} % would have interrupted nobody\n"
        ));
    }

    text.push_str("\nCompared with the period before, which is as long\n");
    let compared = |row: Compared| {
        let some = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        vec![row.name.to_owned(), row.now, some(row.before), some(row.change)]
    };
    let rows: Vec<_> = noise.compared().into_iter().map(compared).collect();
    text.push_str(&screen.table(&["Figure", "Now", "Before", "Change"], &rows));
    if let Some(partly) = noise.partly_counted() {
        text.push_str(&format!("{partly}\n"));
    }
    text.push_str(&format!("\nPages by {}: {}\n", noise.by.as_str(), sparkline(&noise.pages_by_step())));

    text.push_str("\nDispositions\n");
    let fate = |fate: &FateEntry| {
        vec![fate.word(), fate.count.to_string(), format!("{} %", share(fate.count, period.came))]
    };
    text.push_str(
        &screen.table(&["Disposition", "In", "Share"], &noise.fates.iter().map(fate).collect::<Vec<_>>()),
    );

    if let Some(observed) = &noise.observed {
        let fate = |fate: &FateEntry| {
            let word = fate.reason.as_ref().unwrap_or(&fate.disposition).replace('_', " ");
            vec![word, fate.count.to_string(), format!("{} %", share(fate.count, observed.came))]
        };
        text.push_str("\nDispositions of alerts that are only observed\n");
        let rows: Vec<_> = observed.fates.iter().map(fate).collect();
        text.push_str(&screen.table(&["Disposition", "In", "Share"], &rows));
    }

    text.push_str("\nMost frequent alerts\n");
    let name = |name: &NameEntry| {
        let (answers, before) = (&name.answers, name.pages_before.map_or("-".to_owned(), |n| n.to_string()));
        vec![
            name.came.to_string(),
            name.fires.to_string(),
            name.pages.to_string(),
            before,
            answers.self_resolved.to_string(),
            answers.acknowledged.to_string(),
            answers.useful_text(),
            name.flaps.to_string(),
            name.lasted_text(),
            name.night_pages.to_string(),
            trend(&name.trend),
            named(&name.alertname).to_owned(),
        ]
    };
    let zone = if noise.location.is_empty() { "UTC" } else { &noise.location };
    let night = format!("Night pages (22-6 {})", plain(zone));
    let head = [
        "In",
        "Fires",
        "Pages",
        "Before",
        "Self-resolved",
        "Acked",
        "Useful",
        "Flaps",
        "Lasted (median)",
        &night,
        "Trend",
        "Alert",
    ];
    text.push_str(&screen.table(&head, &noise.alerts.iter().map(name).collect::<Vec<_>>()));

    text.push_str("\nReceivers\n");
    let receiver = |receiver: &ReceiverNoiseEntry| {
        let budget = receiver.budget.as_ref().map_or("-".to_owned(), BudgetEntry::text);
        vec![receiver.receiver.clone(), receiver.came.to_string(), receiver.pages.to_string(), budget]
    };
    let rows: Vec<_> = noise.receivers.iter().map(receiver).collect();
    text.push_str(&screen.table(&["Receiver", "In", "Pages", "Budget"], &rows));

    if !noise.changing_labels.is_empty() {
        text.push_str(
            "\nLabels whose value changes at each evaluation\n\
             Each change ends one alert and starts another one. Add the line under `identity`.\n",
        );
        let row = |one: &ChangingLabelEntry| {
            vec![plain(&one.alertname), plain(&one.label), one.changes.to_string(), plain(&one.yaml)]
        };
        let rows: Vec<_> = noise.changing_labels.iter().map(row).collect();
        text.push_str(&screen.table(&["Alert", "Label", "Changes in a row", "Line"], &rows));
    }

    if !noise.unknown_severities.is_empty() {
        text.push_str(
            "\nSeverity values that no level names\n\
             Correct the rules, or add the values to the aliases of a level. For alerts without a severity, \
             `severities.default` names the level.\n",
        );
        let row = |one: &UnknownSeverityEntry| vec![plain(one.name()), one.alerts.to_string()];
        let rows: Vec<_> = noise.unknown_severities.iter().map(row).collect();
        text.push_str(&screen.table(&["Value", "Alerts in 24 h"], &rows));
    }

    if !noise.suggestions.is_empty() {
        text.push_str(&format!("\nSuggestions\n{PRICED}\n"));
    }
    for one in &noise.suggestions {
        text.push_str(&format!("# {}\n{}", plain(&one.text), one.yaml));
    }
    text
}
