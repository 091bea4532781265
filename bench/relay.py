#!/usr/bin/env python3
"""Compares the queue of Waypost with Postfix's, on one machine in one run: taking mail in to wait, passing it on to
smtp-sink, and a queue of a million messages.

Needs root, `apt-get install postfix` (smtp-source and smtp-sink come with it) and a release build of Waypost.

    bench/relay.py                queue and relay (some minutes)
    bench/relay.py million        the long queue (some ten minutes)
    bench/relay.py --quick        smaller numbers, for a first look
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import WAYPOST, Postfix, Table, Waypost, busy_seconds, free_port, resident_mib, wait_port

SIZE = 4096


class Sink:
    """smtp-sink with a running count of the messages that it took."""

    def __init__(self, folder):
        self.port = free_port()
        self.out = folder / f"sink-{self.port}"
        self.process = subprocess.Popen(
            ["smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{self.port}", "4096"], stdout=open(self.out, "w"), stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.setpgid(0, 0))
        wait_port(self.port)

    def count(self):
        """The counters overwrite each other on one line: sessions, quits, messages."""
        last = self.out.read_bytes()[-400:].decode(errors="replace")
        found = re.findall(r"mesg=(\d+)", last)
        return int(found[-1]) if found else 0

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


class Relay(Postfix):
    """Postfix that passes everything on to one host."""

    def __init__(self, folder, port, hold=False):
        folder = folder / "relay"
        folder.mkdir()
        folder.chmod(0o755)
        super().__init__(folder, 1, f"""
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks reject
relayhost = [127.0.0.1]:{port}
smtp_host_lookup = native
smtp_tls_security_level = none
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
defer_transports = {'smtp' if hold else ''}
""")


def command(way, *words):
    done = subprocess.run([WAYPOST, "--data", way.data, *words, "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
    return done.stdout


def relay_through(way, port):
    """What a printer in the house is allowed to do, and the way out."""
    command(way, "New-ReceiveConnector", "-Name", "bench", "-RemoteIPRanges", "127.0.0.0/8",
            "-PermissionGroups", "AnonymousUsers", "-AllowAnonymousRelay", "$true")
    command(way, "New-SendConnector", "-Name", "sink", "-AddressSpaces", "*", "-SmartHosts", "127.0.0.1", "-Port", str(port))


def hold(way):
    """Nothing leaves until Resume-Queue. A queue is there from its first message on."""
    source(way.smtp, 1, 1)
    for _ in range(100):
        if b"sink" in command(way, "Get-Queue").encode():
            break
        time.sleep(0.05)
    command(way, "Suspend-Queue", "-Identity", "sink", "-Confirm:$false")


def source(port, count, sessions, to="bob@example.net"):
    """Messages a second that smtp-source gets rid of; one connection a session, kept open."""
    start = time.time()
    left = count
    while left:
        # A session has its bound of messages.
        now = min(left, sessions * 5000)
        subprocess.run(["smtp-source", "-d", "-s", str(sessions), "-m", str(now), "-l", str(SIZE), "-f", "amy@example.org",
                        "-t", to, f"127.0.0.1:{port}"], check=True)
        left -= now
    return count / (time.time() - start)


def until_taken(sink, count, seconds=900):
    end = time.time() + seconds
    while sink.count() < count:
        if time.time() > end:
            raise SystemExit(f"{sink.count()} of {count} messages arrived")
        time.sleep(0.02)


def accept(table, folder, scale):
    """Mail that is taken in and stays."""
    for sessions in (10, 100):
        count = 20_000 // scale
        rates = []
        for kind in ("ours", "theirs"):
            here = Path(tempfile.mkdtemp(dir=folder))
            here.chmod(0o755)
            if kind == "ours":
                server = Waypost(here)
                relay_through(server, free_port())
                hold(server)
                port = server.smtp
            else:
                server = Relay(here, free_port(), hold=True)
                port = server.port
            source(port, 500, sessions)
            before = busy_seconds()
            rate = source(port, count, sessions)
            rates.append({"rate": rate, "cpu_ms": (busy_seconds() - before) / count * 1000})
            server.stop()
            shutil.rmtree(here, ignore_errors=True)
        table.add(f"accept and queue, 4 KiB, {sessions} sessions", *rates, "rate", 2, unit="msg/s")


def relay(table, folder, scale):
    """Mail that is taken in and passed on; the clock stops when the sink has all of it."""
    count = 20_000 // scale
    rates = []
    for kind in ("ours", "theirs"):
        here = Path(tempfile.mkdtemp(dir=folder))
        here.chmod(0o755)
        sink = Sink(here)
        if kind == "ours":
            server = Waypost(here)
            relay_through(server, sink.port)
            port = server.smtp
        else:
            server = Relay(here, sink.port)
            port = server.port
        source(port, 500, 20)
        until_taken(sink, 500)
        before, start = busy_seconds(), time.time()
        source(port, count, 20)
        until_taken(sink, 500 + count)
        rates.append({"rate": count / (time.time() - start), "cpu_ms": (busy_seconds() - before) / count * 1000})
        server.stop()
        sink.stop()
        shutil.rmtree(here, ignore_errors=True)
    table.add("relay through the queue to smtp-sink, 4 KiB, 20 sessions", *rates, "rate", 2, unit="msg/s")
    table.add("  CPU per message, sink and source included", *rates, "cpu_ms", 0.5, least=False, unit="ms")


def million(table, folder, scale):
    """A queue of a million: memory, start, and the rate at which it empties, beside that of an empty one."""
    count = 1_000_000 // scale
    sink = Sink(folder)
    way = Waypost(folder)
    relay_through(way, sink.port)
    # The rate of an empty queue: a short one that empties.
    few = 20_000 // min(scale, 4)
    hold(way)
    source(way.smtp, few, 50)
    start = time.time()
    command(way, "Resume-Queue", "-Identity", "sink", "-Confirm:$false")
    until_taken(sink, few)
    empty = few / (time.time() - start)
    hold(way)
    rate = source(way.smtp, count, 100)
    print(f"  filled: {rate:.0f} msg/s", flush=True)
    table.limit(f"memory with {count} messages waiting", resident_mib(way.pid), 300, "MiB")
    way.stop()
    way = Waypost(folder)
    table.limit(f"start with {count} messages waiting", way.start_seconds, 10, "s")
    time.sleep(3)
    table.limit("memory after that start", resident_mib(way.pid), 300, "MiB")
    start = time.time()
    command(way, "Resume-Queue", "-Identity", "sink", "-Confirm:$false")
    part = min(count, 100_000)
    until_taken(sink, few + part)
    full = part / (time.time() - start)
    table.add(f"delivery from a queue of {count} against an empty one", {"rate": full}, {"rate": empty}, "rate", 0.8, unit="msg/s")
    table.limit("memory while it empties", resident_mib(way.pid), 300, "MiB")
    way.process.send_signal(signal.SIGKILL)
    way.process.wait()
    sink.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="*", help="accept relay million")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("bench/relay.py: Postfix needs root")
    folder = Path(tempfile.mkdtemp(prefix="waypost-relay-"))
    folder.chmod(0o755)
    table = Table()
    scale = 10 if options.quick else 1
    try:
        print(f"{'work':58} {'Waypost':>10} {'peer':>10}")
        for name, work in (("accept", accept), ("relay", relay), ("million", million)):
            if name in options.work or (not options.work and name != "million"):
                work(table, folder, scale)
        print(f"{table.missed} goals missed")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
