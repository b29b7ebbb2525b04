"""Checks the oracle: plants errors in accepted notifications, and prints how often the oracle notices them.

The scenarios are those of the seeds FROM to TO in which the oracle finds nothing.
"""

import collections
import copy
import random
import sys

import oracle
import runner
import scenario


def lost(kind):
    """The error that one notification of a kind is missing."""
    return lambda rows, x: [r for r in rows if r is not x] if x.kind == kind else None


def changed(which, **values):
    """The error that one notification of a kind has other values."""

    def error(rows, x):
        if x.kind != which:
            return None
        y = copy.copy(x)
        for key, value in values.items():
            setattr(y, key, value(x))
        return sorted([y if r is x else r for r in rows], key=lambda r: r.at)

    return error


ERRORS = {
    "a page is lost": lost("page"),
    "an update is lost": lost("update"),
    "a resolve is lost": lost("resolve"),
    "a page is an update": changed("page", kind=lambda x: "update"),
    "a page is 2 h late": changed("page", at=lambda x: x.at + 7200),
    "a resolve is 6 h late": changed("resolve", at=lambda x: x.at + 6 * 3600),
    "a page goes to another receiver": changed(
        "page", receiver=lambda x: "r2" if x.receiver != "r2" else "r1"
    ),
    "a page shows firing alerts as resolved": changed(
        "page", alerts=lambda x: [(a, True) for a, _ in x.alerts]
    ),
}


def main(first, last):
    rng, noticed, made = random.Random(1), collections.Counter(), collections.Counter()
    for seed in range(first, last):
        s = scenario.draw(seed)
        rows = runner.run(s)
        if oracle.judge(s, rows):
            continue
        for name, error in ERRORS.items():
            wrong = [w for w in (error(rows, x) for x in rng.sample(rows, len(rows))) if w is not None][:1]
            made[name] += len(wrong)
            noticed[name] += any(oracle.judge(s, w) for w in wrong)
    for name in ERRORS:
        print(f"{name}: the oracle noticed {noticed[name]} of {made[name]}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
