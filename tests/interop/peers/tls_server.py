"""bridgeio's server under TLS, for other people's clients: echoes lines, and answers an HTTP request by a page.

python tls_server.py BACKEND CERTIFICATE
"""

import ssl
import sys

import bridgeio

PAGE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000


async def answer(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while line := await reader.readline():
        if line.startswith(b"GET "):
            while await reader.readline() != b"\r\n":
                pass
            writer.write(PAGE)
            return
        writer.write(line)
        await writer.drain()


def announce(server: bridgeio.Server) -> None:
    sys.stdout.write(f"listening on port {server.port}\n")
    sys.stdout.flush()


def main(backend: str, certificate: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    bridgeio.run_server(
        answer,
        "127.0.0.1",
        backend=backend,
        ssl=context,
        standard_compatible=False,
        on_started=announce,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
