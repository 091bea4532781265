#!/usr/bin/env python3
"""What a front end costs: bodies read through it beside bodies read directly, memory of idle clients that it has handed
over, sign-ins through it. Two servers on one machine over loopback, in a folder that is removed afterwards.

Needs a release build of Waypost (or --binary) and the load tool (`cargo build --release` in this folder).

    bench/proxy.py               all of it
    bench/proxy.py --quick       a tenth of it, for a first look
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import run
from run import Table, free_port, load, resident_mib, wait_port

DOORS = ["smtp", "submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s", "inner", "metrics", "api"]


class Server:
    def __init__(self, folder, name, roles):
        self.data, self.name, self.roles = folder / name, name, roles
        self.ports = {door: free_port() for door in DOORS}
        self.data.mkdir()
        lines = [f'{door} = ["127.0.0.1:{port}"]' for door, port in self.ports.items()]
        (self.data / "server.toml").write_text("[listeners]\n" + "\n".join(lines) + "\n")

    def command(self, *words):
        done = subprocess.run([run.WAYPOST, "--data", self.data, *words, "--json"], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def prepare(self, *words):
        done = subprocess.run([run.WAYPOST, "--data", self.data, *words], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{words}: {done.stderr}")

    def begin(self):
        self.process = subprocess.Popen([run.WAYPOST, "serve", "--roles", self.roles, "--data", self.data],
                                        stdout=subprocess.DEVNULL, stderr=open(self.data.with_suffix(".log"), "w"))
        wait_port(self.ports["metrics"])
        time.sleep(1)
        self.pid = self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(45)
        except subprocess.TimeoutExpired:
            self.process.kill()


def organisation(folder):
    # The home meets clients too, so that there is something to compare with.
    home = Server(folder, "home", "frontend,transport,mailbox")
    home.prepare("init", "--domain", "contoso.test", "--host", "home.contoso.test")
    home.begin()
    most = "20000"
    for noun in ("ImapSettings", "PopSettings"):
        home.command(f"Set-{noun}", "-MaxConnections", most, "-MaxConnectionFromSingleIP", most, "-MaxConnectionsPerUser", most, "-LoginType", "PlainTextLogin")
    front = Server(folder, "front", "frontend")
    token = home.command("New-ServerToken", "-Roles", "frontend")[0]["Token"]
    front.prepare("join", token, "--id", "front", "--host", "front.contoso.test", "--inner",
                  f"127.0.0.1:{front.ports['inner']}", "--roles", "frontend")
    front.begin()
    return home, front


def people(home, count):
    table = home.data.parent / "people.csv"
    rows = [f"user{n},user{n}@contoso.test,load-test-{n}" for n in range(count)]
    table.write_text("Name,PrimarySmtpAddress,Password\n" + "\n".join(rows) + "\n")
    home.command("Import-Recipient", "-Path", str(table))
    time.sleep(3)
    return [f"user{n}@contoso.test:load-test-{n}" for n in range(count)]


def measure(home, front, table, scale):
    users = people(home, 100 if scale == 1 else 20)
    one = users[0]
    made = load("fill", imap=home.ports["imap"], users=one, folder="Large", count=4000 // scale, batch=50, size=100_000)
    print(f"  filled: {made}", flush=True)
    for tls, door in ((None, "imap"), (1, "imaps")):
        ways = {server.name: [] for server in (home, front)}
        for _ in range(3):
            for server in (home, front):
                got = load("bodies", imap=server.ports[door], users=one, folder="Large", tls=tls)
                ways[server.name].append(got.get("mb_per_second", 0))
        direct, proxied = ({"mb_per_second": max(ways[name])} for name in ("home", "front"))
        how = " over TLS" if tls else ""
        table.add(f"full bodies{how}, proxied beside direct", proxied, direct, "mb_per_second", 0.8, unit="MB/s")
    sign_ins = [load("login", imap=s.ports["imaps"], users=",".join(users), count=2000 // scale, connections=10, tls=1)
                for s in (front, home)]
    table.add("sign-ins over TLS, proxied beside direct", *sign_ins, "rate", 0.2, unit="/s")
    front.stop()
    front.begin()
    # Each takes two descriptors of the front end.
    count = min(10_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000) // 2) // scale
    before = resident_mib(front.pid)
    got = load("idle", imap=front.ports["imaps"], port=home.ports["smtp"], users=",".join(users), connections=count,
               pid=front.pid, tls=1)
    print(f"  the front end before: {before:.1f} MiB; {got}", flush=True)
    table.limit(f"front end: each of {count} idle sessions, TLS on both sides", got.get("kib_each"), 40,
                "KiB " + got.get("error", ""))
    table.limit("EXISTS after the delivery's reply, p99", got.get("exists_p99_ms"), 10, "ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--binary", help="another build of Waypost")
    options = parser.parse_args()
    if options.binary:
        run.WAYPOST = Path(options.binary)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = Path(tempfile.mkdtemp(prefix="waypost-proxy-"))
    os.chmod(folder, 0o755)
    servers = []
    table = Table()
    try:
        servers = list(organisation(folder))
        print(f"{'work':58} {'proxied':>10} {'direct':>10}")
        measure(*servers, table, 10 if options.quick else 1)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
