"""An HTTP/1.1 client on the package `http11` beside this file: prints what the URLs give, all by one connection.

python http_client.py --backend gevent http://127.0.0.1:8080/ http://127.0.0.1:8080/numbers/10
"""

from __future__ import annotations

import argparse
import ssl
import sys
from collections.abc import AsyncIterator

import bridgeio
from http11 import Client, HttpError


async def fetch(urls: list[str], authority: str | None, upload: str | None) -> None:
    context = ssl.create_default_context(cafile=authority)
    output = await bridgeio.open_stdout()
    async with Client(ssl=context) as client:
        for url in urls:
            body = file_parts(upload) if upload else b""
            async with client.open("POST" if upload else "GET", url, body=body) as response:
                async for part in response.parts():
                    output.write(part)
                    await output.drain()


async def file_parts(path: str) -> AsyncIterator[bytes]:
    async with await bridgeio.open_file(path, "rb") as file:
        while part := await file.read(65536):
            yield part


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes HTTP requests, and prints what comes back.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--authority", help="a file with the certificate of who vouches for https servers")
    parser.add_argument("--upload", metavar="FILE", help="send it, while it is read")
    parser.add_argument("urls", nargs="+", metavar="URL")
    options = parser.parse_args()
    try:
        bridgeio.run(fetch, options.urls, options.authority, options.upload, backend=options.backend)
    except (HttpError, OSError) as error:
        sys.exit(f"http_client.py: {error}")


if __name__ == "__main__":
    main()
