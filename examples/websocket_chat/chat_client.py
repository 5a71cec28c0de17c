"""Chats from a terminal: each line of the input is said, what the others say is printed. Ends with the input.

python chat_client.py --backend gevent ws://127.0.0.1:8765/lobby?name=ann
"""

from __future__ import annotations

import argparse

import bridgeio
import wswire


async def chat(url: str) -> None:
    async with await wswire.connect(url) as websocket, bridgeio.create_task_group() as group:
        group.start_soon(listen, websocket, group.cancel_scope)
        async for line in await bridgeio.open_stdin():
            await websocket.send(line.decode().rstrip("\n"))
        await websocket.close()


async def listen(websocket: wswire.WebSocket, everything: bridgeio.CancelScope) -> None:
    async for message in websocket:
        print(message, flush=True)
    everything.cancel("the other side has said goodbye")


def main() -> None:
    parser = argparse.ArgumentParser(description="Joins a chat room.")
    parser.add_argument("url", help="ws://host:port/ROOM?name=NAME")
    parser.add_argument("--backend", default="asyncio", choices=bridgeio.available_backends(), help="default: asyncio")
    options = parser.parse_args()
    try:
        bridgeio.run(chat, options.url, backend=options.backend)
    except* (wswire.WebSocketError, OSError) as errors:
        parser.exit(1, f"{errors.exceptions[0]}\n")


if __name__ == "__main__":
    main()
