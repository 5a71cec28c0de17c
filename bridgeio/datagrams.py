"""Datagrams: a socket of bridgeio's own behind the poller, and what all kinds of datagram sockets share.

Rule 1: a datagram socket is read until the kernel says that there is nothing: a datagram tells nothing about
the next one.
Rule 2: it asks whether it can be written to only while somebody waits for that, or every datagram that leaves
would be a useless event.
Rule 3: no datagram is cut in silence. More is asked of the kernel than the largest can have, so one that fills
all of it was cut, and is an error.
Rule 4: an error of the network that the kernel reports is raised once, and ends nothing.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from bridgeio.buffers import Bytes
from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Host, Task
from bridgeio.errors import BusyError, SharedBetweenRunsError, StreamClosedError, describe, show_address
from bridgeio.limits import DATAGRAM_MAX
from bridgeio.poller import ERROR, FINAL, HANGUP, READ, URGENT, WRITE
from bridgeio.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DatagramSocket", "DatagramSource", "DatagramStatistics"]

READABLE = READ | URGENT | FINAL
WRITABLE = WRITE | ERROR | HANGUP

T = TypeVar("T")


class DatagramStatistics(Record):
    """What has gone through a datagram socket since it was made.

    :ivar received: datagrams that ``receive`` has returned.
    :ivar sent: datagrams that the kernel has taken.
    :ivar dropped: datagrams that came and that the kernel threw away, because its queue for this socket was full
        or they were damaged. ``None`` where the system does not tell: it is Linux that does.
    :ivar strangers: datagrams left out because they were not the peer's: they came to a connected socket between
        its bind and its connect.
    :ivar tasks_waiting_send: tasks that wait for the kernel to take a datagram.
    """

    received: int
    sent: int
    dropped: int | None
    strangers: int
    tasks_waiting_send: int


class DatagramSource:
    """A non-blocking datagram socket that bridgeio owns: what it is ready for, and who waits for that.

    :ivar peer: the address that it is connected to, if it is.
    :ivar only_from: where that may be something else, the address that datagrams have to come from.
    :ivar readable: whether a receive may find something.
    :ivar on_close: called when it is closed.
    :cvar hints: what to do about an error that the kernel gives a send.
    """

    level_triggered = False
    hints: ClassVar[dict[int, str]] = {
        errno.EMSGSIZE: "no datagram of this kind, or of this socket, can be as large as that: send less at a time"
    }

    def __init__(self, host: Host, sock: socket.socket, peer: Any = None, only_from: Any = None) -> None:
        self.host = host
        self.sock = sock
        self.fd = sock.fileno()
        self.address: Any = sock.getsockname()
        self.peer = peer
        self.only_from = only_from
        self.registered = False
        self.usable = True
        self.readable = False
        self.received = self.sent = self.strangers = self.waiting = 0
        self.reader: Task | None = None
        self.writers: deque[Task] = deque()
        self.on_close: Callable[[], None] | None = None
        self._dropped: int | None = None
        self._poller = host.poller()
        self._poller.register(self)

    # For the poller

    def on_event(self, events: int) -> None:
        if events & WRITABLE and self.writers:
            self._wake_writers()
        if events & READABLE:
            self.readable = True
            reader, self.reader = self.reader, None
            if reader is not None:
                reader.wake_now()

    def abandon(self) -> None:
        """The poller is gone: nothing will be ready any more, and every use is an error."""
        self.registered = False
        self.usable = False

    def end(self) -> None:
        """The run is over, and nobody has closed this."""
        self.close()

    # Receiving

    async def receive(self, task: Task) -> tuple[bytes, Any]:
        """The next datagram, and where it came from. One task at a time."""
        waited = False
        while not self.readable or (datagram := self.receive_now()) is None:
            if waited and task.scope.cancelled:  # since it was woken: no second wake-up will come
                await task.checkpoint_if_cancelled()
            waited = True
            await self._wait_readable(task)
        self.received += 1
        return datagram

    def receive_now(self) -> tuple[bytes, Any] | None:
        """A datagram that has come, or ``None`` if there is none."""
        while (datagram := self._taken()) is not None:
            if self.only_from is None or datagram[1] == self.only_from:
                return datagram
            self.strangers += 1
        return None

    def _taken(self) -> tuple[bytes, Any] | None:
        self.check_usable()
        try:
            most = self.size_of_next() + 1
            data, address = self.sock.recvfrom(most)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError as error:
            raise describe(error, "receive from" if self.peer else "receive at", self._where()) from error
        if len(data) == most:
            raise self._was_cut(most - 1, address)
        return data, address

    def size_of_next(self) -> int:
        """How many bytes the next datagram can have."""
        return DATAGRAM_MAX

    def _wait_readable(self, task: Task) -> Any:
        self._check_run(task)
        self.check_usable()
        self.reader = task
        if self._poller.arms_each_wait:
            self._poller.arm(self, task, READ)
        return task.park(self._forget_reader)

    # Sending

    async def send(self, task: Task, data: Bytes, address: Any = None) -> None:
        """Waits until the kernel takes the datagram, whole. Any number of tasks may."""
        tries = 0
        while not self.send_now(data, address):
            if tries and task.scope.cancelled:
                await task.checkpoint_if_cancelled()
            self._check_run(task)
            self.waiting += 1
            try:
                await self.wait_for_room(task, tries)
            finally:
                self.waiting -= 1
            tries += 1
        self.sent += 1

    def send_now(self, data: Bytes, address: Any) -> bool:
        """Whether the kernel has taken it."""
        self.check_usable()
        try:
            if address is None:
                self.sock.send(data)
            else:
                self.sock.sendto(data, address)
        except OSError as error:
            if self.is_full(error):
                return False
            raise self._not_sent(error, data, address) from error
        return True

    def is_full(self, error: OSError) -> bool:
        """Whether it says that a queue is full, and there will be room again."""
        return isinstance(error, BlockingIOError)

    async def wait_for_room(self, task: Task, tries: int) -> None:
        """Until the kernel may take a datagram again."""
        poller = self._poller
        self.writers.append(task)
        if poller.arms_each_wait:
            poller.arm(self, task, WRITE)
        elif len(self.writers) == 1:
            poller.want_write(self, True)
        await task.park(_Leaving(self, task))

    def forget_writer(self, task: Task) -> bool:
        if task not in self.writers:
            return False  # it is being woken
        self.writers.remove(task)
        if not self.writers:
            self._end_writing()
        return True

    def _wake_writers(self) -> None:
        """Each tries for itself, and waits again if there was no room for its datagram."""
        writers, self.writers = self.writers, deque()
        self._end_writing()
        for task in writers:
            task.wake()

    def _end_writing(self) -> None:
        if self.registered and not self._poller.arms_each_wait:
            self._poller.want_write(self, False)

    # Looking, and the end

    def statistics(self) -> DatagramStatistics:
        dropped = self._dropped if self.fd < 0 else _dropped_by_kernel(self.sock)
        return DatagramStatistics(self.received, self.sent, dropped, self.strangers, self.waiting)

    def doing(self, abort: object) -> str:
        return f"receiving from {show_address(self.peer)}" if self.peer else f"receiving at {self._where()}"

    def close(self) -> None:
        """Unregisters, closes, and wakes whoever waits. May be called again."""
        if self.fd < 0:
            return
        self._dropped = _dropped_by_kernel(self.sock)
        self._poller.unregister(self)
        self.fd = -1
        self.readable = True
        self.sock.close()
        if self.usable and self.on_close is not None:  # in a forked child it is the parent's to do
            self.on_close()
        self.usable = False
        reader, self.reader = self.reader, None
        writers, self.writers = self.writers, deque()
        for task in (*writers, *([reader] if reader is not None else [])):
            task.wake()

    def busy(self) -> BusyError:
        return BusyError(f"another task is already receiving at {self._where()}")

    def _where(self) -> str:
        return show_address(self.peer or self.address)

    def check_usable(self) -> None:
        if not self.usable:
            gone = "belongs to a run that has ended, or to a process that was forked"
            why = "was closed by this side" if self.fd < 0 else gone
            raise StreamClosedError(f"the datagram socket at {show_address(self.address)} {why}")

    def _check_run(self, task: Task) -> None:
        """Nobody here could wake the task that wants to wait: its loop is another, and maybe its thread."""
        if task.host is not self.host:
            raise SharedBetweenRunsError(
                f"the datagram socket at {show_address(self.address)} belongs to another run or loop: "
                "use it in a task of that one"
            )

    def _was_cut(self, most: int, address: object) -> OSError:
        return OSError(
            errno.EMSGSIZE,
            f"a datagram of more than {most} bytes came, and the rest of it is lost "
            f"(receive from {show_address(address or self.peer)})",
        )

    def _not_sent(self, error: OSError, data: Bytes, address: Any) -> OSError:
        size = memoryview(data).nbytes
        better = describe(error, f"send {size} bytes to", address if address is not None else self._where())
        hint = self.hints.get(error.errno or 0)
        if hint is not None:
            better = type(error)(error.errno, f"{better.strerror}: {hint}")
        return better

    def _forget_reader(self) -> bool:
        self.reader = None
        return True


class _Leaving:
    """One task's wait for room. Calling it is the wait's ``abort``."""

    __slots__ = ("_source", "_task")

    def __init__(self, source: DatagramSource, task: Task) -> None:
        self._source = source
        self._task = task

    def __call__(self) -> bool:
        return self._source.forget_writer(self._task)

    def doing(self, abort: object) -> str:
        return f"sending to {show_address(self._source.peer or self._source.address)}"


class DatagramSocket(Generic[T]):
    """What all datagram sockets have. They are made by the functions that begin with ``create_``.

    One task may receive at a time; a second one gets `BusyError`, and the first is not disturbed. Any number of
    tasks may send meanwhile. A cancelled ``receive`` has taken nothing, a cancelled send has sent nothing. An
    empty datagram is a datagram, and no end: there is none before somebody closes the socket.
    """

    __slots__ = ("_receiving", "_source")

    def __init__(self, source: DatagramSource) -> None:
        self._source = source
        self._receiving = False

    async def receive(self) -> T:
        """The next datagram, whole, in the order in which they came.

        :raises BusyError: if another task is receiving.
        :raises StreamClosedError: after ``close``, also if that comes while this waits.
        :raises OSError: an error that the network has reported for a datagram sent before, on a connected socket:
            `ConnectionRefusedError` if nobody listens there. It is raised once, by the next send or receive; the
            socket lives on. With ``EMSGSIZE``, if a datagram came that is larger than any should be.
        """
        task = await begin()
        if self._receiving:
            raise self._source.busy()
        self._receiving = True
        try:
            data, address = await self._source.receive(task)
        finally:
            self._receiving = False
        await spend(task)
        return self._item(data, address)

    def _item(self, data: bytes, address: Any) -> T:
        """A datagram as this kind of socket hands it out."""
        raise NotImplementedError

    async def _send(self, data: Bytes, address: Any = None) -> None:
        task = await begin()
        await self._source.send(task, data, address)
        await spend(task)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await self.receive()

    def statistics(self) -> DatagramStatistics:
        """How many datagrams went through, and how many were dropped; after ``close``, up to then."""
        return self._source.statistics()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"socket"``, ``"sockname"`` or ``"peername"``, as `socket` has them; ``default`` for anything else.

        The socket is for options; reading, writing or closing it confuses this one.
        """
        source = self._source
        known = {"socket": source.sock, "sockname": source.address, "peername": source.peer}
        found = known.get(name)
        return default if found is None else found

    def close(self) -> None:
        """Closes at once; may be called again. Tasks that wait raise `StreamClosedError`.

        What the kernel has taken is still sent. What came and was not received is gone.
        """
        self._source.host.call_guarded(self._source.close)

    async def aclose(self) -> None:
        """`close`, also in a cancelled scope: it does not wait."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_MEMINFO = 55 if sys.platform == "linux" else None  # SO_MEMINFO, which the socket module has no name for
_COUNTS = struct.Struct("9I")  # the last of them are the drops (linux/sock_diag.h)


def _dropped_by_kernel(sock: socket.socket) -> int | None:
    if _MEMINFO is None:
        return None
    try:
        counts = sock.getsockopt(socket.SOL_SOCKET, _MEMINFO, _COUNTS.size)
        return int(_COUNTS.unpack(counts)[-1])
    except (OSError, struct.error):
        return None
