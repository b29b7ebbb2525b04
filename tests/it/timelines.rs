//! Timelines as data: the input with its times, and under it the notifications and the decisions.
//!
//! `tests/data/timelines/*.txt`: a configuration, a line `---`, then steps `TIME VERB …`. The verb is the
//! peer that speaks, `silence ID until=TIME MATCHERS`, `expire ID`, `wait`, or `boot` (the program was down
//! until then). It may also be an action of receivers. The indented lines under a step are the effects of
//! it and of the time before it. `UPDATE_GOLDEN=1` writes them anew. Read the difference before you keep
//! it.

use std::fmt::Write as _;
use std::path::Path;

use squelch::engine::testing::*;
use squelch::engine::{Engine, Event};
use squelch::model::{
    AlertId, Duration, LabelSet, Observation, Silence, SilenceChange, Source, Status, Timestamp,
    parse_matchers,
};

use crate::repository;

macro_rules! timelines {
    ($($name:ident)*) => { $(#[test] fn $name() { check(stringify!($name)); })* };
}

timelines! {
    duplicates_of_an_ha_pair_count_once
    duplicates_a_copy_from_the_other_member_waits_a_minute
    duplicates_a_refire_from_the_same_member_counts_at_once
    duplicates_a_later_start_means_a_missed_resolve
    duplicates_an_old_resolve_ends_nothing_that_fires_now
    duplicates_a_page_that_failed_suppresses_nothing
    duplicates_replicas_are_one_alert
    repeats_are_owned_here
    absence_is_not_a_resolve
    absence_during_a_hold_pages_nobody
    absence_after_downtime_nothing_has_lapsed
    prometheus_resends_extend_and_silence_resolves
    flap_damping_holds_resolves_and_tells_once
    flap_damping_ends_firing_with_a_new_page
    flap_damping_max_hold_tells_the_truth
    flap_damping_a_flapper_that_stays_down_pages
    flap_damping_flappers_that_come_together_page
    flap_damping_joins_a_page_of_its_group
    resolve_hold_swallows_a_short_gap
    coalescing_wait_tells_what_recovered_meanwhile
    usual_an_alert_that_fires_often_opens_no_page
    hold_a_series_that_fired_before_waits_and_a_fan_out_releases_it
    stay_open_again_what_came_back_once_may_do_so_again
    rolling_more_of_the_same_is_no_page
    generations_the_window_counts_from_the_page
    generations_a_chronic_alert_swallows_nothing
    generations_an_alert_that_blips_returns_to_its_own_incident
    worse_a_higher_severity_pages_again
    worse_three_times_the_alerts_pages_again
    worse_few_alerts_are_no_growth
    hold_counts_from_the_start_and_critical_never_waits
    limit_overflow_is_merged_into_one_page
    limit_never_holds_a_critical_page
    storm_is_one_incident_and_closes_with_its_last_alert
    storm_merges_critical_pages_within_a_minute
    storm_pages_a_critical_alert_that_was_short
    routes_continue_and_a_receiver_without_integrations
    order_a_resolve_waits_for_its_page
    reload_keeps_what_is_open
    unknown_severity_is_the_highest
    silence_on_an_open_incident_stops_repeats_and_lets_the_resolve_through
    silence_swallows_no_later_occurrence
    silence_that_ends_pages_what_still_fires
    silence_that_begins_calls_off_a_page_that_waits
    mute_window_pages_in_the_morning_what_still_fires
    mute_window_active_intervals_mute_outside
    mute_a_second_cause_keeps_it_muted
    mute_a_refire_in_an_open_incident_enters_later
    inhibition_in_one_request_in_either_order
    inhibition_lasts_as_long_as_the_source_and_the_last_of_several
    inhibition_what_matches_both_sides_is_not_muted_by_its_like
    inhibition_that_comes_late_keeps_the_incident_open_without_repeats
    digest_names_what_recovered_after_a_restart_too
    digest_names_what_is_kept_quiet_for_as_long_as_it_fires
    digest_waits_for_the_last_one_and_what_was_refused_is_told_again
    digest_that_is_refused_is_an_alarm_until_one_is_taken
    digest_knows_still_what_resolved_a_day_ago
    digest_nothing_held_back_is_no_digest_and_off_is_off
    heartbeat_its_silence_pages_and_its_firing_does_not
    heartbeat_never_heard_pages_too
    self_check_a_silence_is_no_alarm_and_a_page_in_time_is_none
    self_check_a_page_that_hangs_is_an_alarm_until_it_is_taken
    self_check_whatever_keeps_an_alert_back_is_an_alarm
    self_check_an_inhibited_alert_is_explained_by_what_was_told
    fallback_is_told_of_what_was_refused_and_of_its_end
    fallback_is_told_of_what_is_not_taken_in_time
}

fn check(name: &str) {
    let path = format!("tests/data/timelines/{name}.txt");
    let text = repository::read(&path);
    let (config, steps) = text.split_once("\n---\n").expect("a line --- after the configuration");
    let parsed = squelch::config::parse(config, name, Path::new(".")).unwrap_or_else(|e| panic!("{e}"));
    let mut told = Told { world: World::new(parsed.policy), sent: 0, decided: 0, out: String::new() };
    let mut got = format!("{config}\n---\n");
    for step in steps.lines().filter(|l| !l.starts_with("    ") && !l.is_empty()) {
        if step.starts_with('#') {
            got += &format!("\n{step}\n");
            continue;
        }
        told.step(step);
        got += &format!("{step}\n{}", std::mem::take(&mut told.out));
    }
    repository::is_golden(path, &got);
}

struct Told {
    world: World,
    sent: usize,
    decided: usize,
    out: String,
}

impl Told {
    fn step(&mut self, line: &str) {
        let (time, rest) = line.split_once(' ').expect("TIME VERB");
        let at = START + time.parse::<Duration>().expect("a duration from the start");
        let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "boot" => self.world.now = at,
            _ => self.world.advance(at.since(self.world.now)),
        }
        self.write();
        match verb {
            "wait" => {}
            "accept" => self.world.answers = Answers::Accept,
            "hang" => self.world.answers = Answers::Hang,
            "reject" => self.world.answers = Answers::Reject,
            "answer" => self.world.answer(rest == "accept"),
            "boot" => {
                self.world.engine = Engine::restore(&self.world.engine.snapshot()).unwrap();
                self.world.handle(Event::Started);
            }
            "silence" => {
                let silence = silence(rest, self.world.now);
                self.world.handle(Event::Silence(SilenceChange::Set { silence, replaces: None }));
            }
            "expire" => self.world.handle(Event::Silence(SilenceChange::Expire { id: rest.into() })),
            "route" => {
                let mut policy = self.world.engine.policy().clone();
                policy.routes[0].key = rest.into();
                self.world.handle(Event::Policy(Box::new(policy)));
            }
            peer => self.say(peer, rest),
        }
        self.write();
    }

    fn say(&mut self, peer: &str, rest: &str) {
        let now = self.world.now;
        let observations: Vec<_> = rest.split("; ").map(|text| observation(text, now)).collect();
        match peer.starts_with("prom") {
            true => self.world.say(Source::Prometheus, peer, observations),
            false => self.world.webhook(peer, observations),
        }
    }

    fn write(&mut self) {
        let name = |world: &World, id: AlertId| {
            let alert = world.labels_of(id);
            alert.map(|labels| short(&labels)).unwrap_or_else(|| "unknown".into())
        };
        let mut lines = Vec::new();
        for n in &self.world.sent[self.sent..] {
            let alerts: Vec<String> = n
                .alerts
                .iter()
                .map(|a| {
                    let sign = if a.status == Status::Firing { '+' } else { '-' };
                    format!("{sign}{}{}", short(&a.labels), if a.flaps.is_some() { "~" } else { "" })
                })
                .collect();
            lines.push((
                n.at,
                0,
                format!(
                    "{} → {}/{} #{} {} [{}] {}",
                    n.kind.as_str(),
                    n.receiver,
                    n.integration,
                    n.generation,
                    n.severity,
                    alerts.join(" "),
                    brief(&n.cause)
                ),
            ));
        }
        for d in &self.world.decisions[self.decided..] {
            let count = if d.count == 1 { String::new() } else { format!(" ×{}", d.count) };
            let what = match d.disposition.reason() {
                "" => d.disposition.as_str().to_owned(),
                reason => format!("{}/{reason}", d.disposition.as_str()),
            };
            let muted = matches!(d.disposition.reason(), "silenced" | "muted");
            let release = d.release.filter(|_| muted);
            let release = release.map(|at| format!(" (until {})", at.since(START))).unwrap_or_default();
            let text = format!(
                "{}{count} at {}: {what}: {}{release}",
                name(&self.world, d.alert),
                d.receiver,
                brief(&d.cause)
            );
            lines.push((d.at, 1, text));
        }
        (self.sent, self.decided) = (self.world.sent.len(), self.world.decisions.len());
        lines.sort_by_key(|(at, order, _)| (*at, *order));
        for (at, _, line) in lines {
            let _ = writeln!(self.out, "    {} {line}", at.since(START));
        }
    }
}

/// `night until=2h alertname=A`
fn silence(text: &str, now: Timestamp) -> Silence {
    let (id, rest) = text.split_once(" until=").expect("an id, and until when");
    let (until, matchers) = rest.split_once(' ').expect("matchers");
    Silence {
        id: id.into(),
        matchers: vec![parse_matchers(matchers).unwrap()],
        starts_at: now,
        ends_at: START + until.parse::<Duration>().unwrap(),
        updated_at: now,
        created_by: "me".into(),
        comment: "work".into(),
    }
}

/// `A{i=1}`: the name and its other labels.
fn short(labels: &LabelSet) -> String {
    let rest = labels.iter().filter(|(n, _)| !matches!(*n, "alertname" | "severity"));
    let rest: Vec<String> = rest.map(|(n, v)| format!("{n}={v}")).collect();
    let name = labels.value("alertname");
    if rest.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", rest.join(",")) }
}

/// `firing A i=1 severity=critical since=30s until=5m`. `since` and `until` count from the start.
fn observation(text: &str, now: Timestamp) -> Observation {
    let mut words = text.split(' ');
    let status = words.next().unwrap();
    let mut pairs = vec![("alertname", words.next().unwrap())];
    let (mut starts_at, mut ends_at) = (now, None);
    for word in words {
        let (name, value) = word.split_once('=').unwrap();
        let time = || START + value.parse::<Duration>().unwrap();
        match name {
            "since" => starts_at = time(),
            "until" => ends_at = Some(time()),
            _ => pairs.push((name, value)),
        }
    }
    let labels = labels(&pairs);
    match status {
        "firing" => Observation { ends_at, ..firing(&labels, starts_at) },
        "resolved" => resolved(&labels, starts_at, ends_at.unwrap_or(now)),
        other => panic!("{other}: firing or resolved"),
    }
}
