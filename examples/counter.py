"""A counter: one tick a second, whatever the work between two ticks takes.

python counter.py --backend twisted --ticks 5
"""

from __future__ import annotations

import argparse

import bridgeio


async def count(seconds: float, ticks: int) -> None:
    async for number in bridgeio.every(seconds):
        print(number, flush=True)
        if number + 1 >= ticks:
            break


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts, without drift.")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--seconds", type=float, default=1.0, help="between two ticks; default: 1")
    parser.add_argument("--ticks", type=int, default=10, help="default: 10")
    options = parser.parse_args()
    bridgeio.run(count, options.seconds, options.ticks, backend=options.backend)


if __name__ == "__main__":
    main()
