"""IMAPClient (PyPI): IDLE, CONDSTORE, QRESYNC-adjacent calls, quota, threads, sort."""

import json
import smtplib
import ssl
import sys

from imapclient import IMAPClient

at = json.loads(sys.argv[1])
user, password = at["users"][0]
context = ssl._create_unverified_context()


def send(subject):
    with smtplib.SMTP("127.0.0.1", at["smtp"]) as smtp:
        smtp.sendmail("news@example.net", [user], f"From: news@example.net\r\nMessage-ID: <{subject}@x>\r\nSubject: {subject}\r\n\r\nhi\r\n")


with IMAPClient("127.0.0.1", at["imaps"], ssl=True, ssl_context=context) as imap:
    imap.login(user, password)
    assert {b"IDLE", b"MOVE", b"CONDSTORE", b"QRESYNC", b"UIDPLUS", b"SORT", b"QUOTA"} <= set(imap.capabilities()), imap.capabilities()
    info = imap.select_folder("INBOX")
    assert info[b"UIDVALIDITY"] and info[b"UIDNEXT"], info
    before = info[b"EXISTS"]
    imap.idle()
    send("alpha")
    seen = []
    while not any(r[1] == b"EXISTS" for r in seen if isinstance(r, tuple) and len(r) > 1):
        seen += imap.idle_check(timeout=10) or [("none", b"EXISTS", "nothing came in 10 s")]
    imap.idle_done()
    assert "nothing came in 10 s" not in str(seen), seen
    send("beta")
    imap.noop()
    uids = imap.search(["SUBJECT", "alpha"])
    assert len(uids) == 1
    got = imap.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE", "MODSEQ", "BODY[]"])[uids[0]]
    assert got[b"ENVELOPE"].subject == b"alpha" and got[b"MODSEQ"], got
    assert imap.add_flags(uids, [b"\\Flagged", b"$Work"])[uids[0]]
    assert imap.sort(["REVERSE", "ARRIVAL"])[0] > uids[0]
    assert imap.thread("REFERENCES")
    imap.create_folder("Größe")
    assert any(f[2] == "Größe" for f in imap.list_folders())
    imap.move(uids, "Größe")
    assert imap.folder_status("Größe")[b"MESSAGES"] == 1
    assert imap.get_quota_root("INBOX")
    assert imap.namespace()
    assert imap.id_({"name": "test"})
    assert imap.folder_status("INBOX")[b"MESSAGES"] == before + 1
print("imapclient: all held")
