"""Answers that are held back, where nothing of bridgeio's runs next, or where somebody else carries them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.peers import RawListener
from bridgeio.testing.programs import run_program

_AT_ONCE = """
import socket
listener = socket.create_server(("127.0.0.1", 0))

async def open_stream():
    global peer
    stream = await bridgeio.open_connection(*listener.getsockname())
    peer, _ = listener.accept()
    peer.settimeout(10)
    peer.sendall(b"one\\ntwo\\n")
    return stream

async def answer(reader, writer):
    line = await reader.readline()
    await bridgeio.sleep(0)
    writer.write(line)
"""


@pytest.mark.bridgeio
def test_a_stream_of_another_run(backend: str, backend_options: dict[str, Any]) -> None:
    """The run that all calls of ``blocking`` share has no turn because a task of another one writes."""
    source = """
reader, writer = bridgeio.blocking(open_stream)()
assert bridgeio.blocking(reader.readline)() == b"one\\n"

async def main():
    writer.write(b"one\\n")
    print(peer.recv(100))

bridgeio.run(main, backend=BACKEND, backend_options=OPTIONS)
"""
    assert run_program(_AT_ONCE + source, backend, **backend_options) == "b'one\\n'\n"


@pytest.mark.parametrize("surroundings", ["gevent", "gevent with a run", "threads"])
def test_blocking_calls(surroundings: str) -> None:
    """What a call has written is sent when it returns, and so is what is written between two calls."""
    backend, _, beside = surroundings.partition(" ")
    if backend == "gevent":
        pytest.importorskip("gevent")
    source = f"""
if {backend!r} == "gevent":
    import gevent
    if {beside!r}:
        gevent.spawn(bridgeio.run, bridgeio.sleep, 60, backend="gevent")
    gevent.sleep(0)
reader, writer = bridgeio.blocking(open_stream)()
bridgeio.blocking(answer)(reader, writer)
print(peer.recv(100))
writer.write(b"more\\n")
print(peer.recv(100))
"""
    assert run_program(_AT_ONCE + source, backend) == "b'one\\n'\nb'more\\n'\n"


def test_a_loop_that_is_not_running() -> None:
    """Its owner may write all the same."""
    source = """
import asyncio
loop = asyncio.new_event_loop()
reader, writer = loop.run_until_complete(open_stream())
assert loop.run_until_complete(reader.readline()) == b"one\\n"
writer.write(b"one\\n")
print(peer.recv(100))
"""
    assert run_program(_AT_ONCE + source, "asyncio") == "b'one\\n'\n"


@pytest.mark.bridgeio("asyncio")
async def test_a_wrapped_stream() -> None:
    """Its transport sends as it likes, and may end before any turn of ours does."""
    with RawListener() as listener:
        reader, writer = bridgeio.wrap(await asyncio.open_connection(*listener.address))
        with await listener.accept() as peer:
            peer.send(b"one\ntwo\n")
            writer.write(await reader.readline())
            assert writer.get_write_buffer_size() == 0
            assert await peer.receive(4) == b"one\n"
        writer.abort()
