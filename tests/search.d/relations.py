"""Changes of a scenario that must not change which pages leave, under any settings."""

import collections
import copy
import json
import random
import sys
import time

import runner
import scenario
import truth
from scenario import nodes


def pages(rows, name=lambda labels: labels, without=None):
    """The pages: their times, receivers and alerts."""
    alerts = lambda r: frozenset(
        (frozenset(name(dict(labels)).items()), resolved) for labels, resolved in r.alerts
    )
    return collections.Counter(
        (r.at, r.receiver, alerts(r)) for r in rows if r.kind == "page" and r.receiver != without
    )


def times(pages):
    """The pages without their alerts, and without the milliseconds of a request in two parts."""
    return collections.Counter((round(at - 0.004), receiver) for at, receiver, _ in pages.elements())


def requests(said):
    """The statements of each request."""
    by = collections.defaultdict(list)
    for x in said:
        by[x[:3]].append(x)
    return by.values()


def compared(s, said, t, other, **how):
    return pages(runner.run(s, said), **how), pages(runner.run(t, other))


def permuted(s, said, rng):
    """The alerts of a request come in another order."""
    return compared(s, said, s, [x for request in requests(said) for x in rng.sample(request, len(request))])


OTHER = {
    "alertname": {"A": "Zeta", "B": "Alpha"},
    "cluster": {"eu": "zulu", "us": "a"},
    "instance": {str(n): str(40 - n) for n in range(1, 31)},
}


def unlimited(s):
    """The scenario without storm and limit, which join groups."""
    t = copy.deepcopy(s)
    for name in {"default", "balanced", "quiet", "calm", *t["noise"]}:
        t["noise"].setdefault(name, {}).update(storm={"start": 0}, limit={"pages": 0})
    return t


def renamed(s, said, rng):
    """Labels have other values, which sort differently."""
    if "alertname=~" in json.dumps(s["route"]):
        return None
    # Under a limit, the names of two groups of one instant decide which one pages first.
    s = unlimited(s)

    def other(labels):
        return {k: OTHER.get(k, {}).get(v, v) for k, v in labels.items()}

    def matcher(m):
        name, op, value = m.partition("!=" if "!=" in m else "=")
        return (
            f'{name}{op}"{OTHER.get(name, {}).get(value[1:-1], value[1:-1])}"' if "~" not in op + value else m
        )

    t = copy.deepcopy(s)
    for a in t["alerts"]:
        a["labels"] = other(a["labels"])
    for node in nodes(t)[1:]:
        node["matchers"] = [matcher(m) for m in node["matchers"]]
    for rule in t.get("inhibit_rules", []):
        for key in ("source_matchers", "target_matchers"):
            rule[key] = [matcher(m) for m in rule[key]]
    return compared(s, said, t, [(*x[:3], other(x[3]), x[4]) for x in said], name=other)


def shifted(s, said, rng):
    """The clock shows another day."""
    if s.get("time_intervals"):
        return None
    t = {**s, "start": rng.choice(["2025-12-31T00:00:00Z", "1970-01-01T00:00:00Z", "2028-02-29T13:37:11Z"])}
    return compared(s, said, t, said)


def twin(s, said, rng):
    """The other member of a pair states the same a second later."""
    gaps = [y - x for a in s["alerts"] for times in [sum(a["occ"], [])] for x, y in zip(times, times[1:])]
    if s["sender"] != "am" or min(gaps) < 130:
        return None
    both = said + [(at + 1, source, "b", labels, status) for at, source, _, labels, status in said]
    return compared(s, said, s, sorted(both, key=lambda x: (x[0], x[2])))


def repeats(s, said, rng):
    """The sender repeats more or less often."""
    if s["sender"] != "am":
        return None
    t = {**s, "repeat": rng.choice([x for x in (97, 300, 3600, 14400) if x != s["repeat"]])}
    return compared(s, said, t, scenario.statements(t))


def by_prometheus(s, said, rng):
    """A Prometheus sends, not an Alertmanager."""
    if s["sender"] != "am" or s["mode"] in ("severities", "long"):
        return None
    t = {**s, "sender": "prom"}
    return compared(s, said, t, scenario.statements(t))


def other_integration(s, said, rng):
    """The receivers have no keys, or they have keys."""
    t = {**s, "integration": {"pagerduty": "webhook", "webhook": "pagerduty"}[s["integration"]]}
    # A receiver without keys also gets alerts that fire in another incident of the group.
    return [times(c) for c in compared(s, said, t, said)]


def stranger(s, said, rng):
    """One more critical alert fires, in a group and at a receiver of its own."""
    at = rng.choice([0, 100, 1000, 7000])
    labels = {"alertname": "X", "job": "extra", "severity": "critical"}
    alert = {"labels": labels, "occ": [[at, at + 900], [at + 2000, at + 4000]], "sender": "am"}
    t = copy.deepcopy(s)
    t["levels"] = [
        {k: v for k, v in level.items() if k not in ("respond_within", "escalate_to")}
        for level in s["levels"]
    ]
    s = {**s, "levels": t["levels"]}
    t["extra_receivers"] = ["r9"]
    route = {"matchers": ['job="extra"'], "receiver": "r9", "group_by": ["job"]}
    t["route"]["routes"] = [route, *t["route"].get("routes", [])]
    t["alerts"].append(alert)
    other = sorted(said + scenario.statements({**t, "alerts": [alert]}), key=lambda x: x[:3])
    return pages(runner.run(s, said)), pages(runner.run(t, other), without="r9")


def split(s, said, rng):
    """Requests arrive in two parts, a millisecond apart: as many pages leave, at the same times."""
    profiles = [truth.profile(s, name) for name in {"default", *s["noise"]}]
    if s["mode"] in ("severities", "deliveries") or s.get("inhibit_rules"):
        return None
    if len({scenario.severity_level(a["labels"]) for a in s["alerts"]}) > 1:
        return None
    if any(p["growth"] for p in profiles) and len(s["alerts"]) >= truth.GROWTH_FROM:
        return None
    other = []
    for request in requests(said):
        k = rng.randrange(0, len(request) + 1)
        other += request[:k] + [(x[0] + 0.001, *x[1:]) for x in request[k:]]
    return [times(c) for c in compared(s, said, s, other)]


def groups_alone(s, said, rng):
    """Without storm and limit, all groups together page as each group does that fires by itself."""
    if s.get("inhibit_rules") or s.get("ignore_labels"):
        return None
    t = unlimited(s)
    groups = collections.defaultdict(list)
    for a in t["alerts"]:
        its = truth.destinations(t, a["labels"])
        if len(its) > 1:
            return None
        groups[its[0].node, its[0].group(a["labels"])].append(a["labels"])
    plain = lambda labels: {k: v for k, v in labels.items() if k != "prometheus_replica"}
    alone = collections.Counter()
    for members in groups.values():
        alone += pages(runner.run(t, [x for x in said if plain(x[3]) in members]))
    return pages(runner.run(t, said)), alone


RELATIONS = {
    f.__name__: f
    for f in (
        permuted,
        renamed,
        shifted,
        twin,
        repeats,
        by_prometheus,
        other_integration,
        stranger,
        split,
        groups_alone,
    )
}


def compare(s, name, seed):
    """None if the relation does not apply, "" if it holds, else the difference."""
    made = RELATIONS[name](s, scenario.statements(s), random.Random(seed))
    if made is None:
        return None
    before, after = made
    show = lambda c: sorted(
        str((x[0], x[1], [(dict(labels), resolved) for labels, resolved in (x + ((),))[2]]))
        for x in c.elements()
    )[:4]
    return (
        "" if before == after else f"only before: {show(before - after)}; only after: {show(after - before)}"
    )


def main(first, last, out):
    ran, found, refused = collections.Counter(), collections.Counter(), collections.Counter()
    began = time.time()
    with open(out, "a") as file:
        for seed in range(first, last):
            s = scenario.draw(seed)
            for name in RELATIONS:
                try:
                    text = compare(s, name, seed)
                except runner.Refused as e:
                    refused[str(e)[:90]] += 1
                    continue
                ran[name] += text is not None
                if text:
                    found[name] += 1
                    print(
                        json.dumps({"seed": seed, "invariant": f"7-{name}", "text": text}),
                        file=file,
                        flush=True,
                    )
    print(
        json.dumps(
            {"compared": ran, "refused": refused, "found": found, "seconds": round(time.time() - began)}
        )
    )
    return bool(found or refused)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
