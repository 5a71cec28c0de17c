"""A non-blocking descriptor behind a poller: what it is ready for, and who waits for that.

Rule 1: a ``recv`` that got less than it asked for says that the kernel has no more, so the next one
waits for an event; but never once the peer has ended its side, because data and end may have come in
one edge, and no other follows. The end itself is only ever what ``recv`` says.
Rule 2: an out-of-band byte stops ``recv`` early without a new edge: until the kernel says that
there is nothing, short receives mean nothing.
Rule 3: TCP asks for writability once and for all, it costs nothing there. On others that would be one
useless event for each message, so it is asked for when bytes are left over.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bridgeio.buffers import Bytes, Receive, Send
from bridgeio.contract import Host, Task
from bridgeio.errors import SharedBetweenRunsError, StreamClosedError, show_address
from bridgeio.poller import ERROR, FINAL, HANGUP, READ, URGENT, WRITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Worked out once, because every event is held against them.
NOT_PLAIN = URGENT | FINAL  # rules 1 and 2
READABLE = READ | URGENT | FINAL
WRITABLE = WRITE | ERROR | HANGUP

__all__ = ["DescriptorSource", "other_run", "unusable"]


class DescriptorSource:
    """What every kind of descriptor that carries a stream has in common. bridgeio owns it.

    A kind sets ``recv`` and ``send``, which do what a non-blocking socket's methods do, and brings the
    methods at the end.

    :ivar readable: whether a receive may find something; see rule 1.
    :ivar reader: the task that waits for bytes.
    :ivar writer: the task that waits until it takes bytes, or is connected.
    :ivar on_writable: called when it takes bytes again, if bytes are left over.
    :ivar asks_write: see rule 3.
    """

    joins_answers = True
    level_triggered = False

    recv: Receive
    send: Send

    __slots__ = (
        "__weakref__",
        "_abort_read",
        "_arms_each_wait",
        "asks_write",
        "exhaust",
        "fd",
        "final",
        "host",
        "on_writable",
        "peer",
        "poller",
        "readable",
        "reader",
        "recv",
        "registered",
        "send",
        "usable",
        "writer",
    )

    def __init__(self, host: Host, fd: int, peer: object, *, asks_write: bool) -> None:
        self.host = host
        self.fd = fd
        self.peer = peer
        self.asks_write = asks_write
        self.readable = False
        self.final = False
        self.exhaust = False
        self.registered = False
        self.usable = True
        self.reader: Task | None = None
        self.writer: Task | None = None
        self.on_writable: Callable[[], None] | None = None
        self.poller = poller = host.poller()
        self._arms_each_wait = poller.arms_each_wait
        self._abort_read: Callable[[], bool] = self._forget_reader
        poller.register(self, write=self.asks_write)

    def on_event(self, events: int) -> None:
        if events & NOT_PLAIN:
            self.exhaust = True
            self.final = self.final or bool(events & FINAL)
        if events & READABLE:
            self.readable = True
            reader = self.reader
            if reader is not None:
                self.reader = None
                reader.wake_now()
        if events & WRITABLE:
            if self.on_writable is not None:
                self.on_writable()
            if self.writer is not None:
                writer, self.writer = self.writer, None
                writer.wake()

    def nothing_now(self) -> None:
        self.readable = False
        self.exhaust = self.final

    def wait_readable(self, task: Task) -> Any:
        """An awaitable that ends when a receive may find something."""
        if task.host is not self.host:
            raise self.of_another_run()
        self.reader = task
        if self._arms_each_wait:
            self.poller.arm(self, task, READ)
        return task.park(self._abort_read)

    def wait_writable(self, task: Task) -> Any:
        """An awaitable that ends when the socket may take bytes, is connected, or has failed."""
        self.writer = task
        if self._arms_each_wait:
            self.poller.arm(self, task, WRITE)
        return task.park(self._forget_writer)

    def call_when_writable(self, callback: Callable[[], None] | None) -> None:
        """Calls back at each writability; ``None`` ends it."""
        self.on_writable = callback
        if callback is None:
            self.host.unflushed.discard(self)
        else:
            self.host.unflushed.add(self)
        if self.registered and (not self.asks_write or self._arms_each_wait):
            self.poller.want_write(self, callback is not None)

    @property
    def closed(self) -> bool:
        return self.fd < 0

    def why_unusable(self) -> StreamClosedError:
        return unusable(self.peer, self.fd < 0)

    def of_another_run(self) -> SharedBetweenRunsError:
        return other_run(self.peer)

    def abandon(self) -> None:
        """The poller is gone: nothing will be ready any more, and every use is an error."""
        self.registered = False
        self._refuse()

    def end(self) -> None:
        """The run is over, and nobody has closed this: whoever uses it from now on hears of that."""
        self.abandon()
        self.close_descriptor()

    def _refuse(self) -> None:
        self.usable = False
        self.readable = True
        self.recv = self.send = partial(_refuse_use, self.peer, self.fd < 0)  # a method would be a cycle

    def doing(self, abort: object) -> str:
        doing = "reading from" if abort == self._abort_read else "writing to"
        return f"{doing} {show_address(self.peer)}"

    def close(self) -> None:
        """Unregisters, closes, and wakes whoever waits. May be called again."""
        if self.fd < 0:
            return
        self.poller.unregister(self)
        self.host.unflushed.discard(self)
        self.fd = -1
        self._refuse()
        self.close_descriptor()
        for task in (self.reader, self.writer):
            if task is not None:
                task.wake()
        self.reader = self.writer = self.on_writable = None
        self._abort_read = _nothing_to_forget  # ends the cycle

    def _forget_reader(self) -> bool:
        self.reader = None
        return True

    def _forget_writer(self) -> bool:
        self.writer = None
        return True

    # What a kind of descriptor brings

    @property
    def can_end_write(self) -> bool:
        """Whether ``end_write`` leaves the other direction alone."""
        return True

    def gather(self, chunks: Sequence[Bytes]) -> int:
        """``send`` for several pieces at once."""
        raise NotImplementedError

    def end_write(self) -> None:
        """Lets the peer know that nothing more comes."""
        raise NotImplementedError

    def broke(self, error: OSError) -> None:
        """A ``send`` has raised this. Other directions of other kinds hear of it by themselves."""

    def reset(self) -> None:
        """Has ``close`` drop what is unsent, and tell the peer so if it can be told."""
        raise NotImplementedError

    def extra(self, name: str, default: Any) -> Any:
        """What `Writer.get_extra_info` gives."""
        raise NotImplementedError

    def close_descriptor(self) -> None:
        raise NotImplementedError


def _nothing_to_forget() -> bool:
    return True


def other_run(peer: object) -> SharedBetweenRunsError:
    """Nobody here could wake the task that wants to wait: its loop is another, and maybe its thread."""
    return SharedBetweenRunsError(
        f"the stream to {show_address(peer)} belongs to another run or loop: use it in a task of that one"
    )


def unusable(peer: object, closed: bool) -> StreamClosedError:
    why = "was closed by this side" if closed else "belongs to a run that has ended, or to a process that was forked"
    return StreamClosedError(f"the stream to {show_address(peer)} {why}")


def _refuse_use(peer: object, closed: bool, data: object) -> Any:
    raise unusable(peer, closed)
