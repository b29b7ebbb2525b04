"""Compares time intervals with Alertmanager's rules, which it works out minute by minute.

A critical alert fires for days on a route with a random interval. It must page at the first minute at which
the route is not muted, and not before.
"""

import calendar
import json
import random
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import runner

DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
MONTHS = [m.lower() for m in calendar.month_name]
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/Sao_Paulo",
]
# Most of these times are near a change of daylight saving time or near the end of a month.
STARTS = [
    "2026-03-28T22:00",
    "2026-03-29T00:59",
    "2026-10-24T23:00",
    "2026-10-25T00:30",
    "2026-03-07T20:00",
    "2026-11-01T04:00",
    "2026-02-26T00:00",
    "2026-12-30T12:00",
    "2026-04-04T14:00",
    "2028-02-27T03:00",
]
LENGTH_DAYS = 12


def draw_entry(rng):
    one = {}
    clock = lambda m: f"{m // 60:02}:{m % 60:02}"
    if rng.random() < 0.6:
        times = []
        for _ in range(rng.choice([1, 1, 2])):
            a = rng.choice([0, 60, 119, 120, 150, 180, 600, 1380]) + rng.choice([0, 1])
            b = rng.choice([120, 180, 181, 720, 1439, 1440])
            if a < b:
                times.append({"start_time": clock(a), "end_time": clock(b)})
        if times:
            one["times"] = times
    if rng.random() < 0.5:
        a, b = sorted(rng.sample(range(7), 2))
        one["weekdays"] = [rng.choice([DAYS[a], f"{DAYS[a]}:{DAYS[b]}"])]
    if rng.random() < 0.4:
        days = ["1", "1:7", "15:20", "28:31", "29", "31", "-1", "-3:-1", "-31:-1", "20:-1", "30:31"]
        one["days_of_month"] = [rng.choice(days)]
    if rng.random() < 0.3:
        one["months"] = [rng.choice(["march", "2:4", "10:11", "january:march", "3", "11:12"])]
    if rng.random() < 0.2:
        one["years"] = [rng.choice(["2026", "2025:2026", "2027", "2024:2030"])]
    if rng.random() < 0.7:
        one["location"] = rng.choice(ZONES)
    return one


def within(entry, key, value, number):
    """Whether the field is absent, or one of its ranges contains the value."""
    spans = [[number(x) for x in span.split(":")] for span in entry.get(key, [])]
    return not spans or any(span[0] <= value <= span[-1] for span in spans)


def contains(entry, t):
    """Whether all fields of the entry hold at the time."""
    local = t.astimezone(ZoneInfo(entry.get("location", "UTC")))
    clock = f"{local.hour:02}:{local.minute:02}"
    times = entry.get("times")
    last = calendar.monthrange(local.year, local.month)[1]
    month = lambda x: int(x) if x.isdigit() else MONTHS.index(x)
    day = lambda x: int(x) if int(x) > 0 else last + int(x) + 1
    return (
        (not times or any(x["start_time"] <= clock < x["end_time"] for x in times))
        and within(entry, "weekdays", (local.weekday() + 1) % 7, DAYS.index)
        and within(entry, "days_of_month", local.day, day)
        and within(entry, "months", local.month, month)
        and within(entry, "years", local.year, int)
    )


def main(first, last, out):
    ran = found = 0
    with open(out, "a") as file:
        for seed in range(first, last):
            rng = random.Random(seed)
            start = datetime.fromisoformat(rng.choice(STARTS)).replace(tzinfo=timezone.utc)
            start += timedelta(minutes=rng.choice([0, 7, 90, 1440]))
            entries = [draw_entry(rng) for _ in range(rng.choice([1, 1, 2]))]
            if not all(set(e) - {"location"} for e in entries):
                continue
            kind = rng.choice(["mute_time_intervals", "active_time_intervals"])
            s = {
                "start": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "sender": "am",
                "repeat": 10 * 3600,
                "lag": [[0, 0]],
                "noise": {},
                "tail": 3600,
                "integration": "pagerduty",
                "levels": [
                    {"name": name, "never_hold": name == "critical"} for name in ("critical", "warning")
                ],
                "route": {
                    "receiver": "r0",
                    "routes": [{"matchers": ['alertname="A"'], "receiver": "r0", kind: ["t"]}],
                },
                "time_intervals": [{"name": "t", "time_intervals": entries}],
                "alerts": [{"labels": {"alertname": "A"}, "occ": [[0, LENGTH_DAYS * 86400]]}],
            }
            got = next((r.at for r in runner.run(s) if r.kind == "page"), None)
            ran += 1
            free = (
                m * 60.0
                for m in range(LENGTH_DAYS * 1440)
                if any(contains(e, start + timedelta(minutes=m)) for e in entries)
                == (kind == "active_time_intervals")
            )
            want = next(free, None)
            if got != want:
                found += 1
                print(
                    json.dumps(
                        {
                            "seed": seed,
                            "invariant": "intervals",
                            "start": s["start"],
                            kind: entries,
                            "want": want,
                            "got": got,
                        }
                    ),
                    file=file,
                    flush=True,
                )
    print(json.dumps({"compared": ran, "found": found}))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
