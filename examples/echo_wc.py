r"""What each client sends goes through a `wc` of its own, and the answer comes back.

python echo_wc.py --backend trio --port 8888
printf 'one two\nthree\n' | nc -N 127.0.0.1 8888
"""

from __future__ import annotations

import argparse

import bridgeio


async def count(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    async with await bridgeio.open_process(["wc"], stderr=None) as wc:
        assert wc.stdin is not None
        assert wc.stdout is not None
        while data := await reader.read(65536):
            wc.stdin.write(data)
            await wc.stdin.drain()  # a slow wc stops the client, and nobody else
        wc.stdin.write_eof()
        writer.write(await wc.stdout.read())
        await writer.drain()


def announce(server: bridgeio.Server) -> None:
    print(f"listening on port {server.port}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts lines, words and bytes of what comes over TCP.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    options = parser.parse_args()
    bridgeio.run_server(count, options.host, options.port, backend=options.backend, on_started=announce)


if __name__ == "__main__":
    main()
