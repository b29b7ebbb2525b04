"""Runs scenarios through `squelch test`, and reads what receivers accepted."""

import atexit
import json
import os
import re
import shutil
import subprocess
import tempfile

import scenario as S

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
SQUELCH = os.path.abspath(os.environ.get("SQUELCH", os.path.join(ROOT, "target/release/squelch")))
WORK = tempfile.mkdtemp(prefix="squelch-search-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
atexit.register(shutil.rmtree, WORK, True)
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001, "w": 604800, "y": 31536000}
ALERT = re.compile(r'([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"')


class Refused(Exception):
    """The configuration or the test is not valid."""


def seconds(text):
    """A duration as `squelch test` prints it, in seconds."""
    return round(sum(int(n) * UNITS[u] for n, u in re.findall(r"(\d+)(ms|[ywdhms])", text)), 3)


class Row:
    """One notification that a receiver accepted."""

    def __init__(self, got):
        self.at, self.kind, self.receiver = seconds(got["at"]), got["kind"], got["receiver"]
        self.incident = got["incident"]
        self.alerts = [(frozenset(ALERT.findall(text)), text.endswith(" resolved")) for text in got["alerts"]]
        note = lambda start: next((n[len(start) :] for n in got["notes"] if n.startswith(start)), "")
        self.severity, self.why = note("severity "), note("why: ")

    def firing(self):
        """The label sets that it shows as firing."""
        return [labels for labels, resolved in self.alerts if not resolved]

    def __repr__(self):
        show = lambda labels: "".join(v + "/" for _, v in sorted(labels))
        alerts = [show(labels) + ("-" if resolved else "+") for labels, resolved in self.alerts]
        key = (self.incident or "")[:6]
        start = f"{self.at:9.1f} {self.kind:7} {self.receiver} #{key}"
        return f"{start} {' '.join(alerts)} [{self.severity}] {self.why}"


def write(s, said, folder, name="t"):
    """Writes the configuration and the test NAME.yml. Returns the path of the test."""
    config, test = f"{name}.squelch.yml", os.path.join(folder, f"{name}.yml")
    with open(os.path.join(folder, config), "w") as f:
        f.write(S.config_text(s))
    with open(test, "w") as f:
        json.dump({"config_file": config, "start": s["start"], "tests": [S.test_of(s, said)]}, f, indent=1)
    return test


def run(s, said=None):
    """The accepted notifications by time, of the scenario or of other statements in its configuration."""
    done = subprocess.run(
        [SQUELCH, "test", "-o", "json", write(s, said, WORK)], capture_output=True, text=True
    )
    try:
        file = json.loads(done.stdout)["files"][0]
    except (ValueError, KeyError) as e:
        raise Refused(f"{done.stdout[:500]} {done.stderr[:500]}") from e
    errors = file["errors"] or [t["error"] for t in file["tests"] if t["error"]]
    if errors:
        raise Refused(json.dumps(errors))
    rows = [Row(row["got"]) for row in file["tests"][0]["rows"] if row["got"]]
    kinds = ("page", "update", "resolve", "digest")
    return sorted((row for row in rows if row.kind in kinds), key=lambda row: row.at)
