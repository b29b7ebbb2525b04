"""Replays recorded alert histories with ground truth, and scores what the noise profiles made of them: see tests/eval.

The histories and their scorer stand in $SQUELCH_EVAL, else in ../shared/eval. The program is $SQUELCH, else
target/release/squelch.
"""
import csv
import datetime as dt
import gzip
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
EVAL = os.environ.get("SQUELCH_EVAL", os.path.join(ROOT, "../shared/eval"))
SQUELCH = os.environ.get("SQUELCH", os.path.join(ROOT, "target/release/squelch"))
KEPT = os.path.join(ROOT, "tests/eval.json")
STREAMS = ["ids-storms", "probes", "kubernetes", "microwave24", "mscloud", "probes2"]
PROFILES = ["default", "balanced", "quiet", "calm"]
MUST_BE_0 = ["critical_10m_never_told", "left_open", "silent_pages", "unknown_alerts", "out_of_order"]
SLACK_S = 1
# An alert counts as told if it joins an incident at most so long after the page, as in the scorer.
ATTACH_S = 15 * 60
# What must hold whatever is committed: pages at most, incidents paged and own incidents at least, p99 at most.
GATES = {
    "ids-storms balanced": (650, 39, 24, 1000),
    "probes balanced": (730, 448, 446, 600),
    "kubernetes balanced": (55, 52, 28, 180),
    "microwave24 balanced": (330, 24, 24, 60),
    "mscloud balanced": (600, 177, 162, 120),
    "probes2 balanced": (700, 316, 311, 600),
    "ids-storms default": (1010, 40, 0, 300),
    "probes default": (1225, 448, 0, None),
    "kubernetes default": (72, 53, 0, 60),
    "microwave24 default": (460, 24, 0, None),
    "mscloud default": (630, 178, 0, None),
    "probes2 default": (764, 316, 0, None),
}
# A page opens a window of 15 minutes for each cluster: pages, incidents paged, own.
PLAIN_WINDOW = {
    "ids-storms": (1226, 40, 18),
    "probes": (1224, 448, 448),
    "kubernetes": (107, 53, 27),
    "microwave24": (557, 24, 4),
    "mscloud": (646, 179, 153),
    "probes2": (764, 316, 316),
}


def config(profile, changed="{}"):
    """A configuration that groups by cluster under a built-in profile, with some keys of it changed.

    The scorer tells incidents apart by their key. PagerDuty has keys, and the backtest sends nothing.
    """
    return (f"route: {{receiver: pager, group_by: [cluster], noise: {profile}}}\n"
            "receivers: [{name: pager, pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef}]}]\n"
            f"noise: {{{profile}: {changed}}}\n")


def scored(stream, text):
    """What a configuration makes of a stream: the scorer's figures, and how many firings were told in time."""
    with tempfile.TemporaryDirectory() as work:
        file, out = os.path.join(work, "squelch.yml"), os.path.join(work, "out.jsonl")
        with open(file, "w") as f:
            f.write(text)
        history = os.path.join(EVAL, "streams", stream + ".jsonl.gz")
        arguments = ["backtest", "--config.file", file, "--history", history, "--notifications", out]
        ran = subprocess.run([SQUELCH, *arguments], capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"{text}{ran.stderr}")
        scorer = [sys.executable, os.path.join(EVAL, "score.py"), stream, out, "--json"]
        score = json.loads(subprocess.run(scorer, capture_output=True, text=True, check=True).stdout)
        score["told_5m"], score["told_30m"] = coverage(history, out)
        return score


def seconds(text):
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def firing(alert):
    return json.dumps(alert["labels"], sort_keys=True), alert["startsAt"]


def coverage(history, notifications):
    """The share of all firings that a person was told of within 5 and 30 minutes, in a page or soon after one."""
    started, told, paged = {}, {}, {}
    with gzip.open(history, "rt") as f:
        for batch in map(json.loads, f):
            for alert in batch["alerts"]:
                if alert["status"] == "firing":
                    started.setdefault(firing(alert), seconds(batch["at"]))
    # The replay writes times in another form than some histories do.
    started = {(labels, seconds(start)): at for (labels, start), at in started.items()}
    with open(notifications) as f:
        for line in map(json.loads, f):
            at = seconds(line["at"])
            if line["kind"] == "page":
                paged[line["incident"]] = at
            live = line["kind"] == "page" or line["kind"] == "update" and (
                at - paged.get(line["incident"], float("-inf")) <= ATTACH_S)
            for alert in line.get("alerts", []) if live else []:
                labels, start = firing(alert)
                told.setdefault((labels, seconds(start)), at)
    within = lambda limit: sum(at - started[key] <= limit for key, at in told.items() if key in started)
    return within(300) / len(started), within(1800) / len(started)


def cell(score):
    """The five numbers and the coverage, as the documentation prints them."""
    broken = sum(score[key] for key in MUST_BE_0)
    return (f"{score['pages']:,} @ {score['incidents_paged']}, own {score['incidents_own']}, "
            f"{score['delay_p50_s']:.0f}/{score['delay_p99_s']:,.0f} s, false {score['false_pages']}, "
            f"told {100 * score['told_5m']:.0f}/{100 * score['told_30m']:.0f} %"
            + (f", **{broken} broken**" if broken else ""))


def missed(name, score):
    """The gates that a score does not meet, a sentence each."""
    found = [f"{name}: {key} is {score[key]}, must be 0" for key in MUST_BE_0 if score[key]]
    pages, paged, own, p99 = GATES.get(name, (None, 0, 0, None))
    if pages is not None and score["pages"] > pages:
        found.append(f"{name}: {score['pages']} pages, the gate is {pages}")
    if p99 is not None and score["delay_p99_s"] > p99:
        found.append(f"{name}: p99 is {score['delay_p99_s']:.0f} s, the gate is {p99}")
    for key, least in [("incidents_paged", paged), ("incidents_own", own)]:
        if score[key] < least:
            found.append(f"{name}: {key} is {score[key]}, the gate is {least}")
    return found


def worse(name, new, old):
    """What got worse than the committed figures, a sentence each."""
    if not old:
        return [f"{name}: no committed figures; UPDATE=1 tests/eval writes them"]
    found = []
    for key, sign in [("pages", 1), ("false_pages", 1), ("incidents_paged", -1), ("incidents_own", -1)]:
        if sign * new[key] > sign * old[key]:
            found.append(f"{name}: {key} is {new[key]}, {old[key]} before")
    for key in ["delay_p50_s", "delay_p99_s"]:
        if new[key] > old[key] + SLACK_S:
            found.append(f"{name}: {key} is {new[key]}, {old[key]} before")
    for key in ["told_5m", "told_30m"]:
        if round(new[key], 3) < old[key]:
            found.append(f"{name}: {key} is {new[key]:.3f}, {old[key]} before")
    return found


def kept(score):
    keys = ["pages", "false_pages", "incidents_paged", "incidents_own", "delay_p50_s", "delay_p99_s"]
    return {**{key: score[key] for key in keys}, **{key: round(score[key], 3) for key in ["told_5m", "told_30m"]}}


def main():
    if not os.path.exists(os.path.join(EVAL, "score.py")):
        print(f"no recorded histories at {EVAL} (SQUELCH_EVAL names another place)")
        return 0
    committed = json.load(open(KEPT)) if os.path.exists(KEPT) else {}
    scores, wrong = {}, []
    print("pages @ incidents paged, own, delay p50/p99, false pages, firings told within 5/30 minutes")
    for stream in STREAMS:
        pages, paged, own = PLAIN_WINDOW[stream]
        print(f"\n== {stream}\n  15-minute window  {pages:,} @ {paged}, own {own}", flush=True)
        for profile in PROFILES:
            name = f"{stream} {profile}"
            score = scored(stream, config(profile))
            scores[name] = kept(score)
            print(f"  {profile:16}  {cell(score)}", flush=True)
            wrong += missed(name, score)
            if not os.environ.get("UPDATE"):
                wrong += worse(name, score, committed.get(name))
    print("\n" + ("\n".join(wrong) if wrong else f"all {len(GATES)} gates are met, and nothing got worse"))
    if os.environ.get("UPDATE"):
        with open(KEPT, "w") as f:
            json.dump(scores, f, indent=1, sort_keys=True)
            f.write("\n")
        print(f"wrote {KEPT}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
