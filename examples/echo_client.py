"""A client: it sends each of its arguments as a line, and prints what comes back.

python echo_client.py --port 8888 --backend trio hello world
"""

from __future__ import annotations

import argparse

import bridgeio


async def exchange(reader: bridgeio.Reader, writer: bridgeio.Writer, word: str) -> str:
    """Sends one line and waits for its answer.

    :raises bridgeio.IncompleteReadError: if the server ends the connection instead.
    """
    writer.write(f"{word}\n".encode())
    await writer.drain()
    return (await reader.readuntil(b"\n")).decode().removesuffix("\n")


async def ask(host: str, port: int, words: list[str]) -> None:
    with bridgeio.fail_after(10):
        reader, writer = await bridgeio.open_connection(host, port)
        async with writer:
            for word in words:
                print(await exchange(reader, writer, word))


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends words to an echo server.")
    parser.add_argument("words", nargs="+", metavar="WORD", help="each is sent as a line")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    bridgeio.run(ask, options.host, options.port, options.words, backend=options.backend)


if __name__ == "__main__":
    main()
