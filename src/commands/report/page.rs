//! The report as one page that needs nothing else.

use maud::{Markup, html};

use crate::commands::asking::moment;
use crate::commands::document::document;
use crate::decision_log::{BudgetEntry, By, NameEntry, NoiseEntry, PRICED, TrendEntry, named, share};
use crate::history::thousands;
use crate::web::{busiest, heat, pages_text, stack, tame, values, with_code};

/// The longest name of an alert or a receiver, in characters.
const CUT: usize = 120;

/// The page.
pub(super) fn page(noise: &NoiseEntry) -> Markup {
    let period = &noise.period;
    let title = format!("Alert noise from {} to {}", moment(period.since), moment(period.until));
    document(
        &title,
        &html! {
            h1.verdict {
                (thousands(period.came)) " observations came in, and Squelch decided " (pages_text(period.pages)) (noise.of_them())
                @if let Some(removed) = period.removed_percent { ": " (removed) " % interrupted nobody" } "."
            }
            p.lead { "All times are UTC." @if let Some(since) = period.counted_since {
                " There are too many decisions for one report. Squelch counted those since " (moment(since)) "." } }
            @if let Some(observed) = &noise.observed {
                p { "Profiles that only observe would have sent " (pages_text(observed.pages)) " for "
                    (thousands(observed.came)) " observations, in place of " (thousands(observed.sent)) "." }
            }
            h2 { "Compared with the period before" }
            (compared(noise))
            h2 { "Pages by " (noise.by.as_str()) }
            (trend(noise))
            h2 { "Pages by hour of the week, " (tame(&noise.location, CUT)) }
            @let said = busiest(&noise.week);
            @let most = noise.week.iter().flatten().copied().max().unwrap_or(0);
            figure.plot.week { figcaption { (said) } (heat("by-week", &noise.week, most, "hot", (&said, "page"))) }
            h2 { "Rules" }
            (rules(&noise.alerts))
            (trends(noise))
        @if !noise.suggestions.is_empty() {
            h2 { "Suggestions" }
            p.lead { (with_code(PRICED)) }
            @for one in &noise.suggestions { div.advice {
                pre tabindex="0" { code { (one.yaml) } }
                p.why { (tame(&one.text, 300)) "." }
            } }
        }
            h2 { "Receivers" }
            (receivers(noise))
            h2 { "Dispositions" }
            (fates(noise))
        },
    )
}

fn compared(noise: &NoiseEntry) -> Markup {
    html! {
        table.rows {
            caption.unseen { "The figures of this period and of the one before" }
            thead { tr { th scope="col" { "Figure" } th.n scope="col" { "This period" }
                th.n scope="col" { "The period before" } th.n scope="col" { "Change" } } }
            tbody { @for row in noise.compared() { tr data-row {
                td data-label="State" { (row.name) }
                td.n data-label="This period" { (row.now) }
                td.n data-label="The period before" { (row.before.unwrap_or_else(|| "–".into())) }
                td.n data-label="Change" { (row.change.unwrap_or_else(|| "–".into())) }
            } } }
        }
        @if let Some(partly) = noise.partly_counted() { p.lead { (partly) } }
    }
}

fn trend(noise: &NoiseEntry) -> Markup {
    let names: Vec<String> = noise.trend.iter().map(|step| name(noise.by, step)).collect();
    let count = |of: fn(&TrendEntry) -> u64| noise.trend.iter().map(of).collect::<Vec<u64>>();
    let other = |step: &TrendEntry| {
        let answers = &step.answers;
        answers.incidents.saturating_sub(answers.acknowledged + answers.self_resolved)
    };
    let second = count(|step| step.pages.saturating_sub(step.answers.incidents));
    let mut layers = vec![
        ("c3", "acknowledged", count(|step| step.answers.acknowledged)),
        ("c4", "resolved without acknowledgement", count(|step| step.answers.self_resolved)),
        ("c5", "open, or in a later incident", count(other)),
    ];
    if second.iter().any(|count| *count > 0) {
        layers.push(("c6", "escalations and fallbacks", second));
    }
    let pages = noise.pages_by_step();
    let most = pages.iter().copied().max().unwrap_or(0);
    let said =
        format!("{}, at most {} in a {}", pages_text(pages.iter().sum()), thousands(most), noise.by.as_str());
    let what = heading(noise.by);
    html! { figure.plot { figcaption { (said) } (stack("pages", (&what, &names), &layers, &said)) } }
}

/// The name of a column of steps.
fn heading(by: By) -> String {
    let word = by.as_str();
    word[..1].to_uppercase() + &word[1..]
}

/// The values behind the trends of the rules.
fn trends(noise: &NoiseEntry) -> Markup {
    let steps: Vec<String> = noise.trend.iter().map(|step| name(noise.by, step)).collect();
    let columns: Vec<&str> = std::iter::once("Rule").chain(steps.iter().map(String::as_str)).collect();
    let paged = noise.alerts.iter().filter(|one| one.trend.iter().any(|pages| *pages > 0));
    let rows = paged.map(|one| {
        let rule = html! { bdi { (tame(named(&one.alertname), CUT)) } };
        (rule, one.trend.iter().copied().map(thousands).collect())
    });
    values("trends", &format!("Pages of each rule by {}", noise.by.as_str()), &columns, rows)
}

fn name(by: By, step: &TrendEntry) -> String {
    let day = step.start.to_string();
    day.get(..if by == By::Month { 7 } else { 10 }).unwrap_or_default().to_owned()
}

fn rules(names: &[NameEntry]) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Rules, those that came most first" }
            thead { tr {
                th scope="col" { "Rule" } th.n scope="col" { "Fires" } th.n scope="col" { "Pages" }
                th.n scope="col" { "Before" } th.n scope="col" { "Self-resolved" } th.n scope="col" { "Acknowledged" }
                th.n scope="col" { "Useful" } th.n scope="col" { "Flaps" } th.n scope="col" { "Lasted (median)" }
                th scope="col" { "Trend" }
            } }
            tbody { @for one in names {
                @let answers = &one.answers;
                tr data-row {
                    td.what { bdi.name { (tame(named(&one.alertname), CUT)) } }
                    td.n data-label="Fires" { (thousands(one.fires)) }
                    td.n data-label="Pages" { (thousands(one.pages)) }
                    td.n data-label="Before" { (one.pages_before.map_or("–".to_owned(), thousands)) }
                    td.n data-label="Self-resolved" { (thousands(answers.self_resolved)) }
                    td.n data-label="Acknowledged" { (thousands(answers.acknowledged)) }
                    td.n data-label="Useful" { (answers.useful_text()) }
                    td.n data-label="Flaps" { (thousands(one.flaps)) }
                    td.n data-label="Lasted" { (one.lasted_text()) }
                    td data-label="Trend" {
                        @if one.trend.iter().any(|pages| *pages > 0) { (spark(&one.trend)) } @else { "–" } }
                }
            } }
        }
    }
}

/// A small line of bars.
fn spark(counts: &[u64]) -> Markup {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    html! {
        svg.spark viewBox=(format!("0 0 {} 20", counts.len().max(1) * 4)) preserveAspectRatio="none" aria-hidden="true" {
            @for (bar, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                @let height = (count * 20 / most).max(2);
                rect.hot x=(bar * 4) y=(20 - height) width="3" height=(height) {}
            }
        }
    }
}

fn receivers(noise: &NoiseEntry) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Receivers" }
            thead { tr { th scope="col" { "Receiver" } th.n scope="col" { "Observations" } th.n scope="col" { "Pages" }
                th scope="col" { "Page budget" } } }
            tbody { @for one in &noise.receivers { tr data-row {
                td.what { bdi.name { (tame(&one.receiver, CUT)) } }
                td.n data-label="Observations" { (thousands(one.came)) }
                td.n data-label="Pages" { (thousands(one.pages)) }
                td data-label="Page budget" { (one.budget.as_ref().map_or("–".to_owned(), BudgetEntry::text)) }
            } } }
        }
    }
}

fn fates(noise: &NoiseEntry) -> Markup {
    html! {
        table.rows {
            caption.unseen { "Observations by disposition" }
            thead { tr { th scope="col" { "Result" } th.n scope="col" { "Observations" } th scope="col" { "Share" } } }
            tbody { @for fate in &noise.fates {
                @let share = share(fate.count, noise.period.came);
                tr data-row {
                    td data-label="State" { (fate.word()) }
                    td.n data-label="Observations" { (thousands(fate.count)) }
                    td data-label="Share" { div.share {
                        svg viewBox="0 0 100 10" aria-hidden="true" { rect.track width="100" height="10" rx="2" {}
                            rect.fill width=(share) height="10" rx="2" {} }
                        (share) " %"
                    } }
                }
            } }
        }
    }
}
