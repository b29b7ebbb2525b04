//! The load of the people on call: how often each shift was interrupted, and whether that was worth it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Weekday;
use serde::{Deserialize, Serialize};

use super::pages::{self, SentPage};
use super::{DecisionLogError, Reader};
use crate::config::OnCall;
use crate::model::{Duration, Timestamp};

/// A shift should have so many incidents at most, after Google's SRE book.
pub const BUDGET: u64 = 2;
/// Operational work should take at most this share of the time, in percent, after Google's SRE book.
pub const TOIL_LINE: u64 = 50;

/// The load of the people on call over a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OnCallLoad)]
#[serde(rename_all = "camelCase")]
pub struct OnCallEntry {
    /// From then.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until then.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// The time zone of shifts, nights and weekends.
    pub location: String,
    /// How many incidents a shift should have at most.
    pub budget: u64,
    /// How much of the time operational work should take at most, in percent.
    pub toil_line_percent: u64,
    /// From when on it was counted, if there were more incidents than one look reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub counted_since: Option<Timestamp>,
    /// The time of the first decision, if Squelch has none from the beginning of the time. Shifts and weeks
    /// before it do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub known_since: Option<Timestamp>,
    /// By receiver, the busiest first.
    pub receivers: Vec<ReceiverLoadEntry>,
}

/// The load of one receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ReceiverLoad)]
#[serde(rename_all = "camelCase")]
pub struct ReceiverLoadEntry {
    /// The receiver.
    pub receiver: String,
    /// Incidents that paged it, also as a second receiver: by escalation, or as a fallback.
    pub incidents: u64,
    /// Incidents among them that are about Squelch itself.
    #[serde(default)]
    pub internal: u64,
    /// Incidents among them that paged it as a second receiver.
    #[serde(default)]
    pub second: u64,
    /// Incidents that paged it in the period of the same length before. Missing if Squelch does not know all
    /// of that period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incidents_before: Option<u64>,
    /// Incidents that paged from 22 to 6.
    pub nights: u64,
    /// Incidents that paged on a Saturday or a Sunday.
    pub weekends: u64,
    /// The most incidents of one shift.
    pub most_in_a_shift: u64,
    /// Shifts with more incidents than the budget.
    pub shifts_over_budget: u64,
    /// Incidents in percent of the budget for all shifts.
    pub budget_burned_percent: u64,
    /// Acknowledged incidents in percent. Missing without incidents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_percent: Option<u64>,
    /// Incidents whose page a person called useful or not.
    pub rated: u64,
    /// Useful pages in percent of the rated ones. Missing if none is rated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub useful_percent: Option<u64>,
    /// The share of the time in which at least one incident was open, in percent.
    pub toil_percent: u64,
    /// The shifts, the oldest first.
    pub shifts: Vec<ShiftEntry>,
    /// The weeks, the oldest first. The last one ends with the period.
    pub weeks: Vec<WeekEntry>,
}

/// One shift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Shift)]
#[serde(rename_all = "camelCase")]
pub struct ShiftEntry {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub end: Timestamp,
    /// Incidents that paged in it.
    pub incidents: u64,
}

/// Seven days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = OnCallWeek)]
#[serde(rename_all = "camelCase")]
pub struct WeekEntry {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// Incidents that paged in it.
    pub incidents: u64,
    /// The share of the time in which at least one incident was open, in percent.
    pub toil_percent: u64,
}

impl Reader {
    /// The load of the people on call from `since` on and before `until`.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the search takes longer than 5 s.
    pub fn on_call(
        &self,
        on_call: &OnCall,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<OnCallEntry, DecisionLogError> {
        let length = until.since(since);
        let (pages, known) =
            self.with(|conn| Ok((pages::read(conn, since - length, until)?, pages::known_since(conn)?)))?;
        Ok(OnCallEntry { counted_since: pages.cut_at, ..load(on_call, &pages.all, known, since, until) })
    }
}

/// Counts these pages. Squelch has decisions since `known`.
fn load(
    on_call: &OnCall,
    pages: &[SentPage],
    known: Option<Timestamp>,
    since: Timestamp,
    until: Timestamp,
) -> OnCallEntry {
    let before = since - until.since(since);
    let known_since = known.filter(|known| (since..until).contains(known));
    let from = known_since.unwrap_or(since);
    let shifts = shifts(on_call, from, until);
    let mut by_receiver: BTreeMap<&str, Vec<&SentPage>> = BTreeMap::new();
    for page in pages {
        by_receiver.entry(&page.receiver).or_default().push(page);
    }
    let each = by_receiver.into_iter().map(|(receiver, all)| {
        let entry = of_receiver(on_call, &shifts, &all, from, until);
        let incidents_before = known
            .filter(|known| *known <= before)
            .map(|_| all.iter().filter(|page| (before..since).contains(&page.at)).count() as u64);
        ReceiverLoadEntry { receiver: receiver.to_owned(), incidents_before, ..entry }
    });
    let mut receivers: Vec<ReceiverLoadEntry> =
        each.filter(|load| load.incidents + load.incidents_before.unwrap_or(0) > 0).collect();
    receivers.sort_by(|a, b| (b.incidents, &a.receiver).cmp(&(a.incidents, &b.receiver)));
    OnCallEntry {
        since,
        until,
        location: on_call.location.name().to_owned(),
        budget: BUDGET,
        toil_line_percent: TOIL_LINE,
        counted_since: None,
        known_since,
        receivers,
    }
}

fn of_receiver(
    on_call: &OnCall,
    shifts: &[(Timestamp, Timestamp)],
    all: &[&SentPage],
    since: Timestamp,
    until: Timestamp,
) -> ReceiverLoadEntry {
    let within =
        |from: Timestamp, to: Timestamp| all.iter().filter(move |page| (from..to).contains(&page.at));
    let count = |from, to| within(from, to).count() as u64;
    let shifts: Vec<ShiftEntry> = shifts
        .iter()
        .map(|(start, end)| {
            let incidents = count((*start).max(since), (*end).min(until));
            ShiftEntry { start: *start, end: *end, incidents }
        })
        .collect();
    let local = |page: &SentPage| on_call.location.civil(page.at);
    let weekend = |day: Weekday| matches!(day, Weekday::Saturday | Weekday::Sunday);
    let incidents = count(since, until);
    let acknowledged = within(since, until).filter(|one| one.acknowledged).count() as u64;
    let rated: Vec<bool> = within(since, until).filter_map(|one| one.useful).collect();
    let useful = rated.iter().filter(|useful| **useful).count() as u64;
    let allowed = BUDGET * shifts.len() as u64;
    let week = Duration::from_hours(7 * 24);
    let weeks = until.since(since).as_millis().div_ceil(week.as_millis());
    let weeks = (0..weeks).rev().map(|back| {
        let end = until - Duration::from_millis(week.as_millis() * back);
        let start = (end - week).max(since);
        WeekEntry { start, incidents: count(start, end), toil_percent: open_share(all, start, end) }
    });
    ReceiverLoadEntry {
        receiver: String::new(),
        incidents,
        internal: within(since, until).filter(|one| one.internal).count() as u64,
        second: within(since, until).filter(|one| one.second).count() as u64,
        incidents_before: None,
        nights: within(since, until).filter(|one| super::is_night(local(one).hour().into())).count() as u64,
        weekends: within(since, until).filter(|one| weekend(local(one).weekday())).count() as u64,
        most_in_a_shift: shifts.iter().map(|shift| shift.incidents).max().unwrap_or(0),
        shifts_over_budget: shifts.iter().filter(|shift| shift.incidents > BUDGET).count() as u64,
        budget_burned_percent: percent(incidents, allowed).unwrap_or(0),
        acknowledged_percent: percent(acknowledged, incidents),
        rated: rated.len() as u64,
        useful_percent: percent(useful, rated.len() as u64),
        toil_percent: open_share(all, since, until),
        weeks: weeks.collect(),
        shifts,
    }
}

/// The share of a time in which at least one incident was open, in percent.
fn open_share(all: &[&SentPage], from: Timestamp, to: Timestamp) -> u64 {
    let spans: BTreeSet<(Timestamp, Timestamp)> = all
        .iter()
        .map(|one| (one.at.max(from), one.closed_at.unwrap_or(to).min(to)))
        .filter(|(start, end)| start < end)
        .collect();
    let (mut open, mut reached) = (0, from);
    for (start, end) in spans {
        open += end.since(start.max(reached)).as_millis();
        reached = reached.max(end);
    }
    percent(open, to.since(from).as_millis()).unwrap_or(0)
}

/// The shifts that overlap a time, the oldest first.
fn shifts(on_call: &OnCall, since: Timestamp, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
    let zone = on_call.location.zone();
    let mut starts = BTreeSet::new();
    let (mut day, last) = (on_call.location.civil(since).date(), on_call.location.civil(until).date());
    // The shift at the beginning started on the day before at the latest, the last one ends on the day after.
    day = day.checked_sub(1.day()).unwrap_or(day);
    let last = last.checked_add(1.day()).unwrap_or(last);
    while day <= last {
        for minute in &on_call.shifts {
            let (hour, minute) = (minute / 60, minute % 60);
            let time = jiff::civil::time(hour as i8, minute as i8, 0, 0);
            // A time that a change of the clock leaves out begins after the change.
            if let Ok(start) = day.to_datetime(time).to_zoned(zone.clone()) {
                starts.insert(Timestamp::from_millis(start.timestamp().as_millisecond()));
            }
        }
        let Ok(next) = day.checked_add(1.day()) else { break };
        day = next;
    }
    let starts: Vec<Timestamp> = starts.into_iter().collect();
    let pairs = starts.windows(2).map(|pair| (pair[0], pair[1]));
    pairs.filter(|(start, end)| *end > since && *start < until).collect()
}

fn percent(part: u64, whole: u64) -> Option<u64> {
    (whole > 0).then(|| u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Location;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn page(sent: &str, minutes: u64) -> SentPage {
        let sent = at(sent);
        let closed_at = Some(sent + Duration::from_mins(minutes));
        SentPage { closed_at, ..pages::tests::page(sent, "pager") }
    }

    fn zurich() -> OnCall {
        OnCall { location: Location::named("Europe/Zurich").unwrap(), ..OnCall::default() }
    }

    #[test]
    fn shifts_follow_the_clock_on_the_wall() {
        // The clock goes back an hour on 2026-10-25 at 3:00, so the shift of that night has 13 hours.
        let all = shifts(&zurich(), at("2026-10-24T12:00:00Z"), at("2026-10-25T12:00:00Z"));
        let hours: Vec<u64> = all.iter().map(|(a, b)| b.since(*a).as_millis() / 3_600_000).collect();
        assert_eq!(hours, [12, 13, 12]);
        assert_eq!(all[0].0, at("2026-10-24T06:00:00Z"));
        assert_eq!(all[2].0, at("2026-10-25T07:00:00Z"));
    }

    #[test]
    fn counts_by_shift_night_and_weekend() {
        let mut incidents = vec![
            // Wednesday 2026-11-25, 23:30 in Zurich: one shift, at night.
            page("2026-11-25T22:30:00Z", 60),
            page("2026-11-25T22:40:00Z", 10),
            page("2026-11-26T02:00:00Z", 60),
            // Saturday, by day.
            page("2026-11-28T10:00:00Z", 60),
            // The week before.
            page("2026-11-18T10:00:00Z", 60),
        ];
        incidents[0].acknowledged = true;
        (incidents[0].useful, incidents[1].useful) = (Some(true), Some(false));
        (incidents[1].second, incidents[2].internal) = (true, true);
        let known = Some(at("2026-11-01T00:00:00Z"));
        let all = load(&zurich(), &incidents, known, at("2026-11-23T07:00:00Z"), at("2026-11-30T07:00:00Z"));
        assert_eq!(all.known_since, None);
        let [pager] = &all.receivers[..] else { panic!("{all:?}") };
        assert_eq!((pager.incidents, pager.incidents_before), (4, Some(1)));
        assert_eq!((pager.second, pager.internal), (1, 1));
        assert_eq!((pager.nights, pager.weekends), (3, 1));
        assert_eq!((pager.shifts.len(), pager.most_in_a_shift, pager.shifts_over_budget), (14, 3, 1));
        assert_eq!(pager.budget_burned_percent, 14);
        assert_eq!((pager.acknowledged_percent, pager.rated, pager.useful_percent), (Some(25), 2, Some(50)));
        // Overlapping incidents count once: 3 of 168 hours.
        assert_eq!((pager.toil_percent, pager.weeks.len()), (1, 1));
    }

    #[test]
    fn shifts_before_the_first_decision_do_not_dilute() {
        let known = at("2026-11-29T07:30:00Z");
        let pages = [page("2026-11-29T08:00:00Z", 60), page("2026-11-29T09:00:00Z", 60)];
        let (since, until) = (at("2026-11-02T07:00:00Z"), at("2026-11-30T07:00:00Z"));
        let all = load(&zurich(), &pages, Some(known), since, until);
        let [pager] = &all.receivers[..] else { panic!("{all:?}") };
        assert_eq!((all.known_since, pager.incidents_before), (Some(known), None));
        assert_eq!((pager.shifts.len(), pager.budget_burned_percent, pager.weeks.len()), (2, 50, 1));
        // Two hours of the 23 and a half that are known.
        assert_eq!(pager.toil_percent, 8);
    }

    #[test]
    fn what_is_open_for_the_whole_time_is_toil_throughout() {
        let open = SentPage { closed_at: None, ..page("2026-11-20T00:00:00Z", 0) };
        let (from, to) = (at("2026-11-23T00:00:00Z"), at("2026-11-24T00:00:00Z"));
        assert_eq!(open_share(&[&open], from, to), 100);
        assert_eq!(open_share(&[], from, to), 0);
    }
}
