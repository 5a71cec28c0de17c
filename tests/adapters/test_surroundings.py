"""What a task finds around it, adapter by adapter: sniffio's answer, and the context of a task that it was let into."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

import pytest
import sniffio

import bridgeio
from bridgeio.registry import is_installed
from loops import run_native

SNIFFED = {
    "asyncio": "asyncio",
    "uvloop": "asyncio",
    "tornado": "asyncio",
    "trio": "trio",
    "twisted": "twisted",
    "gevent": "gevent",
    "threads": "",  # it is no async library: sniffio finds none
}

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def sniffed() -> str:
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return ""


@pytest.mark.parametrize("backend", SNIFFED)
def test_sniffio_knows_each_world(backend: str) -> None:
    """In the main task and in a child, before and after a wait, sniffio names the framework; after the run, none."""
    if not is_installed(backend):
        pytest.skip(f"{backend} is not installed")
    seen: list[str] = []

    async def look() -> None:
        seen.append(sniffed())
        await bridgeio.sleep(0.001)
        seen.append(sniffed())

    async def main() -> None:
        await look()
        async with bridgeio.create_task_group() as group:
            group.start_soon(look)

    bridgeio.run(main, backend=backend)
    assert seen == [SNIFFED[backend]] * 4
    assert sniffed() == ""


async def child(seen: list[str]) -> None:
    seen.append(VARIABLE.get())
    VARIABLE.set("child's")


async def let_in(seen: list[str]) -> None:
    """Calls of ours in a task that somebody else started."""
    await bridgeio.sleep(0.001)
    seen.append(VARIABLE.get())
    async with bridgeio.create_task_group() as group:
        group.start_soon(child, seen)
        VARIABLE.set("set inside")
        await bridgeio.sleep(0.001)
    seen.append(VARIABLE.get())


def on_trio(main: Callable[[], Any]) -> None:
    trio: Any = pytest.importorskip("trio")
    trio.run(main)


def on_tornado(main: Callable[[], Any]) -> None:
    ioloop: Any = pytest.importorskip("tornado.ioloop")
    ioloop.IOLoop(make_current=False).run_sync(main)


def on_threads(main: Callable[[], Any]) -> None:
    call: Any = bridgeio.blocking(main)
    call()


HOSTS: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "asyncio": lambda main: run_native("asyncio", main),
    "trio": on_trio,
    "tornado": on_tornado,
    "threads": on_threads,
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_native_task_keeps_its_own_context(host: str) -> None:
    """In a task that the framework started, bridgeio's calls see its variables; children get copies of them."""
    seen: list[str] = []

    async def native() -> None:
        VARIABLE.set("native")
        await let_in(seen)
        assert VARIABLE.get() == "set inside"

    contextvars.copy_context().run(HOSTS[host], native)
    assert seen == ["native", "native", "set inside"]
    assert VARIABLE.get() == "unset"
