"""Python's own imaplib, smtplib and poplib against a server: python_std.py PORTS_JSON (see tests/clients.rs)."""

import email.message
import email.policy
import imaplib
import json
import poplib
import smtplib
import ssl
import sys

at = json.loads(sys.argv[1])
user, password = at["users"][0]
other, other_password = at["users"][1]
trusting = ssl._create_unverified_context()

message = email.message.EmailMessage()
message["From"], message["To"], message["Subject"] = user, other, "Grüße aus Python"
message.set_content("Zeile eins\n.Zeile mit Punkt\nDritte Zeile mit ä\n")
message.add_attachment(bytes(range(256)) * 200, maintype="application", subtype="octet-stream", filename="bytes.bin")

with smtplib.SMTP("127.0.0.1", at["submission"]) as smtp:
    smtp.ehlo()
    assert smtp.has_extn("starttls") and smtp.has_extn("size") and smtp.has_extn("smtputf8"), smtp.esmtp_features
    smtp.starttls(context=trusting)
    smtp.login(user, password)
    smtp.send_message(message)
with smtplib.SMTP_SSL("127.0.0.1", at["submissions"], context=trusting) as smtp:
    try:
        smtp.login(user, "wrong")
        raise SystemExit("a wrong password was taken")
    except smtplib.SMTPAuthenticationError as e:
        assert e.smtp_code == 535, e
    smtp.login(user, password)
    smtp.send_message(message)
    try:
        smtp.sendmail(user, ["nobody@contoso.test"], "Subject: x\r\n\r\nx")
        raise SystemExit("an unknown recipient was taken")
    except smtplib.SMTPRecipientsRefused as e:
        assert e.recipients["nobody@contoso.test"][0] == 550, e

imap = imaplib.IMAP4("127.0.0.1", at["imap"])
imap.starttls(trusting)
try:
    imap.login(other, "wrong")
    raise SystemExit("a wrong password was taken")
except imaplib.IMAP4.error as e:
    assert "AUTHENTICATIONFAILED" in str(e), e
imap.login(other, other_password)
assert "MOVE" in imap.capabilities and "IDLE" in imap.capabilities, imap.capabilities
status, [count] = imap.select("INBOX")
assert status == "OK" and int(count) >= 2, count
status, [found] = imap.uid("SEARCH", "CHARSET", "UTF-8", "SUBJECT", '"Python"')
uids = found.split()
assert len(uids) == 2, found
status, data = imap.uid("FETCH", uids[0], "(FLAGS BODY[])")
back = email.message_from_bytes(data[0][1], policy=email.policy.default)
assert back["Subject"] == "Grüße aus Python", back["Subject"]
assert back.get_body().get_content().splitlines()[1] == ".Zeile mit Punkt"
assert list(back.iter_attachments())[0].get_payload(decode=True) == bytes(range(256)) * 200
status, data = imap.uid("FETCH", uids[0], "(FLAGS)")
assert b"\\Seen" in data[0], data
assert imap.create("Projects/2026")[0] == "OK"
assert imap.uid("COPY", uids[0], "Projects/2026")[0] == "OK"
assert imap.uid("MOVE", uids[1], "Projects/2026")[0] == "OK"
assert imap.append("Drafts", "(\\Draft)", None, message.as_bytes())[0] == "OK"
assert imap.select("Projects/2026")[1] == [b"2"]
assert imap.store("1:2", "+FLAGS", "(\\Deleted $Label1)")[0] == "OK"
assert len(imap.expunge()[1]) == 2
status, folders = imap.list()
assert any(b"\\Sent" in f for f in folders) and any(b"Projects/2026" in f for f in folders), folders
imap.close()
imap.logout()

pop = poplib.POP3("127.0.0.1", at["pop3"])
assert "UIDL" in pop.capa() and "STLS" in pop.capa(), pop.capa()
pop.stls(trusting)
try:
    pop.user(other)
    pop.pass_("wrong")
    raise SystemExit("a wrong password was taken")
except poplib.error_proto as e:
    assert b"[AUTH]" in e.args[0], e
pop.user(other)
pop.pass_(other_password)
count, size = pop.stat()
assert count >= 1 and len(pop.uidl()[1]) == count
response, lines, octets = pop.retr(count)
top = pop.top(count, 0)[1]
assert top[0] == lines[0] and top[-1] == b""
pop.dele(count)
pop.quit()
pop = poplib.POP3_SSL("127.0.0.1", at["pop3s"], context=trusting)
pop.user(other)
pop.pass_(other_password)
assert pop.stat()[0] == count - 1
pop.quit()
with smtplib.LMTP("127.0.0.1", at["lmtp"]) as lmtp:
    assert lmtp.sendmail("x@example.net", [other], "Subject: by LMTP\r\n\r\nx\r\n") == {}
print("python: all held")
