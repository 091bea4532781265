// imapflow (npm): CONDSTORE, QRESYNC, IDLE, move, append.
import { ImapFlow } from 'imapflow';
import assert from 'node:assert';

const at = JSON.parse(process.argv[2]);
const [user, pass] = at.users[0];
const options = {
  host: '127.0.0.1', port: at.imaps, secure: true, auth: { user, pass }, tls: { rejectUnauthorized: false }, logger: false,
  qresync: true,
};
const client = new ImapFlow(options);
await client.connect();
assert(client.enabled.has('CONDSTORE') || client.enabled.has('QRESYNC'), [...client.enabled].join());
const lock = await client.getMailboxLock('INBOX');
try {
  assert(client.mailbox.highestModseq > 0n, 'no HIGHESTMODSEQ');
  const text = 'From: f@example.net\r\nSubject: flow\r\nMessage-ID: <flow@x>\r\n\r\nhello\r\n';
  const told = new Promise((resolve) => client.once('exists', resolve));
  const appended = await client.append('INBOX', text, ['\\Seen']);
  assert(appended.uid, 'no APPENDUID');
  await told;
  const changed = new Promise((resolve) => client.once('flags', resolve));
  const second = new ImapFlow(options);
  await second.connect();
  await second.mailboxOpen('INBOX');
  await second.messageFlagsAdd({ uid: appended.uid }, ['\\Flagged'], { uid: true });
  await client.noop();
  const event = await changed;
  assert(event.flags.has('\\Flagged'), 'not flagged');
  const message = await client.fetchOne(appended.uid, { envelope: true, source: true, bodyStructure: true, flags: true, threadId: true }, { uid: true });
  assert.equal(message.envelope.subject, 'flow');
  assert.equal(message.source.toString(), text);
  assert(message.emailId && message.threadId, 'no object ids');
  const expunged = new Promise((resolve) => client.once('expunge', resolve));
  await second.messageMove({ uid: appended.uid }, 'Archive', { uid: true });
  await client.noop();
  await expunged;
  await second.logout();
} finally {
  lock.release();
}
const list = await client.list({ statusQuery: { messages: true } });
assert(list.some((f) => f.specialUse === '\\Archive' && f.status.messages === 1), list.map((f) => f.path).join());
await client.logout();
console.log('imapflow: all held');
