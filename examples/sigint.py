"""Counts until Ctrl-C or SIGTERM comes, and says goodbye.

python sigint.py --backend trio
"""

from __future__ import annotations

import argparse
from signal import SIGINT, SIGTERM

import bridgeio


async def count(seconds: float) -> None:
    async for number in bridgeio.every(seconds):
        print(number, flush=True)


async def count_until_signal(seconds: float) -> None:
    with bridgeio.open_signal_receiver(SIGINT, SIGTERM) as signals:
        async with bridgeio.create_task_group() as group:
            group.start_soon(count, seconds)
            number = await anext(signals)
            print(f"{number.name}: goodbye", flush=True)
            group.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts until it is told to end.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--seconds", type=float, default=1.0, help="between two numbers; default: 1")
    options = parser.parse_args()
    bridgeio.run(count_until_signal, options.seconds, backend=options.backend)


if __name__ == "__main__":
    main()
