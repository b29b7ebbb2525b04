"""Draws small random scenarios: first when each alert truly fires, then what its senders state.

A scenario is a plain dict, so that a program can copy it, make it smaller, and write it as JSON:
  start    the wall clock at 0 s
  sender   am | pair | prom | prompair | lapse | both
  repeat   the seconds between two repeats of an Alertmanager
  alerts   [{labels, occ: [[from, to], …]}]: when an alert truly fires, in seconds from the start
  lag      [[a, b], …]: by how much the two members of a pair are late, in turn
  deliveries                 [[from, to, answer], …]: when receivers hang or refuse
  route, noise, levels, ignore_labels, inhibit_rules, time_intervals    as in the configuration, in seconds
"""

import json
import random

LABELS = ["alertname", "cluster", "instance", "severity", "prometheus_replica", "team", "job"]
MIN, HOUR, DAY = 60, 3600, 86400
RECEIVERS = ["r0", "r1", "r2"]
# The receiver of escalations. No route notifies it.
LEAD = "lead"
DURATION_KEYS = {
    "group_wait",
    "group_interval",
    "repeat_interval",
    "half_life",
    "confirm",
    "resolve_hold",
    "merge_window",
    "rolling",
    "wait",
    "window",
    "hold",
    "for",
    "per",
    "digest",
    "respond_within",
}


def duration(seconds):
    """Seconds as a duration of Prometheus, also before the start."""
    ms = round(abs(seconds) * 1000)
    return ("-" if seconds < 0 else "") + (f"{ms}ms" if ms % 1000 else f"{ms // 1000}s")


def as_config(node):
    """The same tree, with durations in place of the numbers under DURATION_KEYS."""
    if isinstance(node, list):
        return [as_config(n) for n in node]
    if not isinstance(node, dict):
        return node
    number = lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)
    return {k: duration(v) if k in DURATION_KEYS and number(v) else as_config(v) for k, v in node.items()}


def nodes(s):
    """All routes: the root and its children."""
    return [s["route"], *s["route"].get("routes", [])]


def config_text(s):
    """The configuration, as JSON."""
    receivers = []
    for name in [*RECEIVERS, LEAD, *s.get("extra_receivers", [])]:
        if s["integration"] == "pagerduty":
            receivers.append({"name": name, "pagerduty_configs": [{"routing_key_file": f"key-{name}"}]})
        else:
            receivers.append({"name": name, "webhook_configs": [{"url": f"http://127.0.0.1:1/{name}"}]})
    config = {
        "route": as_config(s["route"]),
        "receivers": receivers,
        "severities": {"levels": as_config(s["levels"])},
        "noise": as_config(s["noise"]),
    }
    if s.get("ignore_labels"):
        config["identity"] = {"ignore_labels": s["ignore_labels"]}
    for key in ("inhibit_rules", "time_intervals"):
        if s.get(key):
            config[key] = s[key]
    return json.dumps(config, indent=1)


# ---- what senders state


def by_alertmanager(s, alert, lag):
    for a, b in alert["occ"]:
        for t in range(a, b, s["repeat"]):
            yield t, "alertmanager", "a", alert["labels"], "firing"
        yield b, "alertmanager", "a", alert["labels"], "resolved"


def by_alertmanager_pair(s, alert, lag):
    for a, b in alert["occ"]:
        for t, status in ((a, "firing"), (b, "resolved")):
            for peer, late in zip("ab", next(lag)):
                yield t + late, "alertmanager", peer, alert["labels"], status
        for n, t in enumerate(range(a + s["repeat"], b, s["repeat"])):
            yield t, "alertmanager", "ab"[n % 2], alert["labels"], "firing"


def by_alertmanager_and_prometheus(s, alert, lag):
    first, second = s["lag"][0]
    for a, b in alert["occ"]:
        yield a + first, "alertmanager", "a", alert["labels"], "firing"
        yield b + first, "alertmanager", "a", alert["labels"], "resolved"
        for t in range(a, b, MIN):
            yield t + second, "prometheus", "p", alert["labels"], "firing"
        yield b + second, "prometheus", "p", alert["labels"], "resolved"


def by_prometheus_that_falls_silent(s, alert, lag):
    # The alert ends four minutes after its last statement.
    for a, b in alert["occ"]:
        for t in range(a, b - 4 * MIN + 1, MIN):
            yield t, "prometheus", "p", alert["labels"], "firing"


def by_prometheus(s, alert, lag):
    replicas = {"": 0}
    if s["sender"] == "prompair":
        replicas = dict(zip(("p0", "p1"), s["lag"][0]))
    for replica, late in replicas.items():
        labels = {**alert["labels"], "prometheus_replica": replica} if replica else alert["labels"]
        for i, (a, b) in enumerate(alert["occ"]):
            after = alert["occ"][i + 1][0] if i + 1 < len(alert["occ"]) else b + 5 * MIN
            for t in range(a, b, MIN):
                yield t + late, "prometheus", replica or "p", labels, "firing"
            for t in range(b, min(after, b + 5 * MIN), MIN):
                yield t + late, "prometheus", replica or "p", labels, "resolved"


def with_other_severities(s, alert, lag):
    # The severity changes while the alert fires: the new label set first, then the end of the old one.
    for a, b in alert["occ"]:
        marks = [a + int(x * (b - a)) for x, _ in alert["sevs"]] + [b]
        for i, (_, severity) in enumerate(alert["sevs"]):
            labels = {**alert["labels"], "severity": severity}
            x, y = marks[i], marks[i + 1]
            yield x, "alertmanager", "a", labels, "firing"
            if i + 1 == len(alert["sevs"]) or alert["sevs"][i + 1][1] != severity:
                yield y + (1 if y < b else 0), "alertmanager", "a", labels, "resolved"


SENDERS = {
    "am": by_alertmanager,
    "pair": by_alertmanager_pair,
    "prom": by_prometheus,
    "prompair": by_prometheus,
    "lapse": by_prometheus_that_falls_silent,
    "both": by_alertmanager_and_prometheus,
}


def statements(s):
    """[(at, source, peer, labels, status)] by time. One peer makes one request at one time."""

    def turns():
        while True:
            yield from s["lag"]

    lag, out = turns(), []
    for alert in s["alerts"]:
        speak = with_other_severities if alert.get("sevs") else SENDERS[alert.get("sender", s["sender"])]
        out += speak(s, alert, lag)
    return sorted(out, key=lambda x: x[:3])


def until(s):
    """When the clock stops: long after the last end."""
    return max(b for a in s["alerts"] for _, b in a["occ"]) + s.get("tail", 16 * HOUR)


def test_of(s, said=None):
    """The behaviour test of the scenario, or of other statements in its configuration."""
    late = {json.dumps(a["labels"], sort_keys=True): a for a in s["alerts"] if a.get("late")}
    items = []
    for at, source, peer, labels, status in statements(s) if said is None else said:
        item = {"at": duration(at), "labels": labels, "status": status, "source": source, "peer": peer}
        alert = late.get(json.dumps(labels, sort_keys=True))
        if alert:
            began = max(x for x, _ in alert["occ"] if x <= at) - alert["late"]
            item["starts_at"] = duration(began)
        items.append(item)
    # The test expects something impossible of each kind, so that the output lists all of the kind.
    expect = [
        {"at": duration(until(s)), "receiver": RECEIVERS[0], "kind": kind, "why": "never"}
        for kind in ("update", "digest")
    ]
    test = {"name": "t", "input": items, "expect": expect, "until": duration(until(s))}
    if s.get("deliveries"):
        test["deliveries"] = [
            {"at": duration(at), "answer": answer}
            for a, b, how in s["deliveries"]
            for at, answer in ((a, how), (b, "accept"))
        ]
    return test


# ---- drawing


def pick(rng, options):
    """One value of [(weight, value)]."""
    return rng.choices([v for _, v in options], [w for w, _ in options])[0]


def draw_noise(rng):
    """A profile: mostly the default, with a few other values."""
    p = {}
    if rng.random() < 0.35:
        return p
    turn = lambda chance: rng.random() < chance
    if turn(0.4):
        p["flapping"] = {"suppress_at": pick(rng, [(3, 0), (1, 2), (2, 3), (1, 4), (1, 8)])}
        if turn(0.4):
            p["flapping"]["half_life"] = rng.choice([5 * MIN, 15 * MIN, 2 * HOUR])
        if turn(0.4):
            p["flapping"]["confirm"] = rng.choice([0, 1 * MIN, 5 * MIN, 30 * MIN])
    if turn(0.3):
        p["resolve_hold"] = rng.choice([0, 10, 30, 5 * MIN, 20 * MIN])
    if turn(0.4):
        p["merge_window"] = rng.choice([0, 30, 2 * MIN, 5 * MIN, 1 * HOUR, 6 * HOUR])
    if turn(0.2):
        p["growth"] = rng.choice([0, 2, 3])
    if turn(0.25):
        p["rolling"] = rng.choice([0, 2 * MIN, 30 * MIN])
    if turn(0.15):
        p["escalate"] = False
    if turn(0.2):
        p["wait"] = rng.choice([10, 1 * MIN, 5 * MIN])
    if turn(0.25):
        start = rng.choice([0, 2, 3, 5])
        p["storm"] = {"start": start, "window": rng.choice([1 * MIN, 10 * MIN, 1 * HOUR])}
        if turn(0.8):
            p["storm"]["end"] = rng.randrange(0, start + 1)
    if turn(0.25):
        p["limit"] = {"pages": rng.choice([0, 1, 2]), "per": rng.choice([2 * MIN, 10 * MIN, 1 * HOUR])}
    if turn(0.1):
        p["usual_per_day"] = rng.choice([0.4, 1, 5])
    if turn(0.1):
        p["busy"] = {"wait": rng.choice([0, 1 * MIN, 15 * MIN]), "usual_per_day": rng.choice([0, 2, 13])}
    if turn(0.3):
        p["alone"] = {"pages": rng.choice([0, 0, 1, 2, 4])}
        if turn(0.5):
            p["alone"]["levels"] = rng.choice([["critical"], ["warning"], ["critical", "warning", "info"]])
    if turn(0.15):
        p["hold"] = draw_hold(rng)
    if turn(0.1):
        p["budget"] = {"pages": rng.choice([0, 1]), "per": 1 * HOUR}
    if turn(0.15):
        p["digest"] = rng.choice([0, 10 * MIN, 1 * HOUR])
    return p


def draw_hold(rng):
    levels = rng.choice([["warning"], ["critical", "warning"], ["warning", "info"], ["critical"]])
    return {"for": rng.choice([1 * MIN, 10 * MIN]), "levels": levels}


GROUPINGS = [
    [],
    ["alertname"],
    ["cluster"],
    ["alertname", "cluster"],
    ["..."],
    ["instance"],
    ["severity", "cluster"],
]
MATCHERS = [
    'cluster="eu"',
    'cluster="us"',
    'severity="critical"',
    'severity=~"warning|info"',
    'alertname="A"',
    'alertname!="A"',
    'instance="1"',
]


def draw_route(rng, profiles):
    def timing(node, chance):
        if rng.random() < chance:
            node["group_wait"] = rng.choice([5, 30, 2 * MIN])
        if rng.random() < chance:
            node["group_interval"] = rng.choice([1, 60, 5 * MIN])
        if rng.random() < chance:
            node["repeat_interval"] = rng.choice([10 * MIN, 1 * HOUR])
        if len(profiles) > 1 and rng.random() < 0.5:
            node["noise"] = rng.choice(profiles)

    root = {"receiver": "r0", "group_by": rng.choice(GROUPINGS)}
    timing(root, 0.15)
    routes = []
    for _ in range(pick(rng, [(4, 0), (3, 1), (2, 2), (1, 3)])):
        child = {"matchers": [rng.choice(MATCHERS)], "receiver": rng.choice(RECEIVERS)}
        if routes and rng.random() < 0.15:
            # A sibling with the same matchers and receiver gets the alert too.
            routes[-1]["continue"] = True
            child.update(matchers=routes[-1]["matchers"], receiver=routes[-1]["receiver"])
        if rng.random() < 0.5:
            child["group_by"] = rng.choice(GROUPINGS)
        if rng.random() < 0.4:
            child["continue"] = True
        timing(child, 0.1)
        routes.append(child)
    if routes:
        root["routes"] = routes
    return root


LENGTHS = [10, 30, 60, 90, 180, 300, 600, 15 * MIN, 20 * MIN, 40 * MIN, 1 * HOUR, 3 * HOUR, 6 * HOUR]
GAPS = [30, 60, 100, 121, 180, 300, 600, 16 * MIN, 30 * MIN, 1 * HOUR, 3 * HOUR, 8 * HOUR]


def draw_occurrences(rng, style, least):
    t = rng.choice([0, 0, 0, 1, 5, 30, 60, 200, 600, 901, 1200, 3600, 7200])
    if rng.random() < 0.3:
        t += rng.randrange(0, 30)
    occ = []
    for _ in range(
        {
            "one": 1,
            "few": rng.randrange(1, 4),
            "flap": rng.randrange(4, 12),
            "many": rng.randrange(3, 9),
            "often": rng.randrange(15, 30),
        }[style]
    ):
        d, g = rng.choice(LENGTHS), rng.choice(GAPS)
        if style in ("flap", "often"):
            d, g = rng.choice([30, 60, 60, 120, 300]), rng.choice([30, 60, 60, 120, 300, 600])
            if rng.random() < 0.12:
                d = rng.choice([15 * MIN, 40 * MIN, 2 * HOUR])
            if rng.random() < 0.12:
                g = rng.choice([20 * MIN, 1 * HOUR, 3 * HOUR])
        d, g = max(d, least), max(g, least)
        occ.append([t, t + d])
        t += d + g
    return occ


MODES = [
    "plain",
    "storm",
    "flappers",
    "muted",
    "deliveries",
    "severities",
    "defaults",
    "lapse",
    "digest",
    "long",
    "both",
    "late",
    "policies",
    "growth",
    "escalations",
    "profiles",
]


def draw_labels(rng, mode):
    labels = {"alertname": rng.choice("AAB")}
    if rng.random() < 0.8:
        labels["cluster"] = rng.choice(["eu", "us"])
    count = {"storm": 9, "growth": 30}.get(mode, 4)
    if rng.random() < 0.8:
        labels["instance"] = str(rng.randrange(1, count + 1))
    severity = pick(rng, [(5, "critical"), (4, "warning"), (1, "info"), (1, "page"), (1, "weird"), (1, "")])
    if severity:
        labels["severity"] = severity
    if mode == "severities":
        labels.pop("severity", None)
    if mode in ("digest", "policies") and rng.random() < 0.7:
        labels["severity"] = rng.choice(["warning", "info"])
    return labels


def draw_alert(rng, mode, labels, least):
    style = pick(rng, [(3, "one"), (4, "few"), (2, "flap"), (2, "many")])
    if mode == "flappers":
        style = pick(rng, [(1, "few"), (4, "flap"), (1, "many")])
    if mode == "policies":
        style = pick(rng, [(1, "few"), (2, "flap"), (2, "many"), (2, "often")])
    if mode == "growth":
        style = pick(rng, [(4, "one"), (1, "few")])
    alert = {"labels": labels, "occ": draw_occurrences(rng, style, least)}
    if mode == "growth":
        # A third of the alerts fires together, and the others come in waves.
        shift = rng.choice([0, 60, 400, 1000, 2000]) - alert["occ"][0][0]
        alert["occ"] = [[a + shift, b + shift + rng.choice([0, 1 * HOUR])] for a, b in alert["occ"][:1]]
    if mode == "long":
        # Days lie between two occurrences, and some last longer than a day.
        by = rng.choice([1, 6, 30, 100])
        alert["occ"] = [[a * by, a * by + (b - a) * rng.choice([1, by])] for a, b in alert["occ"][:4]]
    if mode == "late":
        # Squelch gets the first statement so long after the start.
        alert["late"] = rng.choice([0, 60, 20 * MIN, 3 * HOUR])
    if mode == "lapse":
        alert["occ"] = [[a, a + (b - a) // MIN * MIN] for a, b in alert["occ"]]
    if mode == "severities":
        # [[share of the occurrence, severity], …], the first from its start.
        marks = sorted({0, *rng.sample([0.1, 0.3, 0.5, 0.8], rng.randrange(0, 3))})
        alert["sevs"] = [[x, rng.choice(["critical", "warning", "info"])] for x in marks]
    return alert


def draw_mode(rng, mode, s):
    """Changes of the configuration that belong to one mode."""
    default = s["noise"]["default"]
    if mode == "defaults":
        s["route"] = {"receiver": "r0", "group_by": rng.choice(GROUPINGS)}
    if mode == "storm":
        s["route"]["group_by"] = rng.choice([["..."], ["instance"], ["alertname", "instance"]])
        default["storm"] = {
            "start": rng.choice([2, 3, 4]),
            "end": rng.choice([0, 1, 2, 2]),
            "window": rng.choice([1 * MIN, 10 * MIN, 1 * HOUR]),
        }
        default["limit"] = {"pages": rng.choice([0, 1, 2, 6]), "per": rng.choice([1 * MIN, 10 * MIN])}
    if mode == "policies":
        which = rng.choice(["usual_per_day", "busy", "alone", "hold", "wait"])
        default[which] = {
            "usual_per_day": rng.choice([0.4, 1, 3]),
            "busy": {"wait": 5 * MIN, "usual_per_day": 3},
            "alone": {"pages": rng.choice([1, 2, 3]), "levels": ["critical", "warning", "info"]},
            "hold": draw_hold(rng),
            "wait": rng.choice([1 * MIN, 5 * MIN]),
        }[which]
        if which == "busy":
            default.update(merge_window=30, resolve_hold=10, flapping={"suppress_at": 0}, storm={"start": 0})
            default["limit"] = {"pages": 0}
    if mode == "growth":
        s["route"]["group_by"] = rng.choice([[], ["alertname"], ["cluster"]])
        default.update(growth=rng.choice([2, 3, 5]), merge_window=rng.choice([15 * MIN, 1 * HOUR]))
    if mode == "digest":
        default["digest"] = rng.choice([10 * MIN, 1 * HOUR])
    if mode == "severities":
        s["sender"], s["ignore_labels"] = "am", ["prometheus_replica", "severity"]
        # The group and the route of an alert do not depend on ignored labels.
        for node in nodes(s):
            if node.get("group_by") in (["..."], ["severity", "cluster"]):
                node["group_by"] = ["cluster"]
            if "severity" in str(node.get("matchers")):
                node["matchers"] = ['team=""']


def draw_mutes(rng, mode, s):
    if rng.random() < (0.8 if mode == "muted" else 0.1):
        s["inhibit_rules"] = [
            {
                "source_matchers": ['alertname="A"'],
                "target_matchers": ['alertname="B"'],
                "equal": rng.choice([[], ["cluster"], ["cluster", "instance"]]),
            }
        ]
    children = s["route"].get("routes")
    if rng.random() >= (0.6 if mode == "muted" else 0.08) or not children and mode != "muted":
        return
    a, b = rng.choice(
        [("00:00", "01:00"), ("00:10", "00:40"), ("22:00", "24:00"), ("03:00", "09:00"), ("00:00", "00:15")]
    )
    s["time_intervals"] = [{"name": "t", "time_intervals": [{"times": [{"start_time": a, "end_time": b}]}]}]
    if children:
        rng.choice(children)[rng.choice(["mute_time_intervals", "active_time_intervals"])] = ["t"]
    else:
        s["route"]["routes"] = [
            {"matchers": ['alertname=~"A|B"'], "receiver": "r0", "mute_time_intervals": ["t"]}
        ]


def draw(seed):
    """The scenario of a seed."""
    rng = random.Random(seed)
    mode = MODES[seed % len(MODES)]
    s = {"seed": seed, "mode": mode}
    s["start"] = pick(
        rng, [(3, "2026-01-05T00:00:00Z"), (1, "2026-03-29T00:30:00Z"), (1, "2026-01-05T21:30:00Z")]
    )
    s["sender"] = pick(rng, [(5, "am"), (3, "pair"), (2, "prom"), (1, "prompair")])
    if mode in ("storm", "flappers", "defaults", "growth"):
        s["sender"] = pick(rng, [(5, "am"), (1, "pair"), (1, "prom")])
    if mode in ("lapse", "both"):
        s["sender"] = mode
    if mode == "late":
        s["sender"] = rng.choice(["am", "pair"])
    s["repeat"] = rng.choice([5 * MIN, 1 * HOUR, 4 * HOUR])
    if mode == "long":
        # Behaviour tests have at most 100,000 statements.
        s["sender"], s["repeat"] = rng.choice(["am", "pair"]), 4 * HOUR
    s["lag"] = [[rng.choice([0, 0, 1, 5, 15]), rng.choice([0, 1, 5, 20])] for _ in range(7)]
    s["integration"] = pick(rng, [(4, "pagerduty"), (1, "webhook")])
    s["levels"] = [{"name": "critical", "never_hold": True}, {"name": "warning"}, {"name": "info"}]
    if mode != "defaults":
        if rng.random() < 0.3:
            s["levels"][1]["hold"] = rng.choice([30, 2 * MIN, 10 * MIN])
        if rng.random() < 0.2:
            s["levels"][2]["hold"] = rng.choice([1 * MIN, 10 * MIN])
    for level in s["levels"][:2]:
        if rng.random() < (0.7 if mode == "escalations" else 0.08):
            level.update(respond_within=rng.choice([1 * MIN, 5 * MIN, 1 * HOUR]), escalate_to=LEAD)
    s["noise"] = {"default": {} if mode == "defaults" else draw_noise(rng)}
    if rng.random() < 0.15 and mode != "defaults":
        s["noise"]["other"] = draw_noise(rng)
    profiles = list(s["noise"])
    if mode == "profiles":
        profiles = ["balanced", "quiet", "calm"]
        for name in profiles:
            if rng.random() < 0.3:
                s["noise"][name] = draw_noise(rng)
    s["route"] = draw_route(rng, profiles)
    if mode == "profiles":
        s["route"]["noise"] = rng.choice(profiles)
    draw_mode(rng, mode, s)
    least = {"am": 10, "pair": 130, "prom": 30, "prompair": 130, "lapse": 240, "both": 130}[s["sender"]]
    count = pick(rng, [(2, 1), (3, 2), (3, 3), (2, 4), (1, 6)])
    if mode == "storm":
        count = rng.randrange(4, 12)
    if mode == "growth":
        count = rng.randrange(14, 40)
    s["alerts"], seen = [], set()
    for _ in range(count):
        labels = draw_labels(rng, mode)
        key = json.dumps(labels, sort_keys=True)
        if key not in seen:
            seen.add(key)
            s["alerts"].append(draw_alert(rng, mode, labels, least))
    draw_mutes(rng, mode, s)
    if mode == "deliveries":
        s["deliveries"], t = [], 0
        for _ in range(rng.randrange(1, 3)):
            t += rng.choice([0, 1, 100, 700, 4000])
            d = rng.choice([30, 200, 1000, 2 * HOUR])
            s["deliveries"].append([t, t + d, rng.choice(["hang", "hang", "reject"])])
            t += d
    return s


def severity_level(labels):
    """The number of the level: 0 is the highest, as are a missing and an unknown value."""
    return {"warning": 1, "info": 2, "none": 2}.get(labels.get("severity", "").lower(), 0)
