//! Counting: the observations and notifications of a stretch of time, and which rules to fix first.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;

use super::pages::{self, SentPage};
use super::search::first_from;
use super::trend::RuleIncident;
use super::write::OBSERVED;
use super::{DecisionLogError, Reader};
use crate::config::Location;
use crate::model::{Cause, Duration, LabelSet, Timestamp};

/// Steps of [`Tally::over_time`].
const BUCKETS: u64 = 48;
/// The most decisions that are read, the newest. Older ones are left out, and [`Tally::cut_at`] says so.
const MOST_ROWS: i64 = 2_000_000;
/// The most occurrences whose length is kept. Further ones count, and their lengths do not.
const MOST_OCCURRENCES: usize = 500_000;
/// Sent pages that are compared with the decisions of profiles that observe, the newest.
const MOST_COMPARED: usize = 200;
/// Decisions about one occurrence that such a comparison reads.
const MOST_DECISIONS: i64 = 500;

/// The reasons of decisions about observations that changed their alert. A page, an update and a resolve
/// have none.
const CHANGES: [&str; 6] = ["", "grouped", "storm", "flapping", "rate_limited", "usual"];

/// Counts over a stretch of time. An observation counts once for each receiver that it went to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// From then.
    pub from: Timestamp,
    /// Until then.
    pub to: Timestamp,
    /// From when on it was counted, if there was more than `MOST_ROWS` decisions.
    pub cut_at: Option<Timestamp>,
    /// Observations that came in.
    pub came: u64,
    /// Observations that paged.
    pub paged: u64,
    /// Pages that went out: of incidents, of those about Squelch itself, and to second receivers.
    pub pages: u64,
    /// Pages of incidents about Squelch itself.
    pub internal_pages: u64,
    /// Pages that went to a second receiver: escalations and fallbacks.
    pub second_pages: u64,
    /// Observations by their disposition, and the reason where there is one.
    pub by_fate: BTreeMap<(String, String), u64>,
    /// The dispositions of profiles that only observe. They count nowhere else.
    pub observed: Observed,
    /// Observations and pages, from one [`Tally::step`] to the next.
    pub over_time: Vec<(u64, u64)>,
    /// Observations that interrupted no person, by the reason or else the disposition, from one
    /// [`Tally::step`] to the next.
    pub quiet: BTreeMap<String, Vec<u64>>,
    /// Whose wall clock counts for hours and nights.
    pub location: Location,
    /// Pages by day of the week, Monday first, and hour.
    pub by_week: [[u64; 24]; 7],
    /// By receiver: the observations, and the times of its pages.
    pub receivers: BTreeMap<String, (u64, Vec<Timestamp>)>,
    /// By alertname.
    pub names: BTreeMap<String, Name>,
    /// The incidents that paged, the newest first, at most 100,000.
    pub incidents: Vec<RuleIncident>,
    /// The pages that went out, by the name of the rule. See [`Tally::pages`].
    pub sent: Vec<SentPage>,
    /// The first decision that Squelch still has, if a tenth of the time is over by then.
    pub kept_since: Option<Timestamp>,
}

/// The dispositions of profiles that only observe.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Observations that came in.
    pub came: u64,
    /// Pages that went out as the sender sent them.
    pub sent: u64,
    /// Pages that would have gone out.
    pub pages: u64,
    /// Observations by the disposition that would have followed, as in [`Tally::by_fate`].
    pub by_fate: BTreeMap<(String, String), u64>,
    /// Pages that were sent and that Squelch would not have sent, the newest first, of the newest 200 pages.
    pub saved: Vec<Saved>,
}

/// A page that was sent as the sender sent it, and that Squelch would not have sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// When it was sent.
    pub at: Timestamp,
    /// The labels of the alert that it was sent for.
    pub labels: LabelSet,
    /// The receiver.
    pub receiver: String,
    /// The disposition that would have followed for the alert: the reason, or the disposition without one.
    pub fate: String,
}

/// The counts of the alerts of one name.
#[derive(Clone, Debug, Default)]
pub struct Name {
    /// Observations that came in.
    pub came: u64,
    /// Pages that went out.
    pub pages: u64,
    /// Observations that flap damping withheld.
    pub flaps: u64,
    /// Pages at night: from 22 to 6.
    pub night: u64,
    /// Occurrences that began in the time.
    pub fires: u64,
    /// The lengths of its occurrences, in milliseconds: from the start to the last statement.
    lasted: Vec<i64>,
}

/// One counted decision.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: i64,
    alert: i64,
    receiver: i64,
    kind: i64,
    count: u64,
    cause: i64,
    starts_at: Option<i64>,
}

/// The counts of one alert.
#[derive(Default)]
struct OneAlert {
    name: Name,
    /// The occurrences by their start.
    occurrences: BTreeMap<i64, Occurrence>,
}

/// The decisions with one start.
#[derive(Default)]
struct Occurrence {
    /// The last statement.
    last: i64,
    /// How many changes there were, by receiver.
    changes: Vec<(i64, u64)>,
}

impl Occurrence {
    fn add(&mut self, row: &Counted, reason: &str) {
        self.last = row.at.max(self.last);
        // The observations of other reasons may repeat one statement.
        if CHANGES.contains(&reason) {
            match self.changes.iter_mut().find(|(receiver, _)| *receiver == row.receiver) {
                Some((_, changes)) => *changes += row.count,
                None => self.changes.push((row.receiver, row.count)),
            }
        }
    }

    /// How often the alert fired. If it changed while its page waited, all these changes have the start of
    /// the last occurrence. Every other change is a firing.
    fn fires(&self) -> u64 {
        self.changes.iter().map(|(_, changes)| changes.div_ceil(2)).max().unwrap_or(1).max(1)
    }
}

/// The numbers of small tables, and their meanings.
struct Words {
    kinds: BTreeMap<i64, (String, String)>,
    /// Those of profiles that only observe.
    observed: BTreeSet<i64>,
    /// The texts of the cause by which Squelch forwards a statement as it came.
    as_sent: BTreeSet<i64>,
    receivers: BTreeMap<i64, String>,
}

impl Words {
    /// Whether this decision sent a page as the sender sent it.
    fn sent(&self, row: &Counted) -> bool {
        let page = self.kinds.get(&row.kind).is_some_and(|(disposition, _)| disposition == "page");
        page && !self.observed.contains(&row.kind) && self.as_sent.contains(&row.cause)
    }
}

impl Reader {
    /// Counts the decisions from `from` on and before `to`. Hours and nights are those of `location`.
    ///
    /// # Errors
    /// There is no decision log, it cannot be read, or the counting takes longer than 5 s.
    pub fn tally(
        &self,
        location: &Location,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Tally, DecisionLogError> {
        self.with(|conn| tally(conn, location, from, to))
    }
}

fn tally(
    conn: &Connection,
    location: &Location,
    from: Timestamp,
    to: Timestamp,
) -> Result<Tally, DecisionLogError> {
    let as_sent = serde_json::to_string(&Cause::PassedOn).unwrap_or_default();
    let mut words = Words {
        kinds: BTreeMap::new(),
        observed: BTreeSet::new(),
        as_sent: texts(conn, &as_sent)?,
        receivers: named(conn, "receiver")?,
    };
    for (id, kind) in named(conn, "kind")? {
        let real = kind.strip_prefix(OBSERVED);
        words.observed.extend(real.map(|_| id));
        let (disposition, reason) =
            real.unwrap_or(&kind).split_once(' ').unwrap_or((real.unwrap_or(&kind), ""));
        words.kinds.insert(id, (disposition.to_owned(), reason.to_owned()));
    }
    let mut tally = Tally { location: location.clone(), ..Tally::new(from, to) };
    let mut alerts: BTreeMap<i64, OneAlert> = BTreeMap::new();
    let (first, end) = (first_from(conn, from)?, first_from(conn, to)?);
    let mut statement = conn.prepare_cached(
        "SELECT at, alert, receiver, kind, count, cause, starts_at FROM decision
         WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?",
    )?;
    let mut rows = statement.query([first, end, MOST_ROWS])?;
    let (mut read, mut occurrences, mut last) = (0, 0, 0);
    let mut sent: Vec<Counted> = Vec::new();
    while let Some(row) = rows.next()? {
        let counted = Counted {
            at: row.get(0)?,
            alert: row.get(1)?,
            receiver: row.get(2)?,
            kind: row.get(3)?,
            count: row.get::<_, i64>(4)?.unsigned_abs(),
            cause: row.get(5)?,
            starts_at: row.get(6)?,
        };
        (read, last) = (read + 1, counted.at);
        if sent.len() < MOST_COMPARED && words.sent(&counted) {
            sent.push(counted);
        }
        tally.add(&words, &counted, alerts.entry(counted.alert).or_default(), &mut occurrences);
    }
    tally.cut_at = (read >= MOST_ROWS).then(|| Timestamp::from_millis(last));
    let mut labels = conn.prepare_cached("SELECT labels FROM alert WHERE id = ?")?;
    let mut read = |id: i64| -> Result<LabelSet, DecisionLogError> {
        let text: String = labels.query_row([id], |row| row.get(0))?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    };
    for (id, one) in &alerts {
        tally.names.entry(read(*id)?.value("alertname").to_owned()).or_default().add(one, from);
    }
    for page in sent.into_iter().filter(|_| tally.observed.came > 0) {
        let Some(fate) = would_have_been(conn, &words, &page, first)? else { continue };
        let receiver = words.receivers.get(&page.receiver).cloned().unwrap_or_default();
        let at = Timestamp::from_millis(page.at);
        tally.observed.saved.push(Saved { at, labels: read(page.alert)?, receiver, fate });
    }
    let pages = pages::read(conn, from, to)?;
    tally.cut_at = tally.cut_at.max(pages.cut_at.filter(|cut| *cut > from));
    tally.page(pages.all);
    tally.kept_since = pages::first_decision(conn)?.filter(|oldest| {
        // A quiet beginning is no gap.
        oldest.since(from).as_millis() > to.since(from).as_millis() / 10
    });
    Ok(tally)
}

/// The action that a profile in observe mode would have taken for the occurrence of a sent page. `None` if
/// it would have paged too, or has not decided.
fn would_have_been(
    conn: &Connection,
    words: &Words,
    page: &Counted,
    first: i64,
) -> Result<Option<String>, rusqlite::Error> {
    let mut statement = conn.prepare_cached(
        "SELECT kind FROM decision
         WHERE alert = ? AND receiver = ? AND starts_at IS ? AND id >= ? ORDER BY id LIMIT ?",
    )?;
    let asked = rusqlite::params![page.alert, page.receiver, page.starts_at, first, MOST_DECISIONS];
    let kinds: Vec<i64> = statement.query_map(asked, |row| row.get(0))?.collect::<Result<_, _>>()?;
    let fates =
        kinds.iter().filter(|kind| words.observed.contains(kind)).filter_map(|kind| words.kinds.get(kind));
    let fates: Vec<&(String, String)> = fates.collect();
    if fates.iter().any(|(disposition, _)| disposition == "page") {
        return Ok(None);
    }
    // Repeats say least.
    let telling = fates.iter().find(|(_, reason)| reason != "duplicate").or(fates.first());
    Ok(telling.map(|fate| word(fate).to_owned()))
}

/// The numbers of a text: it has one for each day.
fn texts(conn: &Connection, text: &str) -> Result<BTreeSet<i64>, rusqlite::Error> {
    let mut statement = conn.prepare_cached("SELECT id FROM text WHERE text = ?")?;
    statement.query_map([text], |row| row.get(0))?.collect()
}

/// The reason of a fate, or the disposition without one.
fn word((disposition, reason): &(String, String)) -> &str {
    if reason.is_empty() { disposition } else { reason }
}

/// The names of a small table by their numbers.
fn named(conn: &Connection, table: &str) -> Result<BTreeMap<i64, String>, rusqlite::Error> {
    let mut statement = conn.prepare_cached(&format!("SELECT id, name FROM {table}"))?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

impl Tally {
    /// Nothing is counted yet. Hours are those of UTC.
    pub fn new(from: Timestamp, to: Timestamp) -> Tally {
        Tally { from, to, over_time: vec![(0, 0); BUCKETS as usize], ..Tally::default() }
    }

    fn add(&mut self, words: &Words, row: &Counted, alert: &mut OneAlert, occurrences: &mut usize) {
        let Some((disposition, reason)) = words.kinds.get(&row.kind) else { return };
        let at = Timestamp::from_millis(row.at);
        let page = u64::from(disposition == "page");
        if words.observed.contains(&row.kind) {
            self.observed.came += row.count;
            self.observed.pages += page;
            *self.observed.by_fate.entry((disposition.clone(), reason.clone())).or_default() += row.count;
            return;
        }
        self.came += row.count;
        self.paged += page;
        self.observed.sent += u64::from(words.sent(row));
        *self.by_fate.entry((disposition.clone(), reason.clone())).or_default() += row.count;
        let index = self.bucket(at);
        if let Some((came, _)) = self.over_time.get_mut(index) {
            *came += row.count;
        }
        if page == 0 {
            let fate = word(&words.kinds[&row.kind]);
            let steps = match self.quiet.get_mut(fate) {
                Some(known) => known,
                None => self.quiet.entry(fate.to_owned()).or_insert_with(|| vec![0; BUCKETS as usize]),
            };
            steps[index] += row.count;
        }
        if let Some(receiver) = words.receivers.get(&row.receiver) {
            match self.receivers.get_mut(receiver) {
                Some((came, _)) => *came += row.count,
                None => self.receivers.entry(receiver.clone()).or_default().0 = row.count,
            }
        }
        let name = &mut alert.name;
        name.came += row.count;
        name.flaps += if reason == "flapping" { row.count } else { 0 };
        let Some(start) = row.starts_at else { return };
        if let Some(known) = alert.occurrences.get_mut(&start) {
            known.add(row, reason);
        } else if *occurrences < MOST_OCCURRENCES {
            *occurrences += 1;
            let mut new = Occurrence { last: start, ..Occurrence::default() };
            new.add(row, reason);
            alert.occurrences.insert(start, new);
        }
    }

    /// Counts the pages that were sent in the time.
    fn page(&mut self, pages: Vec<SentPage>) {
        self.sent = pages.into_iter().filter(|page| (self.from..self.to).contains(&page.at)).collect();
        self.sent.sort_by_key(|page| page.at);
        self.pages = self.sent.len() as u64;
        self.internal_pages = self.sent.iter().filter(|page| page.internal).count() as u64;
        self.second_pages = self.sent.iter().filter(|page| page.second).count() as u64;
        self.incidents = self.sent.iter().rev().filter(|page| !page.second).map(SentPage::incident).collect();
        for page in &self.sent {
            let index = self.bucket(page.at);
            if let Some((_, pages)) = self.over_time.get_mut(index) {
                *pages += 1;
            }
            let local = self.location.civil(page.at);
            let (day, hour) = (local.date().weekday().to_monday_zero_offset(), local.hour());
            self.by_week[day.unsigned_abs() as usize][hour.unsigned_abs() as usize] += 1;
            self.receivers.entry(page.receiver.clone()).or_default().1.push(page.at);
            let name = self.names.entry(page.rule.clone()).or_default();
            name.pages += 1;
            name.night += u64::from(super::is_night(hour.into()));
        }
    }

    /// The step of [`Tally::over_time`] that has this time.
    fn bucket(&self, at: Timestamp) -> usize {
        let step = at.since(self.from).as_millis() / self.step().as_millis();
        step.min(BUCKETS - 1) as usize
    }

    /// The length of one step of [`Tally::over_time`].
    pub fn step(&self) -> Duration {
        Duration::from_millis((self.to.since(self.from).as_millis() / BUCKETS).max(1))
    }

    /// The share of observations that interrupted no person, in percent, rounded down.
    pub fn removed(&self) -> Option<u64> {
        removed(self.came, self.paged)
    }

    /// Occurrences that began, of all names.
    pub fn fires(&self) -> u64 {
        self.names.values().map(|name| name.fires).sum()
    }

    /// The incidents that an alert of this name opened.
    pub fn incidents_of<'a>(&'a self, alertname: &'a str) -> impl Iterator<Item = &'a RuleIncident> {
        self.incidents.iter().filter(move |incident| incident.rule == alertname)
    }

    /// The times of the pages of the incidents that an alert of this name opened.
    pub fn pages_of<'a>(&'a self, alertname: &'a str) -> impl Iterator<Item = Timestamp> {
        self.sent.iter().filter(move |page| page.rule == alertname).map(|page| page.at)
    }

    /// The most frequent names, with their counts.
    pub fn top(&self, most: usize) -> Vec<(&str, &Name)> {
        let mut names: Vec<_> = self.names.iter().map(|(name, counts)| (name.as_str(), counts)).collect();
        names.sort_by_key(|(name, counts)| (std::cmp::Reverse((counts.came, counts.pages)), *name));
        names.truncate(most);
        names
    }

    /// The most pages at a receiver within any stretch of `per`.
    pub fn most_pages(&self, receiver: &str, per: Duration) -> u64 {
        let Some((_, paged)) = self.receivers.get(receiver) else { return 0 };
        let (mut most, mut first) = (0, 0);
        for (index, at) in paged.iter().enumerate() {
            while paged.get(first).is_some_and(|begin| at.since(*begin) >= per) {
                first += 1;
            }
            most = most.max(index + 1 - first);
        }
        most as u64
    }
}

/// A part of `whole` in percent, rounded to the nearest.
pub fn share(part: u64, whole: u64) -> u64 {
    let (part, whole) = (u128::from(part), u128::from(whole.max(1)));
    u64::try_from((part * 200 + whole) / (whole * 2)).unwrap_or(100)
}

/// The share of `came` that did not page, in percent, rounded down.
pub fn removed(came: u64, pages: u64) -> Option<u64> {
    (came > 0)
        .then(|| u64::try_from(u128::from(came - pages.min(came)) * 100 / u128::from(came)).unwrap_or(0))
}

impl Name {
    /// How long its occurrences lasted, in the median.
    pub fn lasted(&self) -> Option<Duration> {
        let mut all = self.lasted.clone();
        all.sort_unstable();
        all.get(all.len() / 2).map(|millis| Duration::from_millis(millis.unsigned_abs()))
    }

    fn add(&mut self, one: &OneAlert, from: Timestamp) {
        self.fires += one.occurrences.range(from.as_millis()..).map(|(_, one)| one.fires()).sum::<u64>();
        self.came += one.name.came;
        self.flaps += one.name.flaps;
        self.lasted.extend(one.occurrences.iter().map(|(start, one)| one.last - start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All changes of an alert that waits for its page have the start of its last occurrence.
    #[test]
    fn an_alert_that_fires_again_and_again_before_its_page_fired_each_time() {
        let kind = |disposition: &str, reason: &str| (disposition.to_owned(), reason.to_owned());
        let kinds = [kind("page", ""), kind("suppressed", "grouped"), kind("resolve", "")];
        let words = Words {
            kinds: (1..).zip([&kinds[..], &[kind("suppressed", "duplicate")]].concat()).collect(),
            observed: [].into(),
            as_sent: [].into(),
            receivers: [].into(),
        };
        let fires = |rows: &[(i64, i64, u64)]| {
            let (mut alert, mut occurrences) = (OneAlert::default(), 0);
            let mut tally = Tally::new(Timestamp::ZERO, Timestamp::from_millis(100_000));
            for &(receiver, kind, count) in rows {
                let row = Counted { at: 9, alert: 1, receiver, kind, count, cause: 1, starts_at: Some(5) };
                tally.add(&words, &row, &mut alert, &mut occurrences);
            }
            let mut name = Name::default();
            name.add(&alert, Timestamp::ZERO);
            name.fires
        };
        assert_eq!(fires(&[(1, 1, 1), (1, 2, 1), (1, 2, 18)]), 10);
        assert_eq!(fires(&[(1, 1, 1), (1, 4, 500), (1, 3, 1)]), 1, "repeats are no firings");
        assert_eq!(fires(&[(1, 1, 1), (2, 1, 1), (1, 3, 1), (2, 3, 1)]), 1, "two receivers, one occurrence");
    }

    #[test]
    fn counts_what_came_what_paged_and_what_woke_somebody() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let kind = |disposition: &str, reason: &str| (disposition.to_owned(), reason.to_owned());
        let words = Words {
            kinds: [(1, kind("page", "")), (2, kind("suppressed", "flapping")), (3, kind("page", ""))].into(),
            observed: [3].into(),
            as_sent: [9].into(),
            receivers: [(1, "pager".to_owned())].into(),
        };
        let mut tally = Tally::new(at("2026-11-25T00:00:00Z"), at("2026-11-26T00:00:00Z"));
        let (mut alert, mut occurrences) = (OneAlert::default(), 0);
        let start = at("2026-11-25T01:00:00Z").as_millis();
        for (time, kind, cause, count) in [
            ("2026-11-25T12:00:00Z", 2, 9, 9),
            ("2026-11-25T01:10:00Z", 1, 9, 1),
            ("2026-11-25T01:00:00Z", 1, 8, 1),
            ("2026-11-25T01:00:00Z", 3, 9, 4),
        ] {
            let at = at(time).as_millis();
            let row = Counted { at, alert: 1, receiver: 1, kind, count, cause, starts_at: Some(start) };
            tally.add(&words, &row, &mut alert, &mut occurrences);
        }
        tally.names.entry("Disk".into()).or_default().add(&alert, tally.from);
        let page = |time: &str| pages::tests::page(at(time), "pager");
        let about_squelch =
            SentPage { rule: "SquelchFull".into(), internal: true, ..page("2026-11-25T12:00:00Z") };
        let escalated = SentPage { second: true, ..pages::tests::page(at("2026-11-25T01:30:00Z"), "boss") };
        let yesterday = page("2026-11-24T23:59:59Z");
        let all =
            [page("2026-11-25T01:10:00Z"), page("2026-11-25T01:00:00Z"), escalated, about_squelch, yesterday];
        tally.page(all.to_vec());
        assert_eq!((tally.came, tally.paged, tally.removed()), (11, 2, Some(81)));
        assert_eq!((tally.pages, tally.internal_pages, tally.second_pages), (4, 1, 1));
        assert_eq!(tally.incidents.len(), 3, "an escalation is no incident of its own");
        assert_eq!(tally.receivers["boss"], (0, vec![at("2026-11-25T01:30:00Z")]));
        assert_eq!((tally.names["SquelchFull"].pages, tally.pages_of("Disk").count()), (1, 3));
        assert_eq!(
            (tally.observed.came, tally.observed.pages, tally.observed.sent),
            (4, 1, 1),
            "what was only observed counts apart"
        );
        let (name, disk) = tally.top(5)[0];
        assert_eq!((name, disk.came, disk.pages, disk.flaps, disk.night), ("Disk", 11, 3, 9, 3));
        assert_eq!((disk.fires, disk.lasted()), (6, Some(Duration::from_hours(11))), "11 changes");
        let mut later = Name::default();
        later.add(&alert, at("2026-11-25T01:00:01Z"));
        assert_eq!((later.fires, later.came), (0, 11), "an occurrence that began before does not fire anew");
        assert_eq!((tally.over_time[2], tally.over_time[24]), ((2, 2), (9, 1)));
        assert_eq!(tally.by_fate[&kind("suppressed", "flapping")], 9);
        assert_eq!(tally.quiet.keys().collect::<Vec<_>>(), ["flapping"], "a page is not quiet");
        assert_eq!((tally.quiet["flapping"][24], tally.quiet["flapping"].iter().sum::<u64>()), (9, 9));
        assert_eq!(tally.by_week[2][1], 3, "the 25th is a Wednesday");
        assert_eq!(tally.by_week.iter().flatten().sum::<u64>(), 4);
        // In Los Angeles it is the evening before.
        let location = Location::named("America/Los_Angeles").unwrap();
        let mut there =
            Tally { location, ..Tally::new(at("2026-11-25T00:00:00Z"), at("2026-11-26T00:00:00Z")) };
        there.page(all.to_vec());
        assert_eq!((there.by_week[1][17], there.names["Disk"].night), (3, 0));
        assert_eq!(tally.most_pages("pager", Duration::from_mins(11)), 2);
        assert_eq!(tally.most_pages("pager", Duration::from_mins(10)), 1);
        assert_eq!((Tally::default().removed(), removed(u64::MAX, 0)), (None, Some(100)));
        assert_eq!(
            [share(291, 301), share(10, 301), share(0, 0), share(u64::MAX, u64::MAX)],
            [97, 3, 0, 100]
        );
    }
}
