//! The course of the pages over days, weeks or months, and people's answers to them, by rule.

use jiff::tz::TimeZone;
use jiff::{ToSpan, Unit};
use serde::{Deserialize, Serialize};

use crate::model::{Duration, Timestamp};

/// The report looks back so far at most.
pub const LONGEST: Duration = Duration::from_hours(400 * 24);

/// The length of one step of a trend, by the calendar in UTC. A week begins on Monday.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A day.
    #[default]
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

impl By {
    /// The name of one step.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Day => "day",
            By::Week => "week",
            By::Month => "month",
        }
    }

    /// The steps that overlap a time, the oldest first. The first one begins with the time, or 400 days
    /// before its end.
    pub fn steps(self, since: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let mut steps = vec![since.max(until - LONGEST)];
        while let Some(next) = steps.last().and_then(|last| self.next(*last)).filter(|next| *next < until) {
            steps.push(next);
        }
        steps
    }

    /// The beginning of the first step after `at`.
    pub fn next(self, at: Timestamp) -> Option<Timestamp> {
        let zoned = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?.to_zoned(TimeZone::UTC);
        let day = zoned.date();
        let first = match self {
            By::Day => day,
            By::Week => day.checked_sub(i64::from(day.weekday().to_monday_zero_offset()).days()).ok()?,
            By::Month => day.first_of_month(),
        };
        let span = match self {
            By::Day => 1.day(),
            By::Week => 1.week(),
            By::Month => 1.month(),
        };
        let next = first.checked_add(span).ok()?.to_zoned(TimeZone::UTC).ok()?;
        Some(Timestamp::from_millis(next.round(Unit::Millisecond).ok()?.timestamp().as_millisecond()))
    }
}

/// An incident that paged, as a report counts it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleIncident {
    /// The name of the rule whose alert opened it.
    pub rule: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// Whether a person acknowledged it.
    pub acknowledged: bool,
    /// Whether it resolved and no person had acknowledged it.
    pub self_resolved: bool,
    /// Whether a person found its page useful.
    pub useful: Option<bool>,
}

/// People's answers to the pages of a rule, or of all rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PageAnswers)]
#[serde(rename_all = "camelCase")]
pub struct AnswersEntry {
    /// Incidents that paged.
    pub incidents: u64,
    /// Incidents that resolved without an acknowledgement.
    pub self_resolved: u64,
    /// Incidents that a person acknowledged.
    pub acknowledged: u64,
    /// Incidents whose page a person called useful or not.
    pub rated: u64,
    /// Incidents whose page a person called useful.
    pub useful: u64,
}

impl AnswersEntry {
    /// Counts these incidents.
    pub fn of<'a>(incidents: impl IntoIterator<Item = &'a RuleIncident>) -> AnswersEntry {
        let mut answers = AnswersEntry::default();
        for one in incidents {
            answers.incidents += 1;
            answers.self_resolved += u64::from(one.self_resolved);
            answers.acknowledged += u64::from(one.acknowledged);
            answers.rated += u64::from(one.useful.is_some());
            answers.useful += u64::from(one.useful == Some(true));
        }
        answers
    }
}

/// Counts how many of `times` fall into each of `steps`.
pub(super) fn by_step(steps: &[Timestamp], times: impl Iterator<Item = Timestamp>) -> Vec<u64> {
    let mut counts = vec![0; steps.len()];
    for at in times {
        let step = steps.partition_point(|start| *start <= at).saturating_sub(1);
        if let Some(count) = counts.get_mut(step) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn steps_follow_the_calendar() {
        let (since, until) = (at("2026-11-25T12:00:00Z"), at("2026-12-08T00:00:00Z"));
        let starts = |by: By| -> Vec<String> {
            by.steps(since, until).iter().map(|at| at.to_string().replace("T00:00:00Z", "")).collect()
        };
        assert_eq!(starts(By::Day).len(), 13);
        // The 25th is a Wednesday.
        assert_eq!(starts(By::Week), ["2026-11-25T12:00:00Z", "2026-11-30", "2026-12-07"]);
        assert_eq!(starts(By::Month), ["2026-11-25T12:00:00Z", "2026-12-01"]);
        let midnight = at("2026-12-01T00:00:00Z");
        assert_eq!(By::Month.next(midnight), Some(at("2027-01-01T00:00:00Z")), "a step does not repeat");
        let counts = by_step(&By::Week.steps(since, until), [since, midnight, midnight].into_iter());
        assert_eq!(counts, [1, 2, 0]);
    }
}
