#!/usr/bin/env python3
"""Compares Waypost with Debian's Dovecot and Postfix on one machine in one run, and prints the ratios.

Needs root (Postfix and Dovecot want it), `apt-get install postfix dovecot-imapd dovecot-pop3d dovecot-lmtpd`, and a release
build of Waypost. Everything runs on loopback in a folder of its own, which is removed afterwards.

    bench/run.py                 all of it (about ten minutes)
    bench/run.py deliver login   only these
    bench/run.py --quick         smaller numbers, for a first look
"""

import argparse
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
LOAD = HERE / "target/release/waypost-load"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target"))
WAYPOST = TARGET / "release/waypost"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"nothing answers on port {port}")


def busy_seconds():
    """CPU time of the whole machine that was not idle."""
    first = open("/proc/stat").readline().split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, first[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def load(work, **args):
    """Runs one piece of work; adds the CPU seconds that the machine spent outside the load tool."""
    words = [f"{k}={v}" for k, v in args.items() if v is not None]
    before, own = busy_seconds(), os.times()
    done = subprocess.run([LOAD, work, *words], capture_output=True, text=True, timeout=900)
    after, own_after = busy_seconds(), os.times()
    if done.returncode != 0:
        return {"error": done.stderr.strip()[-200:]}
    figures = json.loads(done.stdout)
    client = (own_after.children_user - own.children_user) + (own_after.children_system - own.children_system)
    figures["cpu"] = max(0.0, after - before - client)
    return figures


class Waypost:
    name = "Waypost"

    def __init__(self, folder):
        self.data = folder / "waypost"
        start = time.time()
        self.process = subprocess.Popen(
            [WAYPOST, "quickstart", "--json", "--data", self.data, "--ports", "auto"],
            stdout=subprocess.PIPE, stderr=open(folder / "waypost.log", "w"), text=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(open(folder / "waypost.log").read()[-2000:])
        ready = json.loads(line)
        self.start_seconds = time.time() - start
        ports = {k: int(v.rsplit(":", 1)[1]) for k, v in ready["listeners"].items()}
        self.smtp, self.lmtp, self.imap, self.imaps, self.pop3 = (ports[k] for k in ("smtp", "lmtp", "imap", "imaps", "pop3"))
        self.accounts = [(a["address"], a["password"]) for a in ready["accounts"]]
        self.pid = self.process.pid

    def more_accounts(self, count):
        """An organisation of some size: each connection of the idle crowd would be a person of its own."""
        table = self.data.parent / "people.csv"
        rows = [f"user{n},user{n}@contoso.test,load-test-{n}" for n in range(count)]
        table.write_text("Name,PrimarySmtpAddress,Password\n" + "\n".join(rows) + "\n")
        subprocess.run([WAYPOST, "--data", self.data, "Import-Recipient", "-Path", table], check=True, capture_output=True)
        return ",".join(f"user{n}@contoso.test:load-test-{n}" for n in range(count))

    def users(self, count=None):
        return ",".join(f"{a}:{p}" for a, p in self.accounts[:count])

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()


DOVECOT = """
base_dir = {run}
state_dir = {run}
log_path = {folder}/dovecot.log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
mail_location = {format}:~/mail
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
mail_max_userip_connections = 20000
mail_fsync = optimized
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
default_process_limit = 400
default_client_limit = 25000
default_vsz_limit = 4G
auth_cache_size = 10M
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = home={folder}/home/%u uid={uid} gid={gid} allow_all_users=yes
}}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 2
  client_limit = 12000
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  service_count = 100
  process_min_avail = 10
  process_limit = 12000
}}
service pop3-login {{
  chroot =
  service_count = 0
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service lmtp {{
  process_min_avail = 8
  service_count = 0
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service anvil {{
  chroot =
  client_limit = 25000
}}
service stats {{
  client_limit = 25000
}}
service auth {{
  client_limit = 25000
}}
"""


class Dovecot:
    def __init__(self, folder, accounts, form):
        self.name = f"Dovecot {form}"
        folder = folder / f"dovecot-{form}"
        folder.mkdir()
        self.folder, self.accounts, self.form = folder, accounts, form
        owner = pwd.getpwnam("dovecot")
        (folder / "home").mkdir()
        os.chown(folder / "home", owner.pw_uid, owner.pw_gid)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
        (folder / "users").write_text("".join(f"{a}:{p}\n" for a, p in accounts))
        self.imap, self.imaps, self.pop3, self.lmtp = (free_port() for _ in range(4))
        self.smtp = None
        conf = folder / "dovecot.conf"
        conf.write_text(DOVECOT.format(
            run=folder / "run", folder=folder, format=form, uid=owner.pw_uid, gid=owner.pw_gid, user="dovecot", group="dovecot",
            imap=self.imap, imaps=self.imaps, pop3=self.pop3, lmtp=self.lmtp))
        self.process = subprocess.Popen(["dovecot", "-F", "-c", conf], stderr=open(folder / "err", "w"))
        wait_port(self.imap)
        self.pid = self.process.pid

    users = Waypost.users

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class Postfix:
    """Receives by SMTP and hands everything to Dovecot by LMTP."""

    def __init__(self, folder, lmtp, more=""):
        """`more` are lines for main.cf, the last ones holding."""
        self.conf = folder / "postfix"
        self.conf.mkdir()
        queue, data = folder / "postfix-queue", folder / "postfix-data"
        queue.mkdir()
        data.mkdir()
        os.chown(data, pwd.getpwnam("postfix").pw_uid, 0)
        self.port = free_port()
        (self.conf / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = bench.test
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = contoso.test fabrikam.test
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
default_process_limit = 100
lmtp_destination_concurrency_limit = 20
lmtp_destination_recipient_limit = 1
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
{more}""")
        master = Path("/usr/share/postfix/master.cf.dist").read_text()
        lines = []
        for line in master.splitlines():
            if line.startswith("smtp      inet"):
                line = line.replace("smtp      inet", f"127.0.0.1:{self.port} inet")
            words = line.split()
            if len(words) > 4 and not line.startswith(("#", " ")):
                words[4] = "n"  # no chroot
                line = " ".join(words)
            lines.append(line)
        (self.conf / "master.cf").write_text("\n".join(lines) + "\n")
        subprocess.run(["postfix", "-c", self.conf, "start"], check=True, capture_output=True)
        wait_port(self.port)

    def stop(self):
        subprocess.run(["postfix", "-c", self.conf, "stop"], capture_output=True)


class Table:
    """Rows of work: our figure, the peer's, the ratio, and the goal that the ratio is held against."""

    def __init__(self):
        self.rows = []
        self.missed = 0

    def add(self, work, ours, theirs, key, goal, least=True, unit=""):
        a, b = ours.get(key), theirs.get(key) if isinstance(theirs, dict) else theirs
        if a is None or not b:
            why = ours.get("error") or (theirs.get("error") if isinstance(theirs, dict) else "no figure")
            print(f"{work:58} ---  {why}", flush=True)
            self.missed += 1
            return
        ratio = a / b
        good = ratio >= goal if least else ratio <= goal
        self.missed += not good
        sign = "≥" if least else "≤"
        print(f"{work:58} {a:10.3f} {b:10.3f} {unit:6} {ratio:8.2f} ×  (goal {sign} {goal})  {'met' if good else 'MISSED'}", flush=True)

    def limit(self, work, value, most, unit):
        good = value is not None and value <= most
        self.missed += not good
        print(f"{work:58} {value if value is None else round(value, 2)} {unit} (goal ≤ {most})  {'met' if good else 'MISSED'}", flush=True)


def resident_mib(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="*", help="deliver append large bodies login idle pop3 fresh")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    wanted = lambda w: not options.work or w in options.work
    scale = 10 if options.quick else 1
    subprocess.run(["cargo", "build", "--release", "--quiet", "--manifest-path", HERE / "Cargo.toml"], check=True,
                   env={k: v for k, v in os.environ.items() if k != "CARGO_TARGET_DIR"})
    if os.geteuid() != 0:
        raise SystemExit("bench/run.py: Postfix and Dovecot need root")
    folder = Path(tempfile.mkdtemp(prefix="waypost-bench-"))
    folder.chmod(0o755)
    running = []
    try:
        way = Waypost(folder)
        running.append(way)
        fresh = resident_mib(way.pid)
        mdbox = Dovecot(folder, way.accounts, "mdbox")
        running.append(mdbox)
        sdbox = Dovecot(folder, way.accounts, "sdbox")
        running.append(sdbox)
        postfix = Postfix(folder, mdbox.lmtp)
        running.append(postfix)
        measure(way, mdbox, sdbox, postfix, fresh, wanted, scale)
    finally:
        for server in reversed(running):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure(way, mdbox, sdbox, postfix, fresh, wanted, scale):
    table = Table()
    print(f"{'work':58} {'Waypost':>10} {'peer':>10}")
    if wanted("fresh"):
        table.limit("resident memory after quickstart, MiB", fresh, 60, "MiB")
        table.limit("start to ready (quickstart's own mail included)", way.start_seconds, 5, "s")
    if wanted("deliver"):
        deliver(table, way, mdbox, sdbox, postfix, scale)
    if wanted("append"):
        for name, work, goal in (("APPEND 4 KiB, 10 connections", "append", 1.5), ("MULTIAPPEND import", "fill", 2)):
            args = {"count": 5000 // scale, "size": 4096}
            a, b = (load(work, imap=s.imap, users=s.users(), **args) for s in (way, mdbox))
            table.add(name, a, b, "rate", goal, unit="msg/s")
    if wanted("large"):
        large(table, way, mdbox, scale)
    if wanted("login"):
        a, b = (load("login", imap=s.imaps, users=s.users(), count=1500 // scale) for s in (way, mdbox))
        table.add("login over TLS, full handshake, 10 connections", a, b, "rate", 1.0, unit="/s")
    if wanted("pop3"):
        count = 10_000 // scale
        for s in (way, mdbox):
            have = load("fill", imap=s.imap, users=s.users(1), count=count, size=4096)
            if "error" in have:
                print("pop3 fill:", have["error"])
        a, b = (load("pop3", pop3=s.pop3, users=s.users(1), count=count) for s in (way, mdbox))
        table.add("POP3 RETR of 10,000, pipelined", a, b, "rate", 1.0, unit="msg/s")
    if wanted("idle"):
        idle(table, scale)
    print(f"{table.missed} goals missed")


def idle(table, scale):
    """On servers of their own: memory that earlier work left behind would hide what a connection costs."""
    count = 10_000 // scale
    for tls, most in ((None, 15), (1, 25)):
        folder = Path(tempfile.mkdtemp(prefix="waypost-idle-"))
        way = Waypost(folder)
        try:
            users = way.more_accounts(100)
            way.stop()
            way = Waypost(folder)
            table.limit("resident memory with 100 accounts, MiB", resident_mib(way.pid), 60, "MiB")
            port = way.imaps if tls else way.imap
            got = load("idle", imap=port, port=way.smtp, users=users, connections=count, pid=way.pid, tls=tls)
            how = "TLS" if tls else "plain text"
            table.limit(f"idle connections, {how}, {count}", got.get("kib_each"), most, "KiB " + got.get("error", ""))
            table.limit("EXISTS after the delivery's reply, p99", got.get("exists_p99_ms"), 5, "ms")
        finally:
            way.stop()
            shutil.rmtree(folder, ignore_errors=True)


def deliver(table, way, mdbox, sdbox, postfix, scale):
    for connections, size, goal in ((10, 4096, 5), (64, 4096, 10), (10, 102_400, 3)):
        count = (4000 if size < 10_000 else 1000) // scale
        args = {"count": count, "size": size, "connections": connections}
        ours = load("deliver", port=way.smtp, imap=way.imap, users=way.users(), **args)
        theirs = load("deliver", port=postfix.port, imap=mdbox.imap, users=mdbox.users(), **args)
        name = f"SMTP in → IMAP, {size // 1024} KiB, {connections} connections"
        table.add(f"{name}, vs Postfix→Dovecot", ours, theirs, "rate", goal, unit="msg/s")
        if size < 10_000 and connections == 10:
            for f in (ours, theirs):
                if "cpu" in f:
                    f["cpu_ms"] = f["cpu"] / count * 1000
            table.add("  CPU per message", ours, theirs, "cpu_ms", 0.2, least=False, unit="ms")
            lmtp = load("deliver", port=sdbox.lmtp, imap=sdbox.imap, users=sdbox.users(), lmtp=1, **args)
            table.add(f"{name}, vs Dovecot LMTP sdbox", ours, lmtp, "rate", 2.5, unit="msg/s")


def large(table, way, mdbox, scale):
    count = 100_000 // scale
    for s in (way, mdbox):
        made = load("fill", imap=s.imap, users=s.users(1), folder="Large", count=count, batch=500, size=2048)
        print(f"  {s.name}: filled a folder of {count}: {made}", flush=True)
    ours, theirs = (load("imap", imap=s.imap, users=s.users(1), folder="Large") for s in (way, mdbox))
    rows = (("SELECT, first", "select_first", 1.0), ("SELECT", "select", 1.0),
            ("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", "fetch_flags_again", 0.5),
            ("FETCH 1:* (ENVELOPE BODYSTRUCTURE), first", "fetch_envelope_first", 0.15),
            ("FETCH 1:* (ENVELOPE BODYSTRUCTURE), later", "fetch_envelope_later", 0.6),
            ("STORE 1:*, durable", "store", 3), ("STORE 1:* .SILENT, durable", "store_silent", 3),
            ("SEARCH BODY, rare word", "search_body", 0.5), ("SEARCH TEXT, rare word", "search_text", 0.5),
            ("SORT (SUBJECT)", "sort", 1.0))
    for name, key, goal in rows:
        table.add(f"{name} ({count})", ours, theirs, key, goal, least=False, unit="s")
    for tls, goal in ((None, 0.8), (1, 1.2)):
        port = (lambda s: s.imaps) if tls else (lambda s: s.imap)
        a, b = (load("bodies", imap=port(s), users=s.users(1), folder="Large", tls=tls) for s in (way, mdbox))
        table.add(f"FETCH full bodies{' over TLS' if tls else ''}", a, b, "mb_per_second", goal, unit="MB/s")


if __name__ == "__main__":
    sys.exit(main())
