"""Starting curio, and finding it running."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from importlib.metadata import version
from types import FrameType
from typing import Any, NoReturn, TypeVar

import curio
from curio.meta import curio_running

from bridgeio.contract import Backend, Main, Scope, cancel
from bridgeio.errors import BackendBusyError, NoBackendError
from bridgeio.options import check_options
from bridgeio_curio.host import CurioHost, current_host
from bridgeio_curio.task import CurioTask, drive

__all__ = ["CurioBackend", "enter_task"]

T = TypeVar("T")


class CurioBackend(Backend):
    """curio in a kernel of ours. A kernel that was there already is entered by `enter_task`."""

    name = "curio"

    def run(self, main: Main[T], options: Mapping[str, object]) -> T:
        check_options(self.name, options, "activations", "debug", "selector")
        if curio_running():
            raise BackendBusyError("a curio kernel is already running in this thread: use bridgeio_curio.enter")
        with curio.Kernel(**dict[str, Any](options)) as kernel:
            result: T = kernel.run(_run_main, main)
        return result

    def current_task(self) -> NoReturn:
        """Our own tasks are found before a probe is asked, and of curio's we cannot know."""
        raise NoBackendError(
            "bridgeio was called in a task that curio started by itself: await bridgeio_curio.enter(function) there"
        )

    def versions(self) -> dict[str, str]:
        return {"curio": version("curio")}


async def enter_task(coro: Coroutine[Any, Any, T], name: str) -> T:
    """Drives a coroutine as a task of ours, inside the curio task that awaits this."""
    task = CurioTask(await current_host(), name, Scope())
    return await drive(task, coro, copy_context())


async def _run_main(main: Main[T]) -> T:
    host = await current_host()
    task = CurioTask(host, "main", Scope())
    with _interrupts(host, lambda: cancel(task.root)) as pressed:
        try:
            return await drive(task, _main_and_generators(host, main), copy_context())
        except curio.CancelledError:
            if pressed:
                raise KeyboardInterrupt from None
            raise


async def _main_and_generators(host: CurioHost, main: Main[T]) -> T:
    try:
        return await main()
    finally:
        await host.finish_generators()


@contextmanager
def _interrupts(host: CurioHost, callback: Callable[[], None]) -> Iterator[list[int]]:
    """Has the first Ctrl-C call back in the kernel, as `asyncio.Runner` does: a KeyboardInterrupt
    would come up wherever the kernel is, and break it. The second one does that, for it is meant."""
    pressed: list[int] = []

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            raise KeyboardInterrupt
        host.call_soon_threadsafe(callback)

    ours = threading.current_thread() is threading.main_thread()
    if not (ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield pressed
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield pressed
    finally:
        if signal.getsignal(signal.SIGINT) is on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
