"""Signs in by every mechanism, over every protocol and state of TLS, as a client that knows the wire by heart.

Standard input: {"hosts": {door: port}, "user", "password", "token", "certificate": [chain, key], "cells": [cell, ...]} with
cells like {"protocol": "imap", "state": "clear", "mechanism": "PLAIN", "initial": true, "password": …}; what a cell has
goes before what all have. Standard output: one line of JSON for each cell: {"offered", "disabled", "result"}, where result
is the server's last line. Runs on Python 3.11 with python3-gssapi.
"""

import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import struct
import sys

STARTTLS = {"imap": "imap", "pop3": "pop3", "smtp": "submission"}
IMPLICIT = {"imap": "imaps", "pop3": "pop3s", "smtp": "submissions"}


class Refused(Exception):
    """The server ended the exchange; the text is its line."""


class Wire:
    def __init__(self, port):
        self.raw = socket.create_connection(("localhost", port), timeout=60)
        self.file = self.raw.makefile("rb")
        self.tls = None

    def secure(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(*certificate)
        self.raw = context.wrap_socket(self.raw, server_hostname="localhost")
        self.file = self.raw.makefile("rb")
        self.tls = self.raw

    def send(self, line):
        self.raw.sendall(line.encode() + b"\r\n")

    def line(self):
        line = self.file.readline()
        if not line:
            raise Refused("connection closed")
        return line.decode().rstrip("\r\n")

    def end_point(self):
        return hashlib.sha256(self.tls.getpeercert(True)).digest()


class Imap:
    def __init__(self, wire):
        self.wire = wire
        wire.line()

    def tagged(self, command):
        self.wire.send("a " + command)
        lines = []
        while True:
            line = self.wire.line()
            if line.startswith("a "):
                return lines, line[2:]
            lines.append(line)

    def starttls(self):
        assert self.tagged("STARTTLS")[1].startswith("OK")

    def offered(self):
        names = self.tagged("CAPABILITY")[0][0].split()
        return [n[5:] for n in names if n.startswith("AUTH=")], "LOGINDISABLED" in names

    def begin(self, mechanism, initial):
        self.wire.send("a AUTHENTICATE " + mechanism + ("" if initial is None else " " + (b64(initial) or "=")))

    def challenge(self):
        while True:
            line = self.wire.line()
            if line.startswith("+"):
                return base64.b64decode(line[1:].strip())
            if line.startswith("a "):
                raise Refused(line[2:])

    def login(self, user, password):
        return self.tagged(f'LOGIN "{user}" "{password}"')[1]


class Pop3:
    def __init__(self, wire):
        self.wire = wire
        wire.line()

    def command(self, command):
        self.wire.send(command)
        return self.wire.line()

    def starttls(self):
        assert self.command("STLS").startswith("+OK")

    def offered(self):
        self.command("CAPA")
        names = {}
        while (line := self.wire.line()) != ".":
            first, *rest = line.split()
            names[first] = rest
        return names.get("SASL", []), "USER" not in names

    def begin(self, mechanism, initial):
        self.wire.send("AUTH " + mechanism + ("" if initial is None else " " + (b64(initial) or "=")))

    def challenge(self):
        line = self.wire.line()
        if line.startswith("+ ") or line == "+":
            return base64.b64decode(line[2:])
        raise Refused(line)

    def login(self, user, password):
        line = self.command("USER " + user)
        return self.command("PASS " + password) if line.startswith("+OK") else line


class Smtp:
    def __init__(self, wire):
        self.wire = wire
        self.reply()

    def reply(self):
        lines = []
        while True:
            line = self.wire.line()
            lines.append(line)
            if line[3:4] != "-":
                return lines

    def command(self, command):
        self.wire.send(command)
        return self.reply()

    def starttls(self):
        self.command("EHLO client.test")
        assert self.command("STARTTLS")[-1].startswith("220")

    def offered(self):
        for line in self.command("EHLO client.test"):
            if line[4:].startswith("AUTH "):
                return line[9:].split(), True
        return [], True

    def begin(self, mechanism, initial):
        self.wire.send("AUTH " + mechanism + ("" if initial is None else " " + (b64(initial) or "=")))

    def challenge(self):
        line = self.reply()[-1]
        if line.startswith("334"):
            return base64.b64decode(line[4:])
        raise Refused(line)

    def login(self, user, password):
        return "no such command"


def b64(data):
    return base64.b64encode(data).decode()


# Each mechanism is a generator: it is sent challenges and yields responses; the first yield is the initial response, or None
# where the server speaks first.


def plain(cell, wire):
    yield f"{cell.get('authzid', '')}\0{cell['user']}\0{cell['password']}".encode()


def login(cell, wire):
    yield None
    yield cell["user"].encode()
    yield cell["password"].encode()


def scram(hash_name, plus):
    def run(cell, wire):
        binding = b""
        header = b"n,,"
        if plus:
            header = b"p=tls-server-end-point,,"
            binding = bytes(cell["binding"]) if "binding" in cell else wire.end_point()
        bare = f"n={cell['user']},r=fyko+d2lbbFgONRv9qkxdawL".encode()
        first = yield header + bare
        fields = dict(part.split("=", 1) for part in first.decode().split(","))
        salted = hashlib.pbkdf2_hmac(
            hash_name, cell["password"].encode(), base64.b64decode(fields["s"]), int(fields["i"])
        )
        mac = lambda key, data: hmac.new(key, data, hash_name).digest()
        client = mac(salted, b"Client Key")
        final = f"c={b64(header + binding)},r={fields['r']}".encode()
        message = bare + b"," + first + b"," + final
        signature = mac(hashlib.new(hash_name, client).digest(), message)
        proof = bytes(a ^ b for a, b in zip(client, signature))
        last = yield final + b",p=" + b64(proof).encode()
        ours = b"v=" + b64(mac(mac(salted, b"Server Key"), message)).encode()
        assert last == ours, "the server does not know the keys"
        yield b""

    return run


def kerberos(spnego):
    def run(cell, wire):
        import gssapi

        service = {"imap": "imap", "pop3": "pop", "smtp": "smtp"}[cell["protocol"]]
        name = gssapi.Name(f"{service}@localhost", gssapi.NameType.hostbased_service)
        mech = gssapi.OID.from_int_seq("1.3.6.1.5.5.2") if spnego else gssapi.MechType.kerberos
        bindings = None
        if "binding" in cell:
            data = bytes(cell["binding"])
        elif cell.get("bind"):
            data = wire.end_point()
        else:
            data = None
        if data is not None:
            bindings = gssapi.raw.ChannelBindings(application_data=b"tls-server-end-point:" + data)
        flags = gssapi.RequirementFlag.mutual_authentication if cell.get("mutual", True) else 0
        context = gssapi.SecurityContext(
            name=name, mech=mech, flags=flags, usage="initiate", channel_bindings=bindings
        )
        token = context.step() or b""
        while True:
            challenge = yield token
            if context.complete:
                break
            token = context.step(challenge) or b""
        if spnego:
            return
        offer = context.unwrap(challenge).message
        assert offer == b"\1\0\0\0", offer
        choice = b"\1\0\0\0" + cell.get("authzid", "").encode()
        yield context.wrap(choice, False).message

    return run


def md4(data):
    f = lambda x, y, z: (x & y) | (~x & z)
    g = lambda x, y, z: (x & y) | (x & z) | (y & z)
    h = lambda x, y, z: x ^ y ^ z
    turn = lambda x, n: ((x << n) | ((x & 0xFFFFFFFF) >> (32 - n))) & 0xFFFFFFFF
    padded = data + b"\x80" + b"\0" * ((55 - len(data)) % 64) + struct.pack("<Q", len(data) * 8)
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for at in range(0, len(padded), 64):
        words = struct.unpack("<16I", padded[at : at + 64])
        a, b, c, d = state
        for mix, order, turns, plus in (
            (f, range(16), (3, 7, 11, 19), 0),
            (g, [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15], (3, 5, 9, 13), 0x5A827999),
            (h, [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15], (3, 9, 11, 15), 0x6ED9EBA1),
        ):
            for step, place in enumerate(order):
                a = turn((a + mix(b, c, d) + words[place] + plus) & 0xFFFFFFFF, turns[step % 4])
                a, b, c, d = d, a, b, c
        state = [(x + y) & 0xFFFFFFFF for x, y in zip(state, (a, b, c, d))]
    return struct.pack("<4I", *state)


def ntlm(cell, wire):
    mac = lambda key, data: hmac.new(key, data, "md5").digest()
    flags = 0x1 | 0x4 | 0x200 | 0x8000 | 0x80000 | 0x800000 | 0x20000000
    negotiate = b"NTLMSSP\0" + struct.pack("<II", 1, flags) + b"\0" * 16
    challenge = yield negotiate
    server = challenge[24:32]
    length, _, offset = struct.unpack("<HHI", challenge[40:48])
    info = challenge[offset : offset + length - 4]
    info += struct.pack("<HHI", 6, 4, 2)
    data = bytes(cell["binding"]) if "binding" in cell else wire.end_point() if cell.get("bind") else None
    if data is not None:
        data = b"tls-server-end-point:" + data
        info += struct.pack("<HH", 10, 16) + hashlib.md5(b"\0" * 16 + struct.pack("<I", len(data)) + data).digest()
    blob = b"\1\1" + b"\0" * 6 + b"\0" * 8 + os.urandom(8) + b"\0" * 4 + info + b"\0" * 8
    user, domain = cell["user"].split("@")
    key = mac(md4(cell["password"].encode("utf-16-le")), (user.upper() + domain).encode("utf-16-le"))
    proof = mac(key, server + blob)
    response = proof + blob if not cell.get("version1") else b"\1" * 24
    parts = [b"\0" * 24 if cell.get("version1") else b"", response, domain.encode("utf-16-le"), user.encode("utf-16-le"), b"", b""]
    message, at = b"NTLMSSP\0" + struct.pack("<I", 3), 88
    for part in parts:
        message += struct.pack("<HHI", len(part), len(part), at)
        at += len(part)
    message += struct.pack("<I", flags) + b"\0" * 8
    tail = b"".join(parts)
    mic = mac(mac(key, proof), negotiate + challenge + message + b"\0" * 16 + tail)
    yield message + mic + tail


def external(cell, wire):
    yield cell.get("authzid", "").encode()


def oauthbearer(cell, wire):
    error = yield f"n,a={cell['user']},\1auth=Bearer {cell['token']}\1\1".encode()
    assert json.loads(error)["status"] in ("invalid_token", "insufficient_scope"), error
    yield b"\1"


def xoauth2(cell, wire):
    error = yield f"user={cell['user']}\1auth=Bearer {cell['token']}\1\1".encode()
    assert json.loads(error)["status"] in ("401", "403"), error
    yield b""


MECHANISMS = {
    "PLAIN": plain,
    "LOGIN": login,
    "SCRAM-SHA-1": scram("sha1", False),
    "SCRAM-SHA-1-PLUS": scram("sha1", True),
    "SCRAM-SHA-256": scram("sha256", False),
    "SCRAM-SHA-256-PLUS": scram("sha256", True),
    "GSSAPI": kerberos(False),
    "GSS-SPNEGO": kerberos(True),
    "NTLM": ntlm,
    "EXTERNAL": external,
    "OAUTHBEARER": oauthbearer,
    "XOAUTH2": xoauth2,
}


def converse(session, cell, wire):
    """The server's last line."""
    name = cell["mechanism"]
    if name == "VERB":
        return session.login(cell["user"], cell["password"])
    if "raw" in cell:
        session.begin(name, None)
        session.challenge()
        wire.send(cell["raw"])
        session.challenge()
        return "a challenge"
    try:
        mechanism = MECHANISMS[name](cell, wire)
        first = next(mechanism)
    except Exception:
        # Nothing to bind to, for one: what is not possible here is tried all the same.
        mechanism, first = iter(()), b"impossible"
    early = first is not None and cell.get("initial", True)
    session.begin(name, first if early else None)
    challenge = session.challenge()
    if not early and first is not None:
        assert challenge == b"", challenge
        wire.send(b64(first))
        challenge = session.challenge()
    while True:
        try:
            response = mechanism.send(challenge)
        except (StopIteration, AttributeError):
            response = b""
        wire.send(b64(response))
        challenge = session.challenge()


def run(cell, hosts):
    protocol, state = cell["protocol"], cell["state"]
    wire = Wire(hosts[(IMPLICIT if state == "implicit" else STARTTLS)[protocol]])
    certificate = cell.get("certificate")
    if state == "implicit":
        wire.secure(certificate)
    session = {"imap": Imap, "pop3": Pop3, "smtp": Smtp}[protocol](wire)
    if state == "starttls":
        session.starttls()
        wire.secure(certificate)
    offered, disabled = session.offered()
    try:
        result = converse(session, cell, wire)
    except Refused as refused:
        result = str(refused)
    # To the end: a maildrop is open to one session at a time.
    try:
        wire.send("a LOGOUT" if protocol == "imap" else "QUIT")
        while wire.file.readline():
            pass
    except OSError:
        pass
    wire.raw.close()
    return {"offered": offered, "disabled": disabled, "result": result}


def main():
    job = json.load(sys.stdin)
    for cell in job["cells"]:
        whole = {key: value for key, value in job.items() if key not in ("cells", "hosts")} | cell
        try:
            print(json.dumps(run(whole, job["hosts"])), flush=True)
        except Exception as error:  # noqa: BLE001: the test that asked reads it
            print(json.dumps({"offered": [], "disabled": False, "result": f"client failed: {error!r}"}), flush=True)


if __name__ == "__main__":
    main()
