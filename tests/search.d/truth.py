"""The truth about a scenario: when alerts fire, where they go, and which silence the documents allow."""

import functools
import json
import re
from datetime import datetime

import scenario as S
from scenario import DAY, HOUR, MIN

EVERY_LEVEL = ["critical", "warning", "info"]
DEFAULT = {
    "flapping": {"half_life": 30 * MIN, "suppress_at": 5, "confirm": 10 * MIN},
    "resolve_hold": 2 * MIN,
    "merge_window": 15 * MIN,
    "growth": 5,
    "rolling": 6 * MIN,
    "escalate": True,
    "wait": 0,
    "usual_per_day": 0,
    "busy": {"wait": 5 * MIN, "usual_per_day": 0},
    "alone": {"pages": 3, "levels": []},
    "hold": {"for": 0, "levels": []},
    "storm": {"start": 10, "window": 10 * MIN},
    "limit": {"pages": 6, "per": 10 * MIN},
    "digest": 24 * HOUR,
    "mode": "enforce",
}
OFF = {"suppress_at": 0}
BUILT_IN = {
    "balanced": {
        "flapping": OFF,
        "resolve_hold": 0,
        "wait": 2 * MIN,
        "usual_per_day": 5,
        "alone": {"pages": 0},
        "busy": {"wait": 15 * MIN, "usual_per_day": 13},
        "hold": {"for": 10 * MIN, "levels": ["critical"]},
    },
    "quiet": {
        "flapping": OFF,
        "wait": 5 * MIN,
        "usual_per_day": 0.4,
        "alone": {"pages": 0},
        "busy": {"wait": 0},
    },
    "calm": {"alone": {"pages": 1, "levels": EVERY_LEVEL}},
}
# These numbers are in docs/concepts/ and config/squelch.yml.
FLAPS_HALF_LIVES, GROWTH_FROM, BUSY_PAGES, ALONE_QUIET, ALONE_LASTS = 8, 12, 24, 2 * HOUR, 30 * MIN
MERGED = "more pages were due than a limit or a storm allows"


def overlaid(base, changes):
    """The profile with other values of some keys."""
    return {**base, **{k: {**base.get(k, {}), **v} if isinstance(v, dict) else v for k, v in changes.items()}}


def profile(s, name):
    """All keys of a profile."""
    mine = s["noise"].get(name, {})
    out = overlaid(overlaid(DEFAULT, BUILT_IN.get(name, {})), mine)
    if "flapping" in mine and "alone" not in mine:
        out["alone"] = {"pages": 0, "levels": []}
    return out


def matches(matcher, labels):
    name, op, value = re.fullmatch(r'(\w+)(=~|!~|!=|=)"(.*)"', matcher).groups()
    have = labels.get(name, "")
    hit = re.fullmatch(value, have) is not None if "~" in op else have == value
    return hit if op in ("=", "=~") else not hit


class Destination:
    """A route with its receiver, and the settings that it inherits."""

    def __init__(self, s, node, parents):
        get = lambda key, default: next((n[key] for n in reversed([*parents, node]) if key in n), default)
        self.receiver, self.group_by = get("receiver", None), get("group_by", [])
        # Two siblings may be equal, so the identity of the node counts.
        self.node = id(node)
        self.group_wait, self.group_interval = get("group_wait", 0), get("group_interval", 15)
        self.repeat_interval = get("repeat_interval", 4 * HOUR)
        self.noise = profile(s, get("noise", "default"))
        self.mute, self.active = node.get("mute_time_intervals", []), node.get("active_time_intervals", [])

    def group(self, labels):
        if self.group_by == ["..."]:
            return tuple(sorted(labels.items()))
        return tuple(labels.get(k, "") for k in self.group_by)


def destinations(s, labels):
    """Alertmanager's way through the tree, two levels deep."""
    out = []
    for child in s["route"].get("routes", []):
        if all(matches(m, labels) for m in child["matchers"]):
            out.append(Destination(s, child, [s["route"]]))
            if not child.get("continue"):
                return out
    return out or [Destination(s, s["route"], [])]


def subtract(spans, cuts):
    for a, b in cuts:
        spans = [(x, y) for s, e in spans for x, y in ((s, min(e, a)), (max(s, b), e)) if y > x]
    return spans


class Alert:
    """The truth about one alert."""

    def __init__(self, s, spec):
        self.labels, self.occ, self.sevs = spec["labels"], spec["occ"], spec.get("sevs")
        self.name = "/".join(v for _, v in sorted(self.labels.items()))
        marks = self.sevs or [[0, self.labels.get("severity", "")]]
        self.levels = [S.severity_level({"severity": v}) for _, v in marks]
        # The lowest level of an alert that changes it: the oracle demands no more than this.
        self.level = max(self.levels)
        self.level_names = {s["levels"][n]["name"] for n in self.levels}
        self.never_hold = self.level == 0
        self.hold = max(s["levels"][n].get("hold", 0) for n in self.levels)
        self.destinations = destinations(s, self.labels)
        self.changes = sorted(t for o in self.occ for t in o)
        if self.sevs:
            self.changes = sorted(
                self.changes + [a + int(x * (b - a)) for a, b in self.occ for x, _ in self.sevs]
            )
        if s["sender"] == "prompair":
            # Each replica states a start of its own.
            self.changes = sorted(self.changes * 2)

    def at(self, receiver):
        return [d for d in self.destinations if d.receiver == receiver]

    def surely(self, t, slack):
        """Whether it certainly fires at t."""
        return any(a + slack <= t <= b - slack for a, b in self.occ)

    def maybe(self, t, slack):
        """Whether it may fire at t."""
        return any(a - slack <= t <= b + slack for a, b in self.occ)

    def occurrence(self, t):
        return next((o for o in self.occ if o[0] <= t <= o[1]), None)

    def spans(self):
        """[(from, to, level)]: the parts of its occurrences with one level each."""
        for a, b in self.occ:
            at = [a + int(x * (b - a)) for x, _ in self.sevs or [[0, ""]]] + [b]
            yield from zip(at, at[1:], self.levels)


class Truth:
    """When each alert truly fires, and which silence is allowed."""

    def __init__(self, s, rows):
        self.s, self.rows = s, rows
        self.alerts = [Alert(s, a) for a in s["alerts"]]
        self.ignored = s.get("ignore_labels") or ["prometheus_replica"]
        self.by_labels = {frozenset(a.labels.items()): a for a in self.alerts}
        # The delay of the members of a pair. After a resolve, Squelch believes the other member after 60 s.
        lag = max(abs(x) for pair in s["lag"] for x in pair)
        self.slack = lag + 61 if s["sender"] in ("pair", "prompair", "both") else 1
        self.start = datetime.fromisoformat(s["start"].replace("Z", "+00:00")).timestamp()
        self.horizon = S.until(s)
        # A mute that ends counts as a change, so the oracle cannot tell which alerts flap.
        self.mutable = bool(s.get("inhibit_rules") or s.get("time_intervals"))
        self.hangs = [b for _, b, how in s.get("deliveries", []) if how == "hang"]
        self.merged_at = {r.receiver for r in rows if MERGED in r.why}
        pages = [r.receiver for r in rows if r.kind == "page"]
        self.busy = {r for r in pages if pages.count(r) >= BUSY_PAGES}

    def find(self, shown):
        """The alert of a label set in a notification."""
        return self.by_labels.get(frozenset((k, v) for k, v in shown if k not in self.ignored))

    def shows(self, row, alert):
        """Whether the row shows the alert as firing, as resolved (False), or not at all (None)."""
        states = [not resolved for labels, resolved in row.alerts if self.find(labels) is alert]
        return any(states) if states else None

    def delivered(self, x, bound):
        """When receivers accept at the latest what is due within `bound` of x."""
        t = x + bound
        for a, b, how in self.s.get("deliveries", []):
            if a <= t:
                t = max(t, b + bound + (3660 if how == "reject" else 0))
        return t

    def interval_spans(self, name):
        interval = next(t for t in self.s["time_intervals"] if t["name"] == name)
        times = interval["time_intervals"][0]["times"][0]
        clock = lambda t: int(t[:2]) * HOUR + int(t[3:]) * MIN
        a, b = clock(times["start_time"]), clock(times["end_time"])
        first = int(self.start // DAY) * DAY - self.start
        return [(first + d * DAY + a, first + d * DAY + b) for d in range(-1, int(self.horizon / DAY) + 2)]

    @functools.cache
    def muted(self, alert, destination):
        """The spans in which the alert may be muted at the destination, a little too long."""
        out = [span for name in destination.mute for span in self.interval_spans(name)]
        if destination.active:
            on = [span for name in destination.active for span in self.interval_spans(name)]
            out += subtract([(-1e9, 1e9)], on)
        for rule in self.s.get("inhibit_rules", []):
            if not all(matches(m, alert.labels) for m in rule["target_matchers"]):
                continue
            for source in self.alerts:
                same = all(source.labels.get(k, "") == alert.labels.get(k, "") for k in rule["equal"])
                if same and all(matches(m, source.labels) for m in rule["source_matchers"]):
                    out += [tuple(o) for o in source.occ]
        return [(a - self.slack, b + self.slack) for a, b in out]

    def alone_levels(self, d):
        """The levels at which the rule for lone alerts takes the place of damping."""
        rule = d.noise["alone"]
        return set(rule["levels"] or EVERY_LEVEL[1:]) if rule["pages"] else set()

    @functools.cache
    def may_flap(self, alert, d, t):
        """Whether damping may be at work at t: an upper bound of the penalty, without its ceiling."""
        f = d.noise["flapping"]
        if not f["suppress_at"] or alert.level_names <= self.alone_levels(d):
            return False
        before = [c for c in alert.changes if c <= t + self.slack]
        for i, u in enumerate(before):
            if u + FLAPS_HALF_LIVES * f["half_life"] + 10 * MIN + self.slack < t:
                continue
            penalty = sum(0.5 ** ((u - c) / f["half_life"]) for c in before[: i + 1])
            if penalty >= f["suppress_at"] - 0.1:
                return True
        return False

    @functools.cache
    def may_be_alone(self, alert, d, t):
        """Whether the alert may have opened enough pages alone before t."""
        if not alert.level_names & self.alone_levels(d):
            return False
        pages = [
            r
            for r in self.rows
            if r.kind == "page"
            and r.receiver == d.receiver
            and r.at <= t + self.slack
            and {self.find(labels) for labels, _ in r.alerts} == {alert}
        ]
        # Pages that the receiver refused count too.
        return len(pages) >= d.noise["alone"]["pages"] or bool(self.s.get("deliveries"))

    def usual(self, alert, d, t=1e18):
        """Whether the profile may open no page for it at t. A name that never fired before is not usual."""
        if alert.never_hold:
            return False
        started = any(
            a < t for x in self.alerts for a, _ in x.occ if x.labels["alertname"] == alert.labels["alertname"]
        )
        busy = d.receiver in self.busy and d.noise["busy"]["usual_per_day"]
        return started and bool(d.noise["usual_per_day"] or busy)

    def held(self, alert, d):
        """For how long the series of the alert may be held, or 0."""
        hold = d.noise["hold"]
        return hold["for"] if alert.level_names & set(hold["levels"]) else 0

    def bound(self, alert, d, t):
        """Within how long of t a receiver must show the alert."""
        n = d.noise
        # Updates wait for group_interval. A storm merges for a minute, twice where one follows the other.
        b = 2 * MIN + 2 * d.group_interval + self.slack + 5 + self.held(alert, d)
        if not alert.never_hold:
            b += alert.hold + d.group_wait + n["wait"] + 2 * n["limit"]["per"] + n["storm"]["window"]
            b += n["busy"]["wait"] if d.receiver in self.busy else 0
        if self.may_be_alone(alert, d, t + b):
            b += ALONE_LASTS + MIN
        if self.may_flap(alert, d, t):
            f = n["flapping"]
            b += f["confirm"] + MIN if f["confirm"] else FLAPS_HALF_LIVES * f["half_life"] + 10 * MIN
        return b

    def muted_within(self, alert, destinations, a, b):
        return any(x < b and y > a for d in destinations for x, y in self.muted(alert, d))
