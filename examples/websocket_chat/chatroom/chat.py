"""The handler of one member: ``ws://host/room?name=ann`` joins a room, and text goes to everybody in it."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

import bridgeio
import wswire
from chatroom.rooms import Room, Rooms

__all__ = ["LIMITS", "serve_member"]

LIMITS = wswire.Limits(max_size=16 * 1024, outbox=256 * 1024)
LONGEST_NAME = 40


async def serve_member(
    rooms: Rooms, reader: bridgeio.Reader, writer: bridgeio.Writer, limits: wswire.Limits = LIMITS
) -> None:
    try:
        handshake = await wswire.Handshake.receive(reader, writer)
        room, name = who_and_where(handshake.target)
        refusal = why_not(rooms, room, name)
        if refusal is not None:
            handshake.reject(*refusal)
            return
        websocket = handshake.accept(limits)
    except (OSError, wswire.HandshakeError):
        return  # the client knows; it is nobody else's affair
    async with websocket, bridgeio.create_task_group() as group:
        with rooms.joined(room, name, websocket) as place:  # no wait since the name was looked for
            group.start_soon(say_goodbye, websocket)
            await pass_on(websocket, place, name)
        group.cancel_scope.cancel()


def who_and_where(target: str) -> tuple[str, str]:
    parts = urlsplit(target)
    names = parse_qs(parts.query).get("name", [""])
    return unquote(parts.path).strip("/"), names[0].strip()


def why_not(rooms: Rooms, room: str, name: str) -> tuple[HTTPStatus, str] | None:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        return HTTPStatus.BAD_REQUEST, f"say who you are, with ?name= and at most {LONGEST_NAME} characters"
    if rooms.has(room, name):
        return HTTPStatus.CONFLICT, f"there is somebody called {name} already"
    return None


async def pass_on(websocket: wswire.WebSocket, place: Room, name: str) -> None:
    try:
        async for message in websocket:
            if isinstance(message, bytes):
                await websocket.close(1003, "text only")
                return
            place.tell_all(f"{name}: {message}")
    except wswire.ConnectionClosedError:
        pass  # lost, too slow, or against the rules: it has left like any other


async def say_goodbye(websocket: wswire.WebSocket) -> None:
    await bridgeio.current_server().closing.wait()
    await websocket.close(1001, "the server is closing")
