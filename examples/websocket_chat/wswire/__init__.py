"""wswire: WebSockets, client and server, for every framework that bridgeio knows. The protocol itself is wsproto's.

async with await wswire.connect("ws://localhost:8765/") as websocket:
    await websocket.send("hello")
    async for message in websocket:
        print(message)

`messages` puts fragments together and `websocket` is the connection; `handshake` (server) and `connecting` (client)
are the two ways to one.
"""

from __future__ import annotations

from wswire.connecting import connect
from wswire.errors import ConnectionClosedError, HandshakeError, WebSocketError
from wswire.handshake import Handshake
from wswire.messages import Message
from wswire.websocket import Limits, WebSocket

__all__ = [
    "ConnectionClosedError",
    "Handshake",
    "HandshakeError",
    "Limits",
    "Message",
    "WebSocket",
    "WebSocketError",
    "connect",
]
