"""A server that computes Fibonacci numbers the slow way, in worker threads or processes, and goes on serving.

python fibonacci.py --backend trio --port 8888 --in processes
"""

from __future__ import annotations

import argparse
from functools import partial

import bridgeio
from bridgeio import to_process, to_thread


def fibonacci(number: int) -> int:
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


# A thread cannot be ended, so a cancelled handler leaves it behind; a process is killed.
WORKERS = {
    "threads": partial(to_thread.run_sync, abandon_on_cancel=True),
    "processes": partial(to_process.run_sync, cancellable=True),
}


async def answer(workers: str, reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    async for line in reader:
        if line == b"ping\n":  # answered at once, whatever is being computed for others
            writer.write(b"pong\n")
        else:
            writer.write(b"%d\n" % await WORKERS[workers](fibonacci, int(line)))
        await writer.drain()


def announce(server: bridgeio.Server) -> None:
    print(f"listening on port {server.port}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Computes Fibonacci numbers, one for each line.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    parser.add_argument("--in", default="threads", choices=WORKERS, dest="workers", help="default: threads")
    options = parser.parse_args()
    handler = partial(answer, options.workers)
    bridgeio.run_server(handler, "127.0.0.1", options.port, backend=options.backend, on_started=announce, grace=1.0)


if __name__ == "__main__":
    main()
