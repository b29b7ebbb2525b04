#!/usr/bin/env python3
"""Prints scores beside published rows and holds them against committed ones: see tests/eval.

usage: eval.py README SCORES_DIR EVAL.json
"""
import json
import os
import sys

MUST_BE_0 = ["critical_10m_never_told", "left_open", "silent_pages", "unknown_alerts", "out_of_order"]
SHOWN = ["pages", "updates", "incidents_paged", "incidents", "delay_p50_s", "delay_p99_s", "pages_per_incident"]
KEPT = ["pages", "incidents_paged", "delay_p50_s", "delay_p99_s"] + MUST_BE_0
SLACK_S = 1
# What must hold whatever is committed: pages at most, incidents paged at least, p50 and p99 of the delay at most.
# Each history under its own profile; and under the default no more pages than a fixed window of 15 minutes, and
# every incident.
GATES = {
    "ids-storms ids-storms": (890, 39, None, 300),
    "probes probes": (720, 447, 60, 600),
    "kubernetes kubernetes": (43, 52, None, 120),
    "ids-storms default": (1226, 40, None, 300),
    "probes default": (1224, 448, 60, 600),
    "kubernetes default": (107, 53, None, 300),
}


def published(readme):
    """The rows of the second table of the README, by stream."""
    rows, stream, inside = {}, "", False
    for line in open(readme):
        if line.startswith("| stream | policy"):
            inside = True
        elif inside and not line.startswith("|"):
            break
        elif inside and "---" not in line:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            stream = cells[0] or stream
            rows.setdefault(stream, []).append(cells[1:])
    return rows


def worse(name, new, old):
    """What got worse, a sentence each."""
    found = []
    # A figure that is known not to be 0 may not rise; it is 0 for whatever is new.
    for key in MUST_BE_0:
        if new[key] > old.get(key, 0):
            found.append(f"{name}: {key} is {new[key]}, must be 0 (was {old.get(key, 0)})")
    if not old:
        return found + [f"{name}: no committed numbers; UPDATE=1 tests/eval writes them"]
    if new["pages"] > old["pages"]:
        found.append(f"{name}: {new['pages']} pages, {old['pages']} before")
    if new["incidents_paged"] < old["incidents_paged"]:
        found.append(f"{name}: {new['incidents_paged']} incidents paged, {old['incidents_paged']} before")
    for key in ["delay_p50_s", "delay_p99_s"]:
        if new[key] > old[key] + SLACK_S:
            found.append(f"{name}: {key} {new[key]}, {old[key]} before")
    return found


def missed(name, score):
    """The gates that a score does not meet, a sentence each."""
    if name not in GATES:
        return []
    pages, paged, p50, p99 = GATES[name]
    found = []
    for key, most in [("pages", pages), ("delay_p50_s", p50), ("delay_p99_s", p99)]:
        if most is not None and score[key] > most:
            found.append(f"{name}: {key} {score[key]:.6g}, the gate is {most}")
    if score["incidents_paged"] < paged:
        found.append(f"{name}: {score['incidents_paged']} incidents paged, the gate is {paged}")
    return found + [f"{name}: {key} is {score[key]}, the gate is 0" for key in MUST_BE_0 if score[key]]


def main():
    readme, directory, committed = sys.argv[1:]
    scores = {}
    for file in sorted(os.listdir(directory)):
        parts = file.split(".")
        if len(parts) == 3 and parts[2] == "json":
            scores[f"{parts[0]} {parts[1]}"] = json.load(open(os.path.join(directory, file)))
    rows = published(readme)
    for stream in sorted({name.split()[0] for name in scores}):
        print(f"\n== {stream}")
        for policy, pages, paged, delay in rows.get(stream, []):
            print(f"  {policy[:90]:<90} {pages:>7} pages {paged:>4} incidents, delay {delay}")
        for name, score in scores.items():
            if name.startswith(stream + " "):
                print(f"  squelch, {name.split()[1]}: " + ", ".join(f"{k} {score[k]:.6g}" for k in SHOWN))
                print("    must be 0: " + ", ".join(f"{k} {score[k]}" for k in MUST_BE_0))
    gates = [line for name, score in scores.items() for line in missed(name, score)]
    gates += [f"{name}: a gate without a score" for name in GATES if name not in scores]
    print("\n" + ("\n".join(gates) if gates else f"all {len(GATES)} gates are met"))
    if os.environ.get("UPDATE"):
        kept = {name: {k: score[k] for k in KEPT} for name, score in scores.items()}
        with open(committed, "w") as f:
            json.dump(kept, f, indent=1, sort_keys=True)
            f.write("\n")
        print(f"\nwrote {committed}")
        return 1 if gates else 0
    before = json.load(open(committed)) if os.path.exists(committed) else {}
    found = [line for name, score in scores.items() for line in worse(name, score, before.get(name, {}))]
    print("\n" + ("\n".join(found) if found else "nothing got worse"))
    return 1 if found or gates else 0


sys.exit(main())
