"""chatroom: rooms on a WebSocket server. `rooms` is the chat, `chat` brings a connection into it."""

from __future__ import annotations

from chatroom.chat import LIMITS, serve_member
from chatroom.rooms import Room, Rooms

__all__ = ["LIMITS", "Room", "Rooms", "serve_member"]
