"""What somebody else has opened, as a `Reader` and a `Writer`."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import Any, cast

from bridgeio.contract import Backend, Host, NativeStream
from bridgeio.ends import ByteEnds
from bridgeio.errors import describe
from bridgeio.fed import FedSource
from bridgeio.limits import LIMIT, WRITE_LIMIT, check_size
from bridgeio.pulled import PulledStream, can_be_pulled
from bridgeio.reader import Reader
from bridgeio.registry import framework_of, running_host, surrounding_backends
from bridgeio.sockets import SocketSource, new_socket
from bridgeio.streams import stream_over, tune
from bridgeio.writer import Writer

__all__ = ["wrap"]

_SOCKETS = ("detach", "fileno", "getpeername", "family", "type", "proto")


def wrap(native: Any, *, limit: int = LIMIT, write_limit: int = WRITE_LIMIT) -> tuple[Reader, Writer]:
    """A reader and a writer over a connection that somebody else has opened. It is theirs from now on.

    Everywhere: a connected stream socket, of the standard library or of gevent, and any object with ``receive``,
    ``send`` and ``aclose`` (and ``send_eof``, if it can), as AnyIO's byte streams are. Beside that, what the
    framework that is running has: on asyncio, uvloop and Tornado an ``(asyncio.StreamReader,
    asyncio.StreamWriter)`` pair, on Tornado an ``IOStream``, on Trio any ``trio.abc.Stream``, on Twisted a
    protocol's transport.

    A socket, and that of a ``trio.SocketStream``, is taken over: the object given is detached, and bridgeio reads
    and writes by itself. Anything else goes on carrying the bytes. What it has buffered already comes first.
    Closing the writer closes it, and ``get_extra_info("native")`` gives it back.

    May be called in a task, and in a callback of the framework's.

    :param limit: bytes that ``readuntil`` may buffer.
    :param write_limit: bytes that may wait to be sent.
    :raises TypeError: for anything else, with what can be wrapped here.
    :raises BusyError: if somebody is reading from it.
    :raises OSError: for a socket that is not connected.
    :raises NoBackendError: outside any framework.
    """
    host = running_host()
    check_size("limit", limit)
    check_size("write_limit", write_limit)
    return stream_over(_source_of(host, native), limit, write_limit)


def _source_of(host: Host, given: Any) -> ByteEnds:
    around = surrounding_backends()
    native = _unwrapped(around, given)
    if _is_socket(native):
        return _taken_over(host, native)
    if _is_native_stream(native):
        return FedSource(host, cast("NativeStream", native), given)
    if can_be_pulled(native):
        return FedSource(host, PulledStream(host, native), given)
    raise _refusal(host, around, given)


def _unwrapped(around: list[Backend], given: object) -> object:
    for backend in around:
        native = backend.unwrap(given)
        if native is not None:
            return native
    return given


def _is_native_stream(native: object) -> bool:
    return all(hasattr(native, name) for name in ("start", "resume", "end_write", "abort", "extra"))


def _is_socket(native: object) -> bool:
    return all(hasattr(native, name) for name in _SOCKETS)


def _taken_over(host: Host, sock: Any) -> SocketSource:
    """One of ours, with the same descriptor. It becomes non-blocking for every process that shares it."""
    if hasattr(sock, "do_handshake"):
        raise TypeError(
            f"{sock!r} speaks TLS by itself: wrap the plain socket, and then await writer.start_tls(context)"
        )
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"wrap() wants a stream socket, not {sock!r}")
    peer = _peer_of(sock)
    ours = new_socket(sock.family, sock.type, sock.proto, sock.detach())
    try:
        with suppress(OSError):  # the peer is gone already, as a read will find, or it is no TCP
            tune(ours)
        return SocketSource(host, ours, peer)
    except BaseException:
        ours.close()
        raise


def _peer_of(sock: Any) -> Any:
    try:
        return sock.getpeername() or sock.getsockname()
    except OSError as error:
        if error.errno == errno.EINVAL:
            return None  # it is shut down already: what it has received can be read
        raise describe(error, "wrap a socket that is not connected") from error


def _refusal(host: Host, around: list[Backend], given: object) -> TypeError:
    theirs = _taken_by(around)
    here = ", ".join([*theirs, "a connected stream socket, and any object with receive(), send() and aclose()"])
    what = f"wrap() cannot make a stream of {_shown(given)}"
    framework = framework_of(given)
    if framework is not None and framework not in {backend.name for backend in around}:
        what += f", which is {framework}'s, while this code runs on {host.backend}"
    return TypeError(f"{what}. Here it takes {here}")


def _taken_by(around: list[Backend]) -> list[str]:
    """Each once: a framework that runs on another's loop says what that one takes, too."""
    every = dict.fromkeys(backend.wraps for backend in around if backend.wraps)
    return [words for words in every if not any(words in other for other in every if other != words)]


def _shown(given: object) -> str:
    kind = type(given)
    return repr(given) if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__qualname__}"
