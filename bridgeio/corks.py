"""Answers that wait for each other, so that one system call sends them all.

Rule 1: a peer that sends on before it has its answer does not wait for each. A writer holds an answer back while its
reader has more from the peer that nobody has asked for yet, and sends it with the last of them.
Rule 2: whatever the tasks do, nothing is held longer than the host's turn: until it is through with the events that
it has, or makes its next calls. So a task that waits for something else, or ends, leaves nothing behind.
Rule 3: nothing is held unless that turn is certain to end: amid the events, or by a task of a run of ours. A loop of
somebody else's may stop first, and code outside any task may never come back to it.
Rule 4: as much is held as may wait without `Writer.drain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from bridgeio.buffers import Bytes, ReceiveBuffer
from bridgeio.unpatched import get_ident

__all__ = ["Cork", "Corked"]


class Asked(Protocol):
    """A reader, to what holds back the answers."""

    @property
    def unread(self) -> ReceiveBuffer: ...
    def has_unread(self) -> bool: ...


class Answering(Protocol):
    """A writer, to the host."""

    def uncork(self) -> None: ...


class Cork:
    """What one writer holds back.

    :ivar unread: what has come and nobody has asked for.
    :ivar held: what is held; empty as a rule.
    """

    __slots__ = ("_reader", "held", "unread")

    def __init__(self, reader: Asked | None) -> None:
        self._reader = reader
        self.unread = ReceiveBuffer() if reader is None else reader.unread
        self.held: bytes | bytearray = b""

    def hold(self, data: Bytes, most: int, writer: Answering, corked: Corked) -> bool:
        """Whether this goes with an answer to come; asked only if something is unread, as far as the buffer knows."""
        held = self.held
        if self._reader is None or not self._reader.has_unread() or len(held) + len(data) > most:
            return False
        if not held:
            if not corked.add(writer):
                return False
            self.held = held = bytearray()
        held += data
        return True

    def take(self, last: Bytes = b"") -> Bytes:
        """All that is held, and what comes after it."""
        held, self.held = self.held, b""
        held += last
        return held


class Corked:
    """The writers of one host that hold something back.

    :param host: a `bridgeio.contract.Host`, which stands above this room.
    :param get_current: the task that runs, for all that its context tells.
    :ivar writers: they, and maybe some that held something in this turn and hold nothing any more.
    :ivar dispatching: `uncork_all` is certain to be called, as soon as the events that have come are seen to.
    """

    __slots__ = ("_get_current", "_host", "dispatching", "writers")

    def __init__(self, host: Any, get_current: Callable[[], Any]) -> None:
        self.dispatching = False
        self._host = host
        self._get_current = get_current
        self.writers: dict[Answering, None] = {}

    def add(self, writer: Answering) -> bool:
        """Whether a writer that held nothing may; it is asked to send it when the turn ends. See rule 3."""
        if not (self.dispatching or self._is_a_task_of_a_run()):
            return False
        if not (self.dispatching or self.writers):
            self._host.call_soon_threadsafe(self.uncork_all)
        self.writers[writer] = None
        return True

    def uncork_all(self) -> None:
        """The turn is over."""
        try:
            for writer in list(self.writers):
                writer.uncork()
                self.writers.pop(writer, None)
        finally:
            if self.writers:  # Ctrl-C: nobody is forgotten
                self._host.call_soon_threadsafe(self.uncork_all)

    def forget(self) -> None:
        """In a forked child: its parent sends what is held, and the call that was asked for is the parent's."""
        self.writers.clear()

    def _is_a_task_of_a_run(self) -> bool:
        task = self._get_current()
        return bool(self._host.mains) and task is not None and task.host is self._host and task.thread == get_ident()
