"""Chapter: leaving. KeyboardInterrupt and SystemExit end a run in order, from wherever they come.

In order means: every `finally` runs, with its awaits; children end before their group does; the exception
comes out of `run` as what it is; nothing hangs, and the next run works.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_host
from bridgeio.testing.programs import Program, program

pytestmark = pytest.mark.bridgeio

Way = Callable[[list[str], BaseException], Coroutine[Any, Any, None]]

both_kinds = pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])


def _left(backend: str, options: dict[str, Any], way: Way, error: BaseException) -> list[str]:
    """What was cleaned up on the way out; another run has worked since."""
    cleaned: list[str] = []
    with pytest.raises(type(error)) as caught:
        bridgeio.run(way, cleaned, error, backend=backend, backend_options=options)
    assert caught.value.args == error.args
    bridgeio.run(bridgeio.sleep, 0, backend=backend, backend_options=options)
    return cleaned


async def _wait(cleaned: list[str], name: str) -> None:
    try:
        await bridgeio.sleep_forever()
    finally:
        await _clean(cleaned, name)


async def _clean(cleaned: list[str], name: str) -> None:
    with bridgeio.CancelScope(shield=True):
        await bridgeio.sleep(0.001)
    cleaned.append(name)


def _raise(error: BaseException) -> None:
    raise error


async def _raise_soon(error: BaseException) -> None:
    await bridgeio.sleep(0.001)
    raise error


async def _from_the_body(cleaned: list[str], error: BaseException) -> None:
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(_wait, cleaned, "child")
            await _raise_soon(error)
    finally:
        await _clean(cleaned, "main")


async def _from_a_child(cleaned: list[str], error: BaseException) -> None:
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(_wait, cleaned, "child")
            group.start_soon(_raise_soon, error)
    finally:
        await _clean(cleaned, "main")


async def _from_a_nested_group(cleaned: list[str], error: BaseException) -> None:
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(_from_a_child, cleaned, error)
            await _wait(cleaned, "body")
    finally:
        await _clean(cleaned, "outermost")


async def _from_inside_a_shield(cleaned: list[str], error: BaseException) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(_wait, cleaned, "child")
        with bridgeio.CancelScope(shield=True):
            await _raise_soon(error)


async def _from_start(cleaned: list[str], error: BaseException) -> None:
    async def child(*, task_status: bridgeio.TaskStatus[None]) -> None:
        await _raise_soon(error)

    async with bridgeio.create_task_group() as group:
        group.start_soon(_wait, cleaned, "child")
        await group.start(child)


async def _from_cleanup(cleaned: list[str], error: BaseException) -> None:
    async def child() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            await _clean(cleaned, "child")
            raise error

    async with bridgeio.create_task_group() as group:
        group.start_soon(child)
        group.start_soon(_wait, cleaned, "sibling")
        await bridgeio.sleep(0.001)
        group.cancel_scope.cancel()


async def _beside_a_failure(cleaned: list[str], error: BaseException) -> None:
    async def fail() -> None:
        try:
            await bridgeio.sleep_forever()
        finally:
            await _clean(cleaned, "failing")
            raise ValueError("while it is ended")

    async with bridgeio.create_task_group() as group:
        group.start_soon(fail)
        await _raise_soon(error)


async def _from_a_handler(cleaned: list[str], error: BaseException) -> None:
    async def handler(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        if await reader.readexactly(1) == b"w":
            writer.write(b"w")
            await _wait(cleaned, "handler")
        raise error

    async with bridgeio.serve(handler, "127.0.0.1", grace=0) as server:
        for said in (b"w", b"!"):
            reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            if said == b"w":
                await reader.read(1)
        await _wait(cleaned, "main")


async def _from_a_call(cleaned: list[str], error: BaseException) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(_wait, cleaned, "child")
        await bridgeio.sleep(0.001)
        current_host().call_soon_threadsafe(partial(_raise, error))
        await _wait(cleaned, "main")


async def _from_a_timer(cleaned: list[str], error: BaseException) -> None:
    async with bridgeio.create_task_group() as group:
        group.start_soon(_wait, cleaned, "child")
        host = current_host()
        host.timers.add(host.now() + 0.001, partial(_raise, error))
        await _wait(cleaned, "main")


WAYS: dict[str, tuple[Way, list[str]]] = {
    "the body of a group": (_from_the_body, ["child", "main"]),
    "a child": (_from_a_child, ["child", "main"]),
    "a nested group": (_from_a_nested_group, ["body", "child", "main", "outermost"]),
    "inside a shield": (_from_inside_a_shield, ["child"]),
    "start": (_from_start, ["child"]),
    "cleanup": (_from_cleanup, ["child", "sibling"]),
    "beside a failure": (_beside_a_failure, ["failing"]),
    "a handler": (_from_a_handler, ["handler", "main"]),
    "a call": (_from_a_call, ["child", "main"]),
    "a timer": (_from_a_timer, ["child", "main"]),
}


@both_kinds
@pytest.mark.parametrize("where", WAYS)
@pytest.mark.bridgeio_needs("orderly_exit")
def test_the_way_out(backend: str, backend_options: dict[str, Any], where: str, kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit, raised anywhere, come out of ``run`` after all cleanup, as what they are."""
    way, expected = WAYS[where]
    assert sorted(_left(backend, backend_options, way, kind(3))) == expected


@pytest.mark.bridgeio_needs("orderly_exit")
def test_children_end_before_their_group(backend: str, backend_options: dict[str, Any]) -> None:
    """On the way out the order is kept: the inner group's children, who is around them, the outermost."""
    cleaned = _left(backend, backend_options, _from_a_nested_group, KeyboardInterrupt())
    assert cleaned.index("child") < cleaned.index("main")
    assert cleaned[-1] == "outermost"


@pytest.mark.bridgeio_needs("orderly_exit")
def test_a_caught_one_ends_nothing(backend: str, backend_options: dict[str, Any]) -> None:
    """Who catches SystemExit in the group that it came out of goes on, waits and groups included."""

    async def main() -> str:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(_raise_soon, SystemExit(3))
                await bridgeio.sleep_forever()
        except* SystemExit:
            await bridgeio.sleep(0.001)
        async with bridgeio.create_task_group() as group:
            group.start_soon(bridgeio.sleep, 0)
        return "went on"

    assert bridgeio.run(main, backend=backend, backend_options=backend_options) == "went on"


@pytest.mark.bridgeio_needs("orderly_exit")
async def test_a_group_wraps_it() -> None:
    """Inside a run it is in the group's BaseExceptionGroup, as every failure; ``except Exception`` does not meet it."""
    seen: list[str] = []

    async def block() -> None:
        try:
            async with bridgeio.create_task_group() as group:
                group.start_soon(_raise_soon, SystemExit(3))
        except Exception:
            seen.append("eaten")

    with pytest.raises(BaseExceptionGroup) as caught:
        await block()
    assert [type(error) for error in caught.value.exceptions] == [SystemExit]
    assert not isinstance(caught.value, ExceptionGroup)
    assert seen == []


# A real Ctrl-C

_PROGRAM = """
import signal

async def clean(name):
    with bridgeio.CancelScope(shield=True):
        await bridgeio.sleep(0.001)
    print("cleaned", name, flush=True)

async def child():
    try:
        await bridgeio.sleep_forever()
    finally:
        await clean("child")

async def deaf(reader, writer):
    await bridgeio.sleep_forever()

async def asleep():
    print("ready", flush=True)
    await bridgeio.sleep_forever()

async def reading():
    async with bridgeio.serve(deaf, "127.0.0.1", grace=0) as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        print("ready", flush=True)
        await reader.read()

async def draining():
    async with bridgeio.serve(deaf, "127.0.0.1", grace=0) as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        writer.write(bytes(16_000_000))
        print("ready", flush=True)
        try:
            await writer.drain()
        finally:
            writer.abort()

async def joining():
    async with bridgeio.create_task_group() as group:
        group.start_soon(asleep)

async def giving_way():
    print("ready", flush=True)
    while True:
        await bridgeio.lowlevel.checkpoint()

async def a_child_gives_way():
    async with bridgeio.create_task_group() as group:
        group.start_soon(giving_way)

async def in_own_code():
    signal.raise_signal(signal.SIGINT)
    await bridgeio.sleep_forever()

async def without_end():
    while True:
        signal.raise_signal(signal.SIGINT)

async def main(what):
    try:
        async with bridgeio.create_task_group() as group:
            group.start_soon(child)
            await bridgeio.sleep(0.001)
            await what()
    finally:
        await clean("main")

def run(what):
    bridgeio.run(main, what, backend=BACKEND, backend_options=OPTIONS)

def caught(what):
    try:
        run(what)
    except KeyboardInterrupt:
        print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""

AWAY = ["asleep", "reading", "draining", "joining", "giving_way", "a_child_gives_way"]
IN_ORDER = ["cleaned child", "cleaned main"]


@pytest.mark.parametrize("what", AWAY)
@pytest.mark.bridgeio_needs("orderly_exit")
def test_ctrl_c_while_main_waits(backend: str, backend_options: dict[str, Any], what: str) -> None:
    """SIGINT in any wait, or between two, is KeyboardInterrupt out of ``run`` after cleanup; again in the next run."""
    with program(_PROGRAM + f"caught({what})\ncaught({what})", backend, **backend_options) as running:
        said = [*_interrupt(running), *_interrupt(running), *_words_of(running)]
    assert running.returncode == 0
    assert said == ["ready", *IN_ORDER, "interrupted True"] * 2


@pytest.mark.bridgeio_needs("orderly_exit")
def test_ctrl_c_while_main_is_busy(backend: str, backend_options: dict[str, Any]) -> None:
    """A main function that is in its own code hears of SIGINT by its next wait at the latest, and cleans up."""
    with program(_PROGRAM + "caught(in_own_code)\ncaught(in_own_code)", backend, **backend_options) as running:
        said = _words_of(running)
    assert running.returncode == 0
    assert said == [*IN_ORDER, "interrupted True"] * 2


@pytest.mark.bridgeio_needs("orderly_exit")
def test_a_second_ctrl_c_ends_a_main_that_never_waits(backend: str, backend_options: dict[str, Any]) -> None:
    """It needs no wait, and ends the run; main's own cleanup may be cut short by it, children still end."""
    with program(_PROGRAM + "caught(without_end)\ncaught(without_end)", backend, **backend_options) as running:
        said = _words_of(running)
    assert running.returncode == 0
    assert [line for line in said if line != "cleaned main"] == ["cleaned child", "interrupted True"] * 2


@pytest.mark.bridgeio_needs("orderly_exit")
def test_the_exit_status_after_ctrl_c(backend: str, backend_options: dict[str, Any]) -> None:
    """A program that catches nothing ends as Python ends one: killed by SIGINT, its last word KeyboardInterrupt."""
    with program(_PROGRAM + "run(asleep)", backend, **backend_options) as running:
        _interrupt(running)
        said, complaint = running.ended()
    assert running.returncode == -signal.SIGINT
    assert said.splitlines() == IN_ORDER
    assert complaint.splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.bridgeio_needs("orderly_exit")
def test_the_exit_status_of_sys_exit(backend: str, backend_options: dict[str, Any]) -> None:
    """``sys.exit(3)`` in a child task ends the program with status 3, and without a word."""
    leave = "async def leave():\n    sys.exit(3)\n\nasync def leaving():\n    await leave()\n\nrun(leaving)"
    with program(_PROGRAM + leave, backend, **backend_options) as running:
        said, complaint = running.ended()
    assert (running.returncode, said.splitlines(), complaint) == (3, IN_ORDER, "")


def _interrupt(running: Program) -> list[str]:
    """Sends SIGINT when the program says that it is ready; what it has said up to then."""
    assert running.stdout is not None
    said: list[str] = []
    while said[-1:] != ["ready"]:
        line = running.stdout.readline()
        assert line, running.ended()
        said.append(line.strip())
    running.send_signal(signal.SIGINT)
    return said


def _words_of(running: Program) -> list[str]:
    said, complaint = running.ended()
    assert complaint == ""
    return said.splitlines()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
