"""Measures how many alerts a second Squelch accepts and decides: a file beside PostgreSQL with 1, 2 and 3 replicas.

Usage: tests/throughput.py [SECONDS [ROUNDS]]

The program is $SQUELCH, else target/release/squelch. PostgreSQL is the newest below /usr/lib/postgresql. All of it
runs on this machine, so only the ratios mean anything. Each request is a webhook with 50 alerts of which each is
new, from 16 senders. A round measures every arrangement once, and the table has the median of the rounds.
"""
import glob
import http.client
import json
import os
import pathlib
import pwd
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SQUELCH = os.environ.get("SQUELCH", str(ROOT / "target/release/squelch"))
SENDERS, ALERTS = 16, 50
ARRANGEMENTS = [("file", 1), ("postgres", 1), ("postgres", 2), ("postgres", 3)]
CONFIG = """
route: {receiver: log, group_by: [alertname], group_wait: 30s}
receivers: [{name: log}]
severities: {levels: [{name: critical, never_hold: true}, {name: warning}]}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Postgres:
    """A server of this run, in a folder of its own."""

    def __init__(self, folder):
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.data, self.port = folder / "pg", free_port()
        self.user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        if self.user:
            os.chmod(folder, 0o755)
            self.data.mkdir()
            os.chown(self.data, pwd.getpwnam("postgres").pw_uid, -1)
        init = ["initdb", "-D", self.data, "-U", "squelch", "--auth=trust", "--no-sync"]
        self.run(init, check=True)
        self.server = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", self.data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
             "-c", "unix_socket_directories="],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self.user)
        while self.run(["pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]).returncode:
            time.sleep(0.1)

    def run(self, command, **options):
        command = [f"{self.bin}/{command[0]}", *command[1:]]
        return subprocess.run(command, stdout=subprocess.DEVNULL, cwd="/", **self.user, **options)

    def database(self, name, folder):
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "squelch"]
        self.run(["createdb", *where, name], check=True)
        file = folder / f"{name}.url"
        file.write_text(f"postgres://squelch@127.0.0.1:{self.port}/{name}\n")
        return file

    def stop(self):
        self.server.send_signal(signal.SIGINT)
        self.server.wait()


def bodies(sender):
    """Webhook bodies whose alerts are all new."""
    n = 0
    while True:
        alerts = []
        for i in range(ALERTS):
            labels = {"alertname": f"A{i % 10}", "instance": f"{sender}-{n}-{i}", "severity": "warning"}
            alerts.append({"status": "firing", "labels": labels, "annotations": {"summary": "It is slow."},
                           "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z"})
        n += 1
        yield json.dumps({"version": "4", "groupKey": f"{{}}:{sender}", "externalURL": f"http://am{sender}",
                          "alerts": alerts}).encode()


def send(port, sender, until, accepted):
    connection, count = http.client.HTTPConnection("127.0.0.1", port, timeout=30), 0
    for body in bodies(sender):
        if time.monotonic() >= until:
            break
        connection.request("POST", "/alertmanager/webhook", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        count += ALERTS if answer.status == 200 else 0
    accepted.append(count)


def routed(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    lines = [line for line in text.splitlines() if line.startswith("squelch_alerts_routed_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def measure(storage, replicas, seconds, url, folder):
    """Alerts a second that were accepted, and that were decided."""
    config = folder / "squelch.yml"
    config.write_text(CONFIG + (f"storage: {{postgres: {{url_file: '{url}'}}}}\n" if url else ""))
    ports, children = [free_port() for _ in range(replicas)], []
    try:
        for i, port in enumerate(ports):
            children.append(subprocess.Popen(
                [SQUELCH, "serve", f"--config.file={config}", f"--storage.path={folder}/{storage}{replicas}-{i}",
                 f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            while True:
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                    connection.request("GET", "/-/ready")
                    if connection.getresponse().status == 200:
                        break
                except OSError:
                    pass
                time.sleep(0.05)
        accepted, began = [], time.monotonic()
        senders = [threading.Thread(target=send, args=(ports[i % replicas], i, began + seconds, accepted))
                   for i in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        took, total = time.monotonic() - began, sum(accepted)
        while routed(ports[0]) < total:
            time.sleep(0.02)
        return total / took, total / (time.monotonic() - began)
    finally:
        for child in children:
            child.kill()
            child.wait()


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    results = {arrangement: [] for arrangement in ARRANGEMENTS}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server = Postgres(folder)
        try:
            for n in range(rounds):
                for storage, replicas in ARRANGEMENTS:
                    url = server.database(f"r{n}x{replicas}", folder) if storage == "postgres" else None
                    run = folder / f"{n}-{storage}-{replicas}"
                    run.mkdir()
                    found = measure(storage, replicas, seconds, url, run)
                    results[storage, replicas].append(found)
                    print(f"round {n + 1}: {storage}, {replicas} replicas: {found[0]:.0f} accepted, "
                          f"{found[1]:.0f} decided a second", file=sys.stderr, flush=True)
        finally:
            server.stop()
    base = None
    print("| storage | replicas | accepted, alerts/s | decided, alerts/s | decided, beside the file |\n| --- | --- | --- | --- | --- |")
    for (storage, replicas), found in results.items():
        accepted, decided = (statistics.median(column) for column in zip(*found))
        base = base or decided
        print(f"| {storage} | {replicas} | {accepted:.0f} | {decided:.0f} | {decided / base:.2f} |")


if __name__ == "__main__":
    main()
