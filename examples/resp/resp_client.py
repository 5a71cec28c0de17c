"""A client for any Redis server: one command, or all lines of the standard input in one pipeline, or messages.

python resp_client.py --port 6379 SET greeting hello
printf 'INCR visits\nGET visits\n' | python resp_client.py --port 6379 --backend trio
python resp_client.py --port 6379 SUBSCRIBE news
"""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

import bridgeio
import rediswire


async def talk(redis: rediswire.Redis, words: list[str]) -> None:
    if not words:
        lines = [shlex.split(line) for line in sys.stdin]
        for reply in await redis.pipeline(line for line in lines if line):
            print(shown(reply))
    elif words[0].upper() == "SUBSCRIBE":
        async with redis.subscribe(*words[1:]) as messages:
            print("listening on", *words[1:], flush=True)
            async for message in messages:
                print(f"{shown(message.channel)}: {shown(message.data)}", flush=True)
    else:
        print(shown(await redis.execute(*words)))


def shown(reply: rediswire.Reply) -> str:
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "replace")
    if isinstance(reply, list):
        return "\n".join(map(shown, reply))
    return f"(error) {reply}" if isinstance(reply, Exception) else str(reply)


async def run(words: list[str], address: dict[str, Any]) -> None:
    async with rediswire.Redis(**address) as redis:
        await talk(redis, words)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sends commands to a Redis server.")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a command; default: each line of the input is one")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=6379, help="default: 6379")
    parser.add_argument("--database", type=int, default=0, help="default: 0")
    options = vars(parser.parse_args())
    words, backend = options.pop("words"), options.pop("backend")
    try:
        bridgeio.run(run, words, options, backend=backend)
    except rediswire.RedisError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
