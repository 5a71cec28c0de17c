"""What the gevent adapter promises: each function keeps one promise, in a process that may be patched.

Patching cannot be taken back, and the main greenlet's hub is the thread's for good, so `test_gevent`
calls each in a process of its own, plain or patched, through `keep`. The docstring is the promise.
They stand in `gevent_greenlets`, `gevent_waits` and `gevent_hubs`; here is what these share.
"""

from __future__ import annotations

import faulthandler
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import gevent.event
import gevent.os
import gevent.pool
import gevent.server
import gevent.socket

import bridgeio
from bridgeio import blocking
from bridgeio.unpatched import original

__all__ = [
    "PROMISES",
    "ask",
    "connect",
    "echo",
    "keep",
    "live_hub",
    "native_echo",
    "native_server",
    "natively_until",
    "promise",
    "raised_by",
    "run",
    "start_thread",
    "until",
]

PROMISES: dict[str, Callable[[], object]] = {}

run = partial(bridgeio.run, backend="gevent")
connect = blocking(bridgeio.open_connection)
start_thread = original("_thread", "start_new_thread")


def promise(function: Callable[[], object]) -> Callable[[], object]:
    """Marks a promise."""
    PROMISES[function.__name__] = function
    return function


def keep(name: str) -> None:
    """The whole program of one process."""
    faulthandler.dump_traceback_later(25, exit=True)
    warnings.simplefilter("error")
    PROMISES[name]()


async def echo(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def native_echo(sock: Any, _: object) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


def native_server() -> Any:
    server = gevent.server.StreamServer(("127.0.0.1", 0), native_echo)
    server.start()
    return server


async def ask(port: int, question: bytes) -> bytes:
    reader, writer = await bridgeio.open_connection("127.0.0.1", port)
    async with writer:
        writer.write(question)
        writer.write_eof()
        return await reader.read()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await bridgeio.sleep(0.001)


def natively_until(condition: Callable[[], object]) -> None:
    while not condition():
        gevent.sleep(0.001)


def raised_by(function: Callable[..., object], *args: object) -> BaseException:
    try:
        result = function(*args)
    except BaseException as error:
        return error
    raise AssertionError(f"{function!r} raised nothing, it returned {result!r}")


def live_hub() -> Any:
    from gevent._hub_local import get_hub_if_exists

    return get_hub_if_exists()
