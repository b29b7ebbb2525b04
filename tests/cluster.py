"""Breaks a cluster of replicas, round by round, and counts at the pager: see tests/cluster.

Three replicas of `squelch serve`, each in a network namespace of its own, share a PostgreSQL. Two Alertmanagers, which
know each other, send to all three. The replicas page a `squelch fake-pager`, which merges by key as PagerDuty does.
Each round fires some outages, ends some earlier ones, and injects one fault. Then each outage must be open exactly once,
and each one that ended must be closed, within a bound.
"""
import argparse
import collections
import datetime as dt
import glob
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SQUELCH = os.path.abspath(os.environ["SQUELCH"])
POSTGRES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
DATABASE, PAGER = "10.99.0.1", "10.99.0.2"
ALERTMANAGERS = ["127.0.0.1:9093", "127.0.0.1:9193"]
REPLICAS = 3
# How long a pause or a cut lasts: longer than the lease of 10 s.
PAUSE_S = 15
# What a supervisor waits before it starts a replica again.
RESTART_S = 1
# An outage must be open, or closed, so long after the fault at the latest.
BOUND_S = 90
# What might still come late, after the last round: Squelch believes a second Alertmanager after 60 s.
LINGER_S = 75


def run(*command, check=True):
    """Runs a command to its end."""
    return subprocess.run(command, check=check, capture_output=True, text=True)


def http(url, body=None, timeout=3):
    """The answer to a request, or None."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read().decode()
    except (OSError, urllib.error.URLError):
        return None


def until(what, holds, seconds=60):
    """Waits until something holds."""
    end = time.time() + seconds
    while not (found := holds()):
        if time.time() > end:
            raise SystemExit(f"{what} did not happen within {seconds} s")
        time.sleep(0.1)
    return found


def seconds(text):
    """A time of the pager, in seconds since 1970."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Postgres:
    """A PostgreSQL of our own, which runs as somebody whom it serves."""

    def __init__(self, folder):
        self.data = os.path.join(folder, "postgres")
        self.log = open(os.path.join(folder, "postgres.log"), "a")
        os.mkdir(self.data)
        shutil.chown(self.data, "postgres")
        run(*self.program("initdb"), "-D", self.data, "-U", "squelch", "--auth=trust", "--encoding=UTF8", "--locale=C")
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as hba:
            hba.write("host all all all trust\n")
        self.start()
        run(*self.psql("postgres"), "-c", "CREATE DATABASE squelch")

    @staticmethod
    def program(name):
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", os.path.join(POSTGRES, name)]

    @staticmethod
    def psql(database="squelch"):
        return [os.path.join(POSTGRES, "psql"), "-qAtX", "-h", DATABASE, "-U", "squelch", "-d", database]

    def start(self):
        """Starts it, also where what is left of the one before takes a moment to end."""
        def answers():
            if self.process.poll() is not None:
                self.launch()
            return run(*self.psql("postgres"), "-c", "SELECT 1", check=False).returncode == 0

        self.launch()
        until("PostgreSQL answers", answers)

    def launch(self):
        options = ["-c", f"listen_addresses={DATABASE}", "-c", "unix_socket_directories="]
        self.process = subprocess.Popen([*self.program("postgres"), "-D", self.data, *options],
                                        stdout=self.log, stderr=self.log)

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()


class Replica:
    """One replica, in a network of its own: a cable leads from it to everything else."""

    def __init__(self, number, folder, config):
        self.name, self.cable, self.own = f"replica {number}", f"cable{number}", f"inside{number}"
        self.near, self.address = f"10.99.{number}.1", f"10.99.{number}.2"
        self.log = open(os.path.join(folder, f"replica{number}.log"), "a")
        self.command = [SQUELCH, "serve", f"--config.file={config}",
                        f"--storage.path={os.path.join(folder, f'data{number}')}",
                        f"--web.listen-address={self.address}:9096"]
        self.ended_at, self.ends, self.process = None, [], None
        # It holds the namespace while no replica runs there.
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
                                       stdout=subprocess.PIPE)
        self.holder.stdout.readline()
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", self.own)
        run("ip", "link", "set", self.own, "netns", str(self.holder.pid))
        run("ip", "addr", "add", f"{self.near}/30", "dev", self.cable)
        run("ip", "link", "set", self.cable, "up")
        inside = self.inside()
        run(*inside, "ip", "link", "set", "lo", "up")
        run(*inside, "ip", "addr", "add", f"{self.address}/30", "dev", self.own)
        run(*inside, "ip", "link", "set", self.own, "up")
        run(*inside, "ip", "route", "add", "default", "via", self.near)
        self.start()

    def inside(self):
        return ["nsenter", "-t", str(self.holder.pid), "-n"]

    def start(self):
        # It is a child of ours, so that a signal to it reaches nobody else.
        self.process = subprocess.Popen([*self.inside(), *self.command], stdout=self.log, stderr=self.log)
        self.ended_at = None

    def tend(self):
        """Starts it again some time after it has ended, as a supervisor does."""
        status = self.process.poll()
        if status is not None and self.ended_at is None:
            self.ended_at = time.time()
            self.ends.append(status)
        if self.ended_at is not None and time.time() - self.ended_at >= RESTART_S:
            self.start()

    def metrics(self):
        """Its own metrics, or nothing."""
        text = http(f"http://{self.address}:9096/metrics", timeout=1) or ""
        return {name: float(value) for name, value in re.findall(r"^(squelch_storage_\w+) (\S+)$", text, re.M)}


def kill(cluster, owner):
    """SIGKILL of the owner"""
    owner.process.kill()
    yield 0


def pause(cluster, owner):
    """SIGSTOP of the owner for 15 s"""
    owner.process.send_signal(signal.SIGSTOP)
    yield PAUSE_S
    cluster.is_fenced(owner, lambda: owner.process.send_signal(signal.SIGCONT))


def terminate(cluster, owner):
    """SIGTERM of the owner"""
    owner.process.terminate()
    yield 0


def sessions(cluster, owner):
    """pg_terminate_backend of all sessions"""
    run(*cluster.postgres.psql(), "-c", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = 'squelch' AND pid <> pg_backend_pid()")
    yield 0


def restart(cluster, owner):
    """PostgreSQL restarted (-m fast)"""
    cluster.postgres.end(signal.SIGINT)
    yield 1
    cluster.postgres.start()


def crash(cluster, owner):
    """PostgreSQL killed"""
    cluster.postgres.end(cluster.random.choice([signal.SIGKILL, signal.SIGQUIT]))
    yield 1
    cluster.postgres.start()


def cut(cluster, owner):
    """network of the owner cut for 15 s"""
    run("ip", "link", "set", owner.cable, "down")
    yield PAUSE_S
    cluster.is_fenced(owner, lambda: run("ip", "link", "set", owner.cable, "up"))


def cut_database(cluster, owner):
    """owner cut from PostgreSQL only for 15 s"""
    rule = ["from", DATABASE, "to", owner.address, "pref", "100", "blackhole"]
    run("ip", "rule", "add", *rule)
    yield PAUSE_S
    cluster.is_fenced(owner, lambda: run("ip", "rule", "del", *rule))


FAULTS = {fault.__name__: fault for fault in [kill, pause, terminate, sessions, restart, crash, cut, cut_database]}


class Tally:
    """What became of the rounds with one kind of fault."""

    def __init__(self):
        self.rounds = self.lost = self.doubled = self.resent = self.fenced = 0
        self.failovers = []


class Cluster:
    """All that runs, and what must be seen at the pager."""

    def __init__(self, folder, seed, peer_timeout):
        self.folder, self.random = folder, random.Random(seed)
        # Outages by name: when they began, and when they ended.
        self.began, self.over, self.errors = {}, {}, []
        # To the round of each outage, for what is found in the end.
        self.kind_of = {}
        run("ip", "link", "set", "lo", "up")
        for address in (DATABASE, PAGER):
            run("ip", "addr", "add", f"{address}/32", "dev", "lo")
        with open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
            forward.write("1")
        self.postgres = Postgres(folder)
        self.pager = self.spawn("pager", SQUELCH, "fake-pager", f"--web.listen-address={PAGER}:9196")
        config = self.write("squelch.yml", f"""
global: {{failopen_after: 5s}}
storage: {{postgres: {{url_file: {self.write("url", f"postgres://squelch@{DATABASE}/squelch?sslmode=disable")}}}}}
route: {{receiver: pager, group_by: [outage]}}
receivers: [{{name: pager, webhook_configs: [{{url: 'http://{PAGER}:9196/webhook/a', timeout: 5s}}]}}]
noise: {{default: {{resolve_hold: 0s, storm: {{start: 0}}, limit: {{pages: 0}}}}}}
""")
        self.replicas = [Replica(number, folder, config) for number in range(1, REPLICAS + 1)]
        hooks = "\n".join(f"      - {{url: 'http://{replica.address}:9096/alertmanager/webhook', send_resolved: true}}"
                          for replica in self.replicas)
        config = self.write("alertmanager.yml", f"""
route: {{receiver: squelch, group_by: [outage], group_wait: 1s, group_interval: 1s, repeat_interval: 4h}}
receivers:
  - name: squelch
    webhook_configs:
{hooks}
""")
        gossip = ["127.0.0.1:9094", "127.0.0.1:9194"]
        for number, address in enumerate(ALERTMANAGERS):
            self.spawn(f"alertmanager{number}", "prometheus-alertmanager", f"--config.file={config}",
                       f"--storage.path={os.path.join(folder, f'alertmanager{number}')}",
                       f"--web.listen-address={address}", f"--cluster.listen-address={gossip[number]}",
                       f"--cluster.advertise-address={gossip[number]}", f"--cluster.peer={gossip[1 - number]}",
                       f"--cluster.peer-timeout={peer_timeout}")
        for address in ALERTMANAGERS:
            until("Alertmanager knows its peer", lambda: '"status":"ready"' in
                  (http(f"http://{address}/api/v2/status") or ""))
        self.settle()

    def spawn(self, name, *command):
        log = open(os.path.join(self.folder, f"{name}.log"), "a")
        return subprocess.Popen(command, stdout=log, stderr=log)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text.strip() + "\n")
        return path

    def tend(self):
        for replica in self.replicas:
            replica.tend()

    def wrong(self, what):
        self.errors.append(what)
        print(f"    WRONG: {what}", flush=True)

    def is_fenced(self, owner, wake):
        """Ends a fault that was longer than the lease: the owner must find that another one took over, and end."""
        ends = len(owner.ends)
        wake()
        end = time.time() + BOUND_S / 3
        while len(owner.ends) == ends and time.time() < end:
            self.tend()
            time.sleep(0.1)
        if owner.ends[ends:] != [1]:
            self.wrong(f"{owner.name} was not fenced: it ended with {owner.ends[ends:]}")

    def settle(self):
        """Waits until all replicas run, and one of them owns the journal; gives that one, and the count of fenced."""
        def whole():
            self.tend()
            found = [replica.metrics() for replica in self.replicas]
            owners = [r for r, m in zip(self.replicas, found) if m.get("squelch_storage_owner") == 1]
            if all(found) and len(owners) == 1:
                return owners[0], int(max(m.get("squelch_storage_fenced", 0) for m in found))
            return None

        return until("the cluster is whole again", whole)

    def tell(self, outages):
        """Tells both Alertmanagers of outages as they are."""
        def alert(name):
            end = self.over.get(name, self.began[name] + 86_400)
            times = {"startsAt": self.began[name], "endsAt": end}
            times = {k: dt.datetime.fromtimestamp(t, dt.timezone.utc).isoformat() for k, t in times.items()}
            return {"labels": {"alertname": "Down", "severity": "critical", "outage": name}, **times}

        for address in ALERTMANAGERS if outages else []:
            until("Alertmanager takes alerts", lambda: http(f"http://{address}/api/v2/alerts",
                                                            [alert(name) for name in outages]) is not None)

    def fire(self, *outages):
        self.began.update((name, time.time()) for name in outages)
        self.tell(outages)

    def end(self, outages):
        self.over.update((name, time.time()) for name in outages)
        self.tell(outages)

    def seen(self):
        """The incidents at the pager, by outage."""
        incidents = collections.defaultdict(list)
        for incident in json.loads(http(f"http://{PAGER}:9196/incidents", timeout=30)):
            incidents[incident["details"]["groupLabels"]["outage"]].append(incident)
        return incidents

    def missing(self):
        """What the pager must still show: outages that are not open yet, and those that are not closed yet."""
        seen = self.seen()
        return [f"{name} is {'not closed' if seen.get(name) else 'lost'}" for name in self.began
                if not seen.get(name) or (name in self.over and not seen[name][-1]["closed_at"])]

    def round(self, number, kind, tallies):
        """One fault among outages that come and go."""
        tally, some = tallies[kind], self.random
        owner, fenced = self.settle()
        outages = [f"{number}-{n}" for n in range(some.randint(1, 4))]
        probe = f"{number}-probe"
        for name in [*outages, probe]:
            self.kind_of[name] = kind
        live = sorted(set(self.began) - set(self.over))
        ending = some.sample(live, min(len(live), some.randint(1, 4)))
        self.fire(*outages)
        self.end(ending[::2])
        time.sleep(some.uniform(0, 2))
        start = time.time()
        fault = FAULTS[kind](self, owner)
        hold = start + next(fault)
        self.fire(probe)
        self.end(ending[1::2])
        while time.time() < hold:
            self.tend()
            time.sleep(0.1)
        next(fault, None)

        def done():
            self.tend()
            return not self.missing()

        while not done() and time.time() < start + BOUND_S:
            time.sleep(0.3)
        for what in self.missing():
            self.wrong(f"round {number}, {kind}: {what} {BOUND_S} s after the fault")
        now_owner, now_fenced = self.settle()
        opened = self.seen().get(probe)
        took = seconds(opened[0]["opened_at"]) - start if opened else None
        tally.rounds += 1
        tally.fenced += now_fenced - fenced
        tally.failovers += [took] if opened else []
        print(f"{number:4} {kind:12} {owner.name} -> {now_owner.name}: page after "
              f"{'never' if took is None else f'{took:.1f} s'}, fenced {now_fenced - fenced}, "
              f"opened {len(outages) + 1}, ended {len(ending)}, took {time.time() - start:.0f} s", flush=True)

    def count(self, tallies):
        """Ends all outages, waits for what might come late, and counts what the pager has."""
        self.end(sorted(set(self.began) - set(self.over)))
        end = time.time() + BOUND_S
        while self.missing() and time.time() < end:
            self.tend()
            time.sleep(0.3)
        for what in self.missing():
            self.wrong(f"in the end: {what}")
        time.sleep(LINGER_S)
        seen = self.seen()
        for name, kind in self.kind_of.items():
            incidents, tally = seen.get(name, []), tallies[kind]
            tally.lost += not incidents
            tally.doubled += max(len(incidents) - 1, 0)
            tally.resent += sum(incident["triggers"] - 1 for incident in incidents)
            if len(incidents) > 1 or any(incident["notified"] != 1 for incident in incidents):
                told = [(i["dedup_key"], i["opened_at"], i["closed_at"], i["triggers"]) for i in incidents]
                self.wrong(f"{name} ({kind}) is doubled: {told}")
        for name in set(seen) - set(self.began):
            self.wrong(f"{name} was never fired")


def table(tallies):
    """The results, as docs/cluster.md has them."""
    lines = ["| fault | rounds | lost | doubled | re-sent | fenced | median | maximum |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for kind, tally in tallies.items():
        if tally.rounds:
            times = tally.failovers
            times = [statistics.median(times), max(times)] if times else [float("nan")] * 2
            lines.append(f"| {FAULTS[kind].__doc__} | {tally.rounds} | {tally.lost} | {tally.doubled} | {tally.resent} "
                         f"| {tally.fenced} | {times[0]:.1f} s | {times[1]:.1f} s |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=90, help="no round begins later")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(FAULTS), help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--peer-timeout", default="15s", help="Alertmanager's --cluster.peer-timeout")
    parser.add_argument("--keep", action="store_true", help="keep the logs also if all went well")
    args = parser.parse_args()
    kinds = args.only.split(",")
    if unknown := set(kinds) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(unknown)}")
    folder = tempfile.mkdtemp(prefix="squelch-cluster-")
    os.chmod(folder, 0o711)
    print(f"logs in {folder}, seed {args.seed}", flush=True)
    end = time.time() + 60 * args.minutes
    cluster, tallies = Cluster(folder, args.seed, args.peer_timeout), {kind: Tally() for kind in FAULTS}
    deck = []
    for number in range(1, args.rounds + 1):
        if time.time() > end:
            print(f"{args.minutes:g} minutes are over")
            break
        if not deck:
            deck = list(kinds)
            cluster.random.shuffle(deck)
        cluster.round(number, deck.pop(), tallies)
    cluster.count(tallies)
    print(f"\n{len(cluster.began)} outages\n{table(tallies)}")
    if cluster.errors:
        print(f"\n{len(cluster.errors)} WRONG:", *cluster.errors, sep="\n  ")
    elif not args.keep:
        shutil.rmtree(folder)
    # The end of this process ends all others: it is the first of its namespace.
    sys.exit(1 if cluster.errors else 0)


if __name__ == "__main__":
    main()
