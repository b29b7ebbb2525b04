"""Two more checks.

modes observe FROM TO OUT: Squelch forwards the notifications of the sender, so receivers get the plain truth.

modes behind FROM TO OUT: the page of a group lists each alert of the group that fires and was not shown.
"""

import copy
import json
import sys

import oracle
import runner
import scenario
import truth

PLAIN = {
    "flapping": {"suppress_at": 0},
    "resolve_hold": 0,
    "merge_window": 86400,
    "escalate": False,
    "growth": 0,
    "storm": {"start": 0},
    "limit": {"pages": 0},
    "alone": {"pages": 0},
    "digest": 0,
}


def every_profile(s):
    """All profiles that its routes may name, with the ones that are not in the scenario."""
    return {
        name: s["noise"].setdefault(name, {})
        for name in {"default", "balanced", "quiet", "calm", *s["noise"]}
    }


def observe(s):
    """The breaches in observe mode, against a judgement without noise stages."""
    if s["mode"] in ("severities", "deliveries"):
        return []
    for p in every_profile(s).values():
        p["mode"] = "observe"
    rows = runner.run(s)
    plain = copy.deepcopy(s)
    plain.pop("inhibit_rules", None)
    for name, p in every_profile(plain).items():
        p.clear()
        p.update(
            copy.deepcopy(PLAIN),
            wait=0,
            usual_per_day=0,
            busy={"wait": 0, "usual_per_day": 0},
            hold={"for": 0, "levels": []},
        )
    plain["levels"] = [{"name": x["name"], "never_hold": x.get("never_hold", False)} for x in s["levels"]]
    for node in scenario.nodes(plain):
        node.pop("group_wait", None)
    return [x for x in oracle.judge(plain, rows) if x[0].split("-")[0] in ("1", "3", "4", "6")]


def behind(s):
    """The alerts of a group that fire while its page leaves without them."""
    if (
        s["mode"] not in ("flappers", "defaults", "plain", "late")
        or s.get("inhibit_rules")
        or s.get("time_intervals")
    ):
        return []
    rows = runner.run(s)
    known, found = truth.Truth(s, rows), []
    for page in [r for r in rows if r.kind == "page" and r.receiver not in known.merged_at | {scenario.LEAD}]:
        own = [known.find(labels) for labels, _ in page.alerts]
        its = [d for a in own for d in a.at(page.receiver)]
        groups = {(d.node, d.group(a.labels)) for a in own for d in a.at(page.receiver)}
        n = its[0].noise
        if len(groups) != 1 or len(its) != len(own) or its[0].group_wait or n["wait"] or n["hold"]["for"]:
            continue
        for x in set(known.alerts) - set(own):
            here = x.at(page.receiver)
            if len(here) != 1 or (here[0].node, here[0].group(x.labels)) not in groups:
                continue
            if x.hold or known.usual(x, here[0]) or not x.surely(page.at, known.slack):
                continue
            a = x.occurrence(page.at)[0]
            shown = any(
                r.receiver == page.receiver
                and r.kind in ("page", "update")
                and a <= r.at < page.at
                and known.shows(r, x)
                for r in rows
            )
            if a < page.at - known.slack - 1 and not shown:
                found.append(("behind", f"{x.name} fires since {a}, and the page lacks it: {page}"))
    return found


def main(check, first, last, out):
    count = 0
    with open(out, "a") as file:
        for seed in range(first, last):
            for invariant, text in dict(reversed(check(scenario.draw(seed)))).items():
                count += 1
                print(
                    json.dumps({"seed": seed, "invariant": f"{check.__name__}-{invariant}", "text": text}),
                    file=file,
                    flush=True,
                )
    print(json.dumps({"seeds": last - first, "found": count}))
    return bool(count)


if __name__ == "__main__":
    sys.exit(
        main(
            {"observe": observe, "behind": behind}[sys.argv[1]],
            int(sys.argv[2]),
            int(sys.argv[3]),
            sys.argv[4],
        )
    )
