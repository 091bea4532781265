// npm mailauth as a second opinion: mailauth_run.mjs PORT < message; one line for each signature, then ARC's result.
import dns from 'node:dns/promises';
import { authenticate } from 'mailauth';

const resolver = new dns.Resolver();
resolver.setServers([`127.0.0.1:${process.argv[2]}`]);
const pieces = [];
for await (const piece of process.stdin) pieces.push(piece);
const found = await authenticate(Buffer.concat(pieces), {
    ip: '127.0.0.1',
    helo: 'test.example',
    sender: 'x@test.example',
    resolver: (name, type) => resolver.resolve(name, type)
});
for (const one of found.dkim.results) {
    console.log(one.status.result, one.signingDomain, one.selector, one.algo);
}
console.log('arc', found.arc?.status?.result ?? 'none');
