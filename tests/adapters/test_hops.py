"""What a blocked read costs in Python frames of ours, from its call to its return, on each adapter.

They are counted, not timed: the same read enters the same frames on every machine. Who adds a layer raises the
number, says in the commit why it is worth that, and shows with `nox -s bench` what it costs.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from types import FrameType

import pytest

import bridgeio

# A coroutine that is resumed is entered again, and so is each one around it.
BUDGET = {"asyncio": 12, "uvloop": 12, "trio": 19, "tornado": 12, "twisted": 22, "gevent": 12, "threads": 14}
ASKS_FOR_ITS_TASK = ("asyncio", "uvloop", "tornado")  # since Python 3.12, whose tasks may begin amid another's step
ROUNDS = 50  # what comes between is no read's: a timer, a second look; the shortest has nothing of that


@pytest.mark.bridgeio
def test_a_blocked_read_enters_few_frames(backend: str, backend_options: Mapping[str, object]) -> None:
    """No more than the adapter's budget, and no fewer: a read that finds bytes at once proves nothing."""
    rounds: list[list[str]] = []

    async def main() -> None:
        with echo_server() as port:
            reader, writer = await bridgeio.open_connection("127.0.0.1", port)
            for _ in range(ROUNDS):
                writer.write(b"x")
                with frames_entered() as frames:
                    await reader.read(100)  # more than comes: the next read knows that there is nothing
                rounds.append(frames)
            writer.close()

    bridgeio.run(main, backend=backend, backend_options=dict(backend_options))
    blocked = [frames for frames in rounds if any(name.endswith("wait_readable") for name in frames)]
    shortest = min(blocked, key=len)
    assert len(shortest) == budget(backend), shortest


def budget(backend: str) -> int:
    """As of this Python, and of what else the process has imported."""
    asks = backend in ASKS_FOR_ITS_TASK and sys.version_info >= (3, 12)
    tells = backend == "twisted" and "sniffio" in sys.modules  # the framework's name, and that again at the end
    return BUDGET[backend] + asks + tells


@contextmanager
def frames_entered() -> Iterator[list[str]]:
    """The functions of the core and its adapters that this thread enters, one after the other."""
    names: list[str] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("bridgeio"):
            names.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        yield names
    finally:
        sys.setprofile(None)


@contextmanager
def echo_server() -> Iterator[int]:
    """One connection's, in a thread; its port."""

    def echo() -> None:
        sock, _ = listener.accept()
        with sock:
            while data := sock.recv(64):
                sock.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=echo, daemon=True).start()
        yield listener.getsockname()[1]
