"""Rooms and who is in them. Nothing here waits: what one member says is written to all the others at once.

What a slow member does not take waits in its own outbox. When that is full the member is disconnected, and the
others hear that it has left. To wait for it would stop the room, and to drop some of its messages would leave it
with a conversation that nobody has had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import wswire

__all__ = ["Room", "Rooms"]


class Room:
    """:ivar members: by their names."""

    def __init__(self) -> None:
        self.members: dict[str, wswire.WebSocket] = {}

    @contextmanager
    def joined(self, name: str, websocket: wswire.WebSocket) -> Iterator[None]:
        """The others hear of both ends of this block; the member itself, who is there."""
        self.tell_all(f"* {name} has joined")
        self.members[name] = websocket
        try:
            tell(websocket, f"* here: {', '.join(sorted(self.members))}")
            yield
        finally:
            del self.members[name]
            self.tell_all(f"* {name} has left")

    def tell_all(self, text: str) -> None:
        for member in list(self.members.values()):
            tell(member, text)


def tell(member: wswire.WebSocket, text: str) -> None:
    try:
        member.send_nowait(text)
    except wswire.ConnectionClosedError:
        pass  # it is on its way out; the task that receives from it is told, and takes it out of its room


class Rooms:
    """Made when the first member comes, forgotten when the last one leaves."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    @contextmanager
    def joined(self, room: str, name: str, websocket: wswire.WebSocket) -> Iterator[Room]:
        place = self._rooms.setdefault(room, Room())
        try:
            with place.joined(name, websocket):
                yield place
        finally:
            if not place.members:
                self._rooms.pop(room, None)

    def has(self, room: str, name: str) -> bool:
        return room in self._rooms and name in self._rooms[room].members
