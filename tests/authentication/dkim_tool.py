"""dkimpy as a second opinion: `verify`, `sign` and `seal`, with a name server on this machine.

dkim_tool.py verify PORT < message          one line for each signature: result domain selector
dkim_tool.py arc PORT < message             the result of the chain
dkim_tool.py sign DOMAIN SELECTOR KEY ALGORITHM < message > signed
dkim_tool.py seal DOMAIN SELECTOR KEY HOST < message > sealed    (HOST: whose Authentication-Results are sealed)
"""

import sys

import dkim
import dns.resolver


def lookup(port):
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = int(port)

    def txt(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        try:
            answer = resolver.resolve(name, "TXT", lifetime=timeout)
        except dns.resolver.NXDOMAIN:
            return None
        return b"".join(next(iter(answer)).strings)

    return txt


def main():
    verb, arguments = sys.argv[1], sys.argv[2:]
    message = sys.stdin.buffer.read()
    if verb == "verify":
        count = sum(1 for line in message.split(b"\r\n\r\n")[0].split(b"\r\n") if line.lower().startswith(b"dkim-signature:"))
        for index in range(count):
            signature = dkim.DKIM(message)
            try:
                result = signature.verify(idx=index, dnsfunc=lookup(arguments[0]))
            except dkim.DKIMException as e:
                result = repr(e)
            print(result, signature.domain.decode(), signature.selector.decode())
    elif verb == "arc":
        result, _, why = dkim.arc_verify(message, dnsfunc=lookup(arguments[0]))
        print(result.decode(), why)
    elif verb == "sign":
        domain, selector, key, algorithm = arguments
        with open(key, "rb") as file:
            field = dkim.sign(
                message,
                selector.encode(),
                domain.encode(),
                file.read(),
                canonicalize=(b"relaxed", b"simple"),
                signature_algorithm=algorithm.encode(),
            )
        sys.stdout.buffer.write(field + message)
    elif verb == "seal":
        domain, selector, key, host = arguments
        with open(key, "rb") as file:
            fields = dkim.arc_sign(message, selector.encode(), domain.encode(), file.read(), host.encode())
        sys.stdout.buffer.write(b"".join(fields) + message)
    else:
        sys.exit(__doc__)


main()
