"""A line protocol that becomes encrypted in the middle, as SMTP, IMAP and XMPP do: both sides of it."""

import ssl

import bridgeio


def handler(context: ssl.SSLContext):
    async def greet(reader, writer):
        async for line in reader:
            if line == b"STARTTLS\n":
                writer.write(b"go ahead\n")
                await writer.start_tls(context, server_side=True)
            else:
                encrypted = writer.get_extra_info("ssl_object") is not None
                writer.write(b"nobody else hears: " if encrypted else b"everybody hears: ")
                writer.write(line)
                await writer.drain()

    return greet


async def ask_in_secret(host, port, question, context: ssl.SSLContext):
    reader, writer = await bridgeio.open_connection(host, port)
    async with writer:
        writer.write(b"STARTTLS\n")
        if await reader.readline() != b"go ahead\n":
            raise ConnectionError("the server does not offer TLS")  # and not: go on without
        await writer.start_tls(context, server_hostname=host)
        writer.write(question)
        return await reader.readline()
