"""Chapter: generators. Asynchronous generators run their cleanup in their own run, however they come to their end."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest

import bridgeio
from bridgeio.registry import current_host, current_task
from bridgeio.testing.peers import peer_stream
from bridgeio.testing.resources import until

pytestmark = pytest.mark.bridgeio

Numbers = AsyncGenerator[int, None]

_NAME: ContextVar[str] = ContextVar("name", default="nobody")


class Ending:
    """What a generator's cleanup saw: once, and the whole of it."""

    def __init__(self) -> None:
        self.began = 0
        self.seen: list[tuple[object, ...]] = []

    async def numbers(self, most: int = 1000) -> Numbers:
        """Counts, waiting in between, and cleans up with waits that Trio, too, allows at the end."""
        try:
            for number in range(most):
                yield number
                await bridgeio.sleep(0)
        finally:
            self.began += 1
            with bridgeio.CancelScope(shield=True):
                await bridgeio.sleep(0.001)
                await bridgeio.lowlevel.checkpoint()
            self.seen.append((bridgeio.current_backend(), current_host(), _NAME.get()))


@pytest.mark.bridgeio_needs("async_generators")
async def test_exhausted() -> None:
    """A generator that is used up cleans up in the task, and in the context, of who used it."""
    ending = Ending()
    _NAME.set("user")
    assert [number async for number in ending.numbers(5)] == [0, 1, 2, 3, 4]
    assert ending.seen == [(bridgeio.current_backend(), current_host(), "user")]


@pytest.mark.bridgeio_needs("async_generators")
async def test_closed_early() -> None:
    """``aclosing`` and ``aclose`` end a generator in the middle: its cleanup is over when they return."""
    ending = Ending()
    _NAME.set("user")
    async with aclosing(ending.numbers()) as numbers:
        async for number in numbers:
            if number == 3:
                break
    numbers = ending.numbers()
    assert await anext(numbers) == 0
    await numbers.aclose()
    assert ending.seen == [(bridgeio.current_backend(), current_host(), "user")] * 2


@pytest.mark.bridgeio_needs("async_generators")
async def test_never_begun() -> None:
    """One that was made and not begun has nothing to clean up, and says nothing."""
    ending = Ending()
    await ending.numbers().aclose()
    ending.numbers()
    gc.collect()
    assert ending.began == 0


@pytest.mark.bridgeio_needs("async_generators")
async def test_broken_out_of() -> None:
    """A loop that is left early leaves its generator to the collector: its cleanup runs in this run, once."""
    ending = Ending()
    async for _ in ending.numbers():
        break
    gc.collect()
    await until(lambda: ending.seen)
    assert [seen[:2] for seen in ending.seen] == [(bridgeio.current_backend(), current_host())]


@pytest.mark.bridgeio_needs("async_generators")
async def test_left_by_a_task_that_has_ended() -> None:
    """The generator outlives the task that began it, and its cleanup is in a task all the same."""
    ending = Ending()

    async def begin() -> None:
        async for _ in ending.numbers():
            return

    async with bridgeio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(begin)
    gc.collect()
    await until(lambda: len(ending.seen) == 5)
    assert {seen[:2] for seen in ending.seen} == {(bridgeio.current_backend(), current_host())}


@pytest.mark.bridgeio_needs("async_generators")
async def test_in_a_cycle() -> None:
    """One that only the collector's search for cycles finds, perhaps in the midst of another task's step."""
    ending = Ending()

    async def begin() -> None:
        numbers = ending.numbers()
        cycle: list[object] = [numbers]
        cycle.append(cycle)
        await anext(numbers)

    await begin()
    gc.collect()
    await until(lambda: ending.seen)
    assert ending.began == 1


@pytest.mark.bridgeio_needs("async_generators")
async def test_left_in_a_cancelled_scope() -> None:
    """A cancel raises inside the generator, which cleans up behind a shield before the scope is left."""
    ending = Ending()
    with bridgeio.CancelScope() as scope:
        async for number in ending.numbers():
            if number == 3:
                scope.cancel()
    assert scope.cancelled_caught
    assert len(ending.seen) == 1


@pytest.mark.bridgeio_needs("async_generators")
async def test_cleanup_with_a_stream() -> None:
    """Cleanup may say good-bye over a connection, also when the collector has found the generator."""

    async def lines(reader: bridgeio.Reader, writer: bridgeio.Writer) -> AsyncGenerator[bytes, None]:
        try:
            while line := await reader.readline():
                yield line
        finally:
            with bridgeio.CancelScope(shield=True):
                writer.write(b"bye")
                await writer.drain()

    async def first(reader: bridgeio.Reader, writer: bridgeio.Writer) -> bytes:
        async for line in lines(reader, writer):
            return line
        return b""

    async with peer_stream() as (reader, writer, peer):
        peer.send(b"hello\n")
        assert await first(reader, writer) == b"hello\n"
        gc.collect()
        assert await peer.receive(3) == b"bye"


def _run(backend: str, backend_options: dict[str, Any], function: Callable[..., Any], *args: Any) -> Any:
    return bridgeio.run(function, *args, backend=backend, backend_options=backend_options)


@pytest.mark.bridgeio_needs("async_generators")
def test_pending_at_the_end(backend: str, backend_options: dict[str, Any]) -> None:
    """What is still referred to when the main function returns is closed before ``run`` does, waits included."""
    ending, kept, hosts = Ending(), list[Numbers](), list[object]()

    async def main() -> None:
        hosts.append(current_host())
        for _ in range(3):
            kept.append(ending.numbers())
            await anext(kept[-1])

    _run(backend, backend_options, main)
    assert [seen[:2] for seen in ending.seen] == [(backend, hosts[0])] * 3


@pytest.mark.bridgeio_needs("async_generators")
def test_one_inside_another(backend: str, backend_options: dict[str, Any]) -> None:
    """At the end of a run a generator may close another one in its cleanup, in whichever order they are found."""
    inner, outer, kept = Ending(), Ending(), list[Numbers]()

    async def doubled() -> Numbers:
        async with aclosing(inner.numbers()) as numbers, aclosing(outer.numbers()) as others:
            async for number in numbers:
                yield number + await anext(others)

    async def main() -> None:
        for _ in range(5):
            kept.append(doubled())
            await anext(kept[-1])

    _run(backend, backend_options, main)
    assert (len(inner.seen), len(outer.seen)) == (5, 5)
    assert (inner.began, outer.began) == (5, 5)


@pytest.mark.bridgeio_needs("async_generators")
def test_a_way_out_of_cleanup(backend: str, backend_options: dict[str, Any]) -> None:
    """SystemExit out of cleanup, at the end of a run or when the collector has found the generator, ends a program."""
    ending = Ending()

    async def leaves() -> Numbers:
        try:
            yield 1
        finally:
            raise SystemExit(3)

    async def left() -> Numbers:
        numbers = leaves()
        await anext(numbers)
        return numbers

    async def dropped() -> None:
        try:
            await left()
            gc.collect()
            await bridgeio.sleep_forever()
        finally:
            async for _ in ending.numbers(3):
                """Cleanup has waits."""

    for main in (left, dropped):
        with pytest.raises(SystemExit) as caught:
            _run(backend, backend_options, main)
        assert caught.value.code == 3
    assert len(ending.seen) == 1


@pytest.mark.bridgeio_needs("async_generators")
def test_collected_at_the_end(backend: str, backend_options: dict[str, Any]) -> None:
    """What was dropped in the last step of the main function is closed before ``run`` returns."""
    ending = Ending()

    async def main() -> None:
        async for _ in ending.numbers():
            break
        gc.collect()

    _run(backend, backend_options, main)
    gc.collect()
    assert [seen[0] for seen in ending.seen] == [backend]


@pytest.mark.bridgeio_needs("async_generators")
def test_left_by_a_failure(backend: str, backend_options: dict[str, Any]) -> None:
    """A failure, or a way out, that leaves a generator behind lets it clean up, too, before it comes out of ``run``."""
    for error in (KeyError("mine"), SystemExit(3)):
        ending, kept = Ending(), list[Numbers]()

        async def main() -> None:
            kept.append(ending.numbers())  # noqa: B023
            await anext(kept[0])  # noqa: B023
            raise error  # noqa: B023

        with pytest.raises(type(error)):
            _run(backend, backend_options, main)
        assert [seen[0] for seen in ending.seen] == [backend]


@pytest.mark.bridgeio_needs("async_generators")
def test_a_failing_cleanup(backend: str, backend_options: dict[str, Any]) -> None:
    """One generator's failing cleanup does not keep another from its own, nor the run from its end."""
    ending, kept = Ending(), list[Any]()

    async def fails() -> Numbers:
        try:
            yield 1
        finally:
            raise ValueError("while cleaning up")

    async def main() -> str:
        kept.extend([fails(), ending.numbers(), fails()])
        for numbers in kept:
            await anext(numbers)
        return "result"

    assert _run(backend, backend_options, main) == "result"
    assert [seen[0] for seen in ending.seen] == [backend]


@pytest.mark.bridgeio_needs("async_generators")
def test_after_its_run(backend: str, backend_options: dict[str, Any]) -> None:
    """A generator of a run that has ended is closed, and no business of the next run's."""
    ending, kept = Ending(), list[Numbers]()

    async def first() -> None:
        kept.append(ending.numbers())
        await anext(kept[0])

    async def second() -> list[int]:
        return [number async for number in kept[0]]

    _run(backend, backend_options, first)
    assert _run(backend, backend_options, second) == []
    assert len(ending.seen) == 1


@pytest.mark.bridgeio_needs("async_generators")
def test_collected_by_another_thread(backend: str, backend_options: dict[str, Any]) -> None:
    """The last reference may be dropped in a thread that runs no loop: the cleanup is the run's."""
    from bridgeio.unpatched import original

    ending, kept = Ending(), list[Numbers]()

    async def main() -> bool:
        async def begin() -> None:
            kept.append(ending.numbers())
            await anext(kept[0])

        async with bridgeio.create_task_group() as group:
            group.start_soon(begin)
        original("_thread", "start_new_thread")(kept.clear, ())
        await until(lambda: ending.seen)
        return ending.seen[0][1] is current_task().host

    assert _run(backend, backend_options, main)


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
