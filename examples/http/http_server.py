"""An HTTP/1.1 server on the package `http11` beside this file, on the framework that you name.

python http_server.py --backend trio --port 8080
curl http://127.0.0.1:8080/
"""

from __future__ import annotations

import argparse
import ssl
from collections.abc import AsyncIterator

import bridgeio
from http11 import Headers, HttpError, Request, Response, handler


async def app(request: Request) -> Response:
    match request.target.split("/")[1:]:
        case [""]:
            return Response(200, b"hello, world\n", Headers([("Content-Type", "text/plain")]))
        case ["count"]:
            return Response(200, b"%d bytes\n" % await count(request))
        case ["echo"]:
            return Response(200, request.body)  # goes back while it comes
        case ["numbers", last] if last.isdecimal():
            return Response(200, numbers(int(last)))
    raise HttpError(404, f"there is no {request.target}")


async def count(request: Request) -> int:
    return sum([len(part) async for part in request.parts()])


async def numbers(last: int) -> AsyncIterator[bytes]:
    for number in range(1, last + 1):
        yield b"%d\n" % number


def announce(server: bridgeio.Server) -> None:
    print(f"listening on port {server.port}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers HTTP requests.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    parser.add_argument("--grace", type=float, default=10.0, help="seconds for requests when it ends; default: 10")
    parser.add_argument("--certificate", help="a file with a certificate and its key, for https")
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    bridgeio.run_server(
        handler(app),
        "127.0.0.1",
        options.port,
        backend=options.backend,
        on_started=announce,
        ssl=context,
        grace=options.grace,
        standard_compatible=False,  # clients hang up without TLS's goodbye, and HTTP knows whether all has come
    )


if __name__ == "__main__":
    main()
