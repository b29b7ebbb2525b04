//! The counts in the form that people and programs read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::trend::by_step;
use super::{AnswersEntry, By, Tally, removed};
use crate::config::Limit;
use crate::history::{Priced, Suggestion};
use crate::model::{Quoted, Timestamp};

/// The observations and notifications of a stretch of time, and which rules to fix first. An observation
/// counts once for each receiver that it went to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Noise)]
#[serde(rename_all = "camelCase")]
pub struct NoiseEntry {
    /// The figures of the period itself.
    #[serde(flatten)]
    pub period: PeriodEntry,
    /// Pages of incidents about Squelch itself.
    #[serde(default)]
    pub internal_pages: u64,
    /// Pages that went to a second receiver: escalations and fallbacks.
    #[serde(default)]
    pub second_pages: u64,
    /// The period before, which is as long. Missing if its counting takes too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PeriodEntry>,
    /// The length of one step of the trend.
    pub by: By,
    /// The pages and people's answers to them, step by step, the oldest first.
    pub trend: Vec<TrendEntry>,
    /// The time zone of hours and nights.
    #[serde(default)]
    pub location: String,
    /// Pages by day of the week, Monday first, and hour.
    #[schema(value_type = Vec<Vec<u64>>)]
    pub week: [[u64; 24]; 7],
    /// Their dispositions, by count, highest first.
    pub fates: Vec<FateEntry>,
    /// The dispositions of profiles that only observe. Missing if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<ObservedEntry>,
    /// Observations and notifications, in steps of equal length.
    pub over_time: Vec<StepEntry>,
    /// By alertname, the most frequent first.
    pub alerts: Vec<NameEntry>,
    /// By receiver.
    pub receivers: Vec<ReceiverNoiseEntry>,
    /// Longer settings of rules, each priced by a replay of the server's own journal.
    pub suggestions: Vec<SuggestionEntry>,
    /// When Squelch priced them. Missing if it has not yet, or has no journal that it can replay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub suggestions_at: Option<Timestamp>,
    /// Labels whose value changes at each evaluation of their rule. Only a running server knows them.
    #[serde(default)]
    pub changing_labels: Vec<ChangingLabelEntry>,
    /// Values of the severity label that no level names, in the last 24 hours. The empty value counts alerts
    /// without the label. Only a running server knows them.
    #[serde(default)]
    pub unknown_severities: Vec<UnknownSeverityEntry>,
}

/// The figures of one period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NoisePeriod)]
#[serde(rename_all = "camelCase")]
pub struct PeriodEntry {
    /// From then.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until then.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// From when on observations and fires were counted, if Squelch has no decisions from before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub counted_since: Option<Timestamp>,
    /// Observations that came in.
    pub came: u64,
    /// Pages that went out.
    pub pages: u64,
    /// The share of observations that interrupted no person, rounded down. Missing if there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_percent: Option<u64>,
    /// Occurrences that began, of all rules.
    pub fires: u64,
    /// People's answers to the pages.
    pub answers: AnswersEntry,
}

/// One step of a trend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = TrendStep)]
#[serde(rename_all = "camelCase")]
pub struct TrendEntry {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// Pages that went out in it.
    #[serde(default)]
    pub pages: u64,
    /// People's answers to the pages of this step.
    pub answers: AnswersEntry,
}

/// A value of the severity label that no level names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = UnknownSeverity)]
pub struct UnknownSeverityEntry {
    /// The value, cut to 64 characters. It is empty for alerts without the label.
    pub value: String,
    /// How many alerts fired with it.
    pub alerts: u64,
}

impl UnknownSeverityEntry {
    /// The value as people read it.
    pub fn name(&self) -> &str {
        if self.value.is_empty() { "(no severity)" } else { &self.value }
    }
}

/// The unknown values of `found`, by value.
pub fn unknown_severities(found: &BTreeMap<SmolStr, u64>) -> Vec<UnknownSeverityEntry> {
    let entry = |(value, alerts): (&SmolStr, &u64)| UnknownSeverityEntry {
        value: value.to_string(),
        alerts: *alerts,
    };
    found.iter().map(entry).collect()
}

/// A label whose value changes at each evaluation of its rule. Each change ends one alert and starts another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ChangingLabel)]
pub struct ChangingLabelEntry {
    /// The name of the rule.
    pub alertname: String,
    /// The label.
    pub label: String,
    /// How often it changed in a row.
    pub changes: u64,
    /// The line to add under `identity`.
    pub yaml: String,
}

/// The line of `identity` that leaves `label` out of the identity of alerts.
pub fn line_to_ignore(label: &str) -> String {
    format!("ignore_labels: [{label}]")
}

/// The labels of `found`, by rule and label.
pub fn changing_labels(found: &BTreeMap<(SmolStr, SmolStr), u64>) -> Vec<ChangingLabelEntry> {
    let entry = |((rule, label), changes): (&(SmolStr, SmolStr), &u64)| ChangingLabelEntry {
        alertname: rule.to_string(),
        label: label.to_string(),
        changes: *changes,
        yaml: line_to_ignore(label),
    };
    found.iter().map(entry).collect()
}

/// The number of observations with one disposition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Fate)]
pub struct FateEntry {
    /// `page`, `update`, `resolve` or `suppressed`.
    pub disposition: String,
    /// The reason of the suppression. Missing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many observations.
    pub count: u64,
}

/// The dispositions of profiles that only observe. They count nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Observed)]
#[serde(rename_all = "camelCase")]
pub struct ObservedEntry {
    /// Observations that came in.
    pub came: u64,
    /// Pages that went out as the sender sent them.
    #[serde(default)]
    pub sent: u64,
    /// Pages that would have gone out.
    pub pages: u64,
    /// The share of observations that would have interrupted no person, rounded down.
    pub removed_percent: u64,
    /// The dispositions that would have followed, by count, highest first.
    pub fates: Vec<FateEntry>,
}

/// One step of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Step)]
pub struct StepEntry {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Observations that came in.
    pub came: u64,
    /// Pages that went out.
    pub pages: u64,
}

/// The counts of the alerts of one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = NameNoise)]
#[serde(rename_all = "camelCase")]
pub struct NameEntry {
    /// The name.
    pub alertname: String,
    /// Observations that came in.
    pub came: u64,
    /// Pages that went out of the incidents that its alerts opened.
    pub pages: u64,
    /// Observations that flap damping withheld.
    pub flaps: u64,
    /// The median length of its occurrences. Missing if none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_seconds: Option<u64>,
    /// Pages from 22 to 6.
    pub night_pages: u64,
    /// Occurrences that began. One that went to several receivers counts once.
    pub fires: u64,
    /// People's answers to its pages. An incident belongs to the rule whose alert opened it.
    pub answers: AnswersEntry,
    /// Pages of the period before. Missing as that one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages_before: Option<u64>,
    /// Pages that went out, by the steps of the trend.
    pub trend: Vec<u64>,
}

/// The notifications of a receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReceiverNoise)]
pub struct ReceiverNoiseEntry {
    /// The receiver.
    pub receiver: String,
    /// Observations that came in for it.
    pub came: u64,
    /// Pages that went out to it.
    pub pages: u64,
    /// Its page budget, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetEntry>,
}

/// A page budget, and the most that was spent of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Budget)]
pub struct BudgetEntry {
    /// So many pages.
    pub pages: u32,
    /// In this time, such as `12h`.
    pub per: String,
    /// The most pages in any stretch of that length.
    pub most: u64,
}

/// A longer setting of a rule, with its price in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = RuleSuggestion)]
pub struct SuggestionEntry {
    /// The setting and its price.
    pub suggestion: Suggestion,
    /// The price as a sentence without its end. `+5m` is five minutes more than the rule has.
    pub text: String,
    /// The lines for its rule.
    pub yaml: String,
}

impl From<&Suggestion> for SuggestionEntry {
    fn from(one: &Suggestion) -> Self {
        let (name, setting, by) = (Quoted(&one.rule), one.setting.as_str(), one.by());
        let yaml = format!("- alert: {name}\n  {setting}: {by} # or so much longer than the rule has it\n");
        SuggestionEntry { suggestion: one.clone(), text: one.to_string(), yaml }
    }
}

impl NoiseEntry {
    /// The counts of `tally`, compared with the period `before`, with the `most` most frequent names, and
    /// the budgets of receivers.
    pub fn new(
        tally: &Tally,
        before: Option<&Tally>,
        budgets: &BTreeMap<SmolStr, Limit>,
        most: usize,
        by: By,
    ) -> NoiseEntry {
        let steps = by.steps(tally.from, tally.to);
        let fate = |((disposition, reason), count): (&(String, String), &u64)| FateEntry {
            disposition: disposition.clone(),
            reason: Some(reason.clone()).filter(|reason| !reason.is_empty()),
            count: *count,
        };
        let fates_of = |by_fate: &BTreeMap<(String, String), u64>| {
            let mut fates: Vec<_> = by_fate.iter().map(fate).collect();
            fates.sort_by_key(|fate| std::cmp::Reverse(fate.count));
            fates
        };
        let (fates, observed) = (fates_of(&tally.by_fate), &tally.observed);
        let observed = removed(observed.came, observed.pages).map(|removed_percent| ObservedEntry {
            came: observed.came,
            sent: observed.sent,
            pages: observed.pages,
            removed_percent,
            fates: fates_of(&observed.by_fate),
        });
        let step = tally.step();
        let over_time = tally.over_time.iter().scan(tally.from, |at, (came, pages)| {
            let began = std::mem::replace(at, *at + step);
            Some(StepEntry { at: began, came: *came, pages: *pages })
        });
        let names = tally.top(most).into_iter().map(|(alertname, name)| NameEntry {
            alertname: alertname.to_owned(),
            came: name.came,
            pages: name.pages,
            flaps: name.flaps,
            median_seconds: name.lasted().map(|lasted| lasted.as_millis() / 1000),
            night_pages: name.night,
            fires: name.fires,
            answers: AnswersEntry::of(tally.incidents_of(alertname)),
            pages_before: before.map(|before| before.names.get(alertname).map_or(0, |name| name.pages)),
            trend: by_step(&steps, tally.pages_of(alertname)),
        });
        let ends = steps.iter().skip(1).copied().chain([tally.to]);
        let pages = by_step(&steps, tally.sent.iter().map(|page| page.at));
        let trend = steps.iter().zip(ends).zip(pages).map(|((start, end), pages)| TrendEntry {
            start: *start,
            pages,
            answers: AnswersEntry::of(
                tally.incidents.iter().filter(|one| (*start..end).contains(&one.opened_at)),
            ),
        });
        let budget = |receiver: &str| {
            let Limit { pages, per } = budgets.get(receiver)?;
            Some(BudgetEntry { pages: *pages, per: per.to_string(), most: tally.most_pages(receiver, *per) })
        };
        let receivers = tally.receivers.iter().map(|(receiver, (came, paged))| ReceiverNoiseEntry {
            receiver: receiver.clone(),
            came: *came,
            pages: paged.len() as u64,
            budget: budget(receiver),
        });
        NoiseEntry {
            // Of this period, the cause of a later beginning is the number of decisions alone.
            period: PeriodEntry { counted_since: tally.cut_at, ..PeriodEntry::of(tally) },
            internal_pages: tally.internal_pages,
            second_pages: tally.second_pages,
            previous: before.map(PeriodEntry::of),
            by,
            trend: trend.collect(),
            location: tally.location.name().to_owned(),
            week: tally.by_week,
            fates,
            observed,
            over_time: over_time.collect(),
            alerts: names.collect(),
            receivers: receivers.collect(),
            suggestions: Vec::new(),
            suggestions_at: None,
            changing_labels: Vec::new(),
            unknown_severities: Vec::new(),
        }
    }

    /// The same with these suggestions.
    pub fn suggesting(self, priced: &Priced) -> NoiseEntry {
        let suggestions = priced.suggestions.iter().map(SuggestionEntry::from).collect();
        NoiseEntry { suggestions, suggestions_at: priced.at, ..self }
    }
}

impl PeriodEntry {
    /// The figures of `tally`.
    pub fn of(tally: &Tally) -> PeriodEntry {
        PeriodEntry {
            since: tally.from,
            until: tally.to,
            counted_since: tally.cut_at.max(tally.kept_since),
            came: tally.came,
            pages: tally.pages,
            removed_percent: tally.removed(),
            fires: tally.fires(),
            answers: AnswersEntry::of(&tally.incidents),
        }
    }
}

impl FateEntry {
    /// The reason, or the disposition without one, as words.
    pub fn word(&self) -> String {
        self.reason.as_ref().unwrap_or(&self.disposition).replace('_', " ")
    }
}

impl BudgetEntry {
    /// `3 of 2 in the busiest 12h, over budget`
    pub fn text(&self) -> String {
        let over = if self.most > self.pages.into() { ", over budget" } else { "" };
        format!("{} of {} in the busiest {}{over}", self.most, self.pages, self.per)
    }
}
