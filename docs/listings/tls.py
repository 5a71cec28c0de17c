"""TLS: who the client is, which protocol was agreed on, one session for many connections, a new certificate."""

import ssl

import bridgeio


def context_of_server(certificate, authorities):
    """Only clients with a certificate by one of these authorities get in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authorities)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate)  # a file with key and chain
    context.set_alpn_protocols(["greet/2", "greet/1"])
    return context


def context_of_client(certificate, authorities, protocols=("greet/2",)):
    context = ssl.create_default_context(cafile=authorities)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(list(protocols))
    return context


async def greet(reader, writer):
    names = [value for kind, value in writer.get_extra_info("peercert")["subjectAltName"] if kind == "DNS"]
    protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    end = "\n" if protocol == "greet/1" else "!\n"
    async for _ in reader:
        writer.write(f"hello {names[0]}{end}".encode())
        await writer.drain()


class Client:
    """Each connection after the first goes on with the session of the one before: fewer bytes, no certificates."""

    def __init__(self, host, port, context):
        self._target = (host, port)
        self._context = context
        self._session = None
        self.resumed = 0

    async def ask(self):
        reader, writer = await bridgeio.open_connection(*self._target, ssl=self._context, session=self._session)
        async with writer:
            writer.write(b"who am I?\n")
            answer = await reader.readline()
            encryption = writer.get_extra_info("ssl_object")
            self.resumed += encryption.session_reused
            self._session = encryption.session  # after the first read: in TLS 1.3 the ticket comes that late
            return answer
