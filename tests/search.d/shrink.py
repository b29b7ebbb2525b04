"""Makes the scenario of a seed smaller while it still breaks the invariant: shrink SEED INVARIANT [FOLDER].

With FOLDER, it also writes the behaviour test there, for `squelch test`.
"""

import copy
import json
import sys

import oracle
import relations
import runner
import scenario
from scenario import nodes


def fails(s, invariant):
    """Whether the scenario breaks the invariant or the relation."""
    if not s["alerts"] or len({json.dumps(a["labels"], sort_keys=True) for a in s["alerts"]}) < len(
        s["alerts"]
    ):
        return False
    try:
        if invariant.startswith("7-"):
            return bool(relations.compare(s, invariant[2:], s["seed"]))
        return any(name == invariant for name, _ in oracle.judge(s, runner.run(s)))
    except runner.Refused:
        return False


def without(s, *path):
    """A copy that lacks the value at the path."""
    t = copy.deepcopy(s)
    node = t
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return t


def replaced(s, value, *path):
    """A copy with this value at the path."""
    t = copy.deepcopy(s)
    node = t
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return t


def smaller(s):
    """Scenarios that are a little less than this one."""
    for i, a in enumerate(s["alerts"]):
        yield without(s, "alerts", i)
    for i, a in enumerate(s["alerts"]):
        n = len(a["occ"])
        if n > 2:
            yield replaced(s, a["occ"][: n // 2], "alerts", i, "occ")
            yield replaced(s, a["occ"][n // 2 :], "alerts", i, "occ")
        for k in range(n if n > 1 else 0):
            yield without(s, "alerts", i, "occ", k)
    for key in ("inhibit_rules", "time_intervals", "deliveries"):
        if s.get(key):
            t = without(s, key)
            for node in nodes(t) if key == "time_intervals" else []:
                node.pop("mute_time_intervals", None)
                node.pop("active_time_intervals", None)
            yield t
    simple = {
        "sender": "am",
        "repeat": 14400,
        "lag": [[0, 0]],
        "start": "2026-01-05T00:00:00Z",
        "integration": "pagerduty",
    }
    for key, value in simple.items():
        if s[key] != value:
            yield replaced(s, value, key)
    for i in range(len(s["route"].get("routes", []))):
        yield without(s, "route", "routes", i)
    for i, node in enumerate(nodes(s)):
        path = ("route",) if i == 0 else ("route", "routes", i - 1)
        for key in set(node) - {"receiver", "matchers", "routes"}:
            yield without(s, *path, key)
    for name, p in s["noise"].items():
        for key, v in p.items():
            yield without(s, "noise", name, key)
            for k in v if isinstance(v, dict) and len(v) > 1 else []:
                yield without(s, "noise", name, key, k)
        if name != "default" and not p:
            yield without(s, "noise", name)
    for i, level in enumerate(s["levels"]):
        for keys in ({"hold"}, {"respond_within", "escalate_to"}):
            if keys <= set(level):
                yield replaced(s, {k: v for k, v in level.items() if k not in keys}, "levels", i)
    for i, a in enumerate(s["alerts"]):
        for k in range(1, len(a.get("sevs") or [])):
            yield without(s, "alerts", i, "sevs", k)
        for key in set(a["labels"]) - {"alertname", "severity"}:
            yield without(s, "alerts", i, "labels", key)
        if not a.get("sevs") and a["labels"].get("severity") not in ("critical", "warning"):
            yield replaced(s, "critical", "alerts", i, "labels", "severity")
    yield from with_other_times(s)


def with_other_times(s):
    first = min(a["occ"][0][0] for a in s["alerts"])
    moves = [] if not first or s.get("time_intervals") else [lambda x: x - first]
    moves += [lambda x, unit=unit: round(x / unit) * unit for unit in (600, 60, 30)]
    for move in moves:
        t = copy.deepcopy(s)
        for a in t["alerts"]:
            a["occ"] = [[move(x) for x in o] for o in a["occ"]]
        times = [sum(a["occ"], []) for a in t["alerts"]]
        if t != s and all(x < y for flat in times for x, y in zip(flat, flat[1:])):
            yield t
    for i, a in enumerate(s["alerts"]):
        for k, (x, y) in enumerate(a["occ"]):
            for length in (60, 300, 600, 1800):
                if y - x > length:
                    yield replaced(s, [x, x + length], "alerts", i, "occ", k)


def shrink(s, invariant, budget=1500):
    """The smallest scenario that at most `budget` runs find."""
    again = True
    while again:
        again = False
        for t in smaller(s):
            budget -= 1
            if budget < 0:
                return s
            if fails(t, invariant):
                s, again = t, True
                break
    return s


def main(seed, invariant, folder=None):
    s = shrink(scenario.draw(int(seed)), invariant)
    print(json.dumps(s))
    if invariant.startswith("7-"):
        print(relations.compare(s, invariant[2:], s["seed"]))
    rows = runner.run(s)
    for breach in oracle.judge(s, rows):
        print(*breach)
    print(*rows, sep="\n")
    if folder:
        print(runner.write(s, None, folder, f"{invariant}-{seed}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
