"""Judges the scenarios of the seeds FROM to TO, and writes each breach as one line of JSON to OUT."""

import collections
import json
import sys
import time

import oracle
import runner
import scenario


def main(first, last, out):
    found, refused = collections.Counter(), collections.Counter()
    began, notifications = time.time(), 0
    with open(out, "a") as file:
        for seed in range(first, last):
            s = scenario.draw(seed)
            try:
                rows = runner.run(s)
            except runner.Refused as e:
                refused[str(e)[:90]] += 1
                continue
            notifications += len(rows)
            for invariant, text in dict(reversed(oracle.judge(s, rows))).items():
                found[invariant] += 1
                print(json.dumps({"seed": seed, "invariant": invariant, "text": text}), file=file, flush=True)
    print(
        json.dumps(
            {
                "scenarios": last - first,
                "notifications": notifications,
                "refused": refused,
                "found": found,
                "seconds": round(time.time() - began),
            }
        )
    )
    return bool(found or refused)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
