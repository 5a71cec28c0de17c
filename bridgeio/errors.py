"""Every error that bridgeio raises itself, and the one place where system errors get their words.

Rule 1: the same failure is the same class on every adapter.
Rule 2: a message says what was tried, with whom, and what to do where there is something to do.
Rule 3: an ``OSError`` of the system keeps its class and ``errno``; the original is the ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "AdapterError",
    "BackendBusyError",
    "BackendNotFoundError",
    "BackendNotInstalledError",
    "BrokenBarrierError",
    "BrokenResourceError",
    "BrokenWorkerProcess",
    "BusyError",
    "ClosedResourceError",
    "ConnectError",
    "EndOfStream",
    "IncompleteReadError",
    "LimitOverrunError",
    "NoBackendError",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "SharedBetweenRunsError",
    "StreamClosedError",
    "TruncatedStreamError",
    "WouldBlock",
    "WriteBufferFullError",
    "again",
    "describe",
    "show_address",
]


class NoBackendError(RuntimeError):
    """A bridgeio call was made where no framework is running that could carry it."""


class BackendNotFoundError(LookupError):
    """No adapter of that name is known."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class BackendNotInstalledError(ImportError):
    """The adapter is known, the framework that it adapts is not installed."""


class BackendBusyError(RuntimeError):
    """The framework is already running here, and cannot run a second time at once."""


class AdapterError(RuntimeError):
    """An adapter does not keep the contract: a wrong version, or a missing part."""


class BusyError(RuntimeError):
    """Another task is in the middle of the same operation on the same object."""


class StreamClosedError(ConnectionError):
    """The stream was used after this side closed, aborted or ended it, after its run, or in a forked child."""


class IncompleteReadError(EOFError):
    """The peer ended the stream before the bytes asked for had come.

    :ivar partial: the bytes that did come; they are taken from the stream.
    :ivar expected: how many bytes were asked for, or ``None`` for a separator.
    """

    def __init__(self, partial: bytes, expected: int | None) -> None:
        wanted = "the separator" if expected is None else f"{expected} bytes"
        super().__init__(f"the peer ended the stream after {len(partial)} bytes, before {wanted}")
        self.partial = partial
        self.expected = expected

    def __reduce__(self) -> tuple[type, tuple[bytes, int | None]]:
        return type(self), (self.partial, self.expected)


class LimitOverrunError(ValueError):
    """The separator did not come within the stream's limit; the bytes stay in the stream.

    :ivar consumed: how many buffered bytes certainly do not begin a separator.
    """

    def __init__(self, message: str, consumed: int) -> None:
        super().__init__(message)
        self.consumed = consumed

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (self.args[0], self.consumed)


class WriteBufferFullError(BufferError):
    """More bytes would wait than ``write_limit`` allows; nothing of this write was taken."""


class TruncatedStreamError(EOFError):
    """The connection ended without the closing message that its protocol asks for."""


class SharedBetweenRunsError(RuntimeError):
    """An object with live waiters or an owner in one run was used in another."""


class BrokenBarrierError(RuntimeError):
    """A `Barrier` was aborted, or was reset while the task waited at it."""


class WouldBlock(Exception):  # noqa: N818 - AnyIO's and Trio's name
    """A ``_nowait`` call could not be done without waiting; nothing was taken."""


class QueueEmpty(WouldBlock):
    """`Queue.get_nowait` found nothing."""


class QueueFull(WouldBlock):
    """`Queue.put_nowait` found no room."""


class QueueShutDown(Exception):  # noqa: N818 - asyncio's name
    """The queue was shut down: it takes no more items, and has none left to give."""


class ClosedResourceError(Exception):
    """What was waited for, or used, is closed: an end of a memory object stream, or a signal receiver."""


class BrokenResourceError(Exception):
    """Every receiving end of a memory object stream is closed: nobody will ever take the item."""


class BrokenWorkerProcess(Exception):  # noqa: N818 - AnyIO's name
    """A worker process has ended in the middle of a call.

    :ivar returncode: its exit status, or minus the number of the signal that has ended it, as `subprocess` has them;
        ``None`` if that is not known, because somebody else in this process has reaped it, as gevent's loop does.
    """

    def __init__(self, message: str, returncode: int | None) -> None:
        super().__init__(message)
        self.returncode = returncode

    def __reduce__(self) -> tuple[type, tuple[str, int | None]]:
        return type(self), (self.args[0], self.returncode)


class EndOfStream(EOFError):  # noqa: N818 - AnyIO's name
    """Every sending end of a memory object stream is closed, and every item was taken."""


class ConnectError(ConnectionError):
    """No address of the host could be connected to.

    :ivar errors: one ``(address, exception)`` for each address that was tried, in that order.
    """

    def __init__(self, message: str, errors: Sequence[tuple[object, OSError]] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


def describe(error: OSError, operation: str, where: object = None) -> OSError:
    """The same class and ``errno`` with a message that names the operation and the address."""
    reason = error.strerror or str(error) or type(error).__name__
    place = "" if where in (None, "", ()) else f" {show_address(where)}"
    message = f"{reason} ({operation}{place})"
    better = _another(error, message) if error.errno is None else _another(error, error.errno, message)
    better.__cause__ = error
    return better


def again(error: OSError) -> OSError:
    """A copy, to be raised once more: each traceback would hang on the one before, and hold what it refers to."""
    copy = _another(error, *error.args)
    copy.__cause__ = error.__cause__
    return copy


def _another(error: OSError, *args: Any) -> OSError:
    """Of the same class, with what it carries beside its arguments, as `ssl.SSLError.reason`."""
    try:
        made = type(error)(*args)
    except TypeError:  # somebody's own class, which wants other arguments
        made = OSError(*args)
    made.__dict__.update(error.__dict__)
    return made


def show_address(address: object) -> str:
    """A socket address as people write it: ``host:port``, ``[host]:port`` or a path."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = address[0], address[1]
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    if isinstance(address, bytes):
        return repr(address)
    return str(address) if address else "an unnamed socket"
