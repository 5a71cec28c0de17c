"""Starting asyncio, and finding it running."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

from bridgeio.contract import Backend, Main, Scope
from bridgeio.errors import BackendBusyError, NoBackendError
from bridgeio.options import check_options
from bridgeio_asyncio.adopted import AdoptedTask
from bridgeio_asyncio.generators import Generators
from bridgeio_asyncio.host import AsyncioHost, host_of
from bridgeio_asyncio.streams import AsyncioStream
from bridgeio_asyncio.task import SpawnedTask

__all__ = ["AsyncioBackend"]

T = TypeVar("T")


class AsyncioBackend(Backend):
    """asyncio under one of its names: they differ in the loop that is made, and in nothing else."""

    wraps = "an (asyncio.StreamReader, asyncio.StreamWriter) pair"

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, main: Main[T], options: Mapping[str, object]) -> T:
        check_options(self.name, options, "debug", "loop_factory")
        arguments = self._runner_arguments(**dict[str, Any](options))
        if asyncio._get_running_loop() is not None:
            raise BackendBusyError("an asyncio loop is already running in this thread: await the function instead")
        with asyncio.Runner(**arguments) as runner:
            return runner.run(self._run_main(main))

    def current_task(self) -> SpawnedTask | AdoptedTask:
        loop = asyncio.get_running_loop()
        native = asyncio.current_task(loop)
        if native is None:
            raise NoBackendError("a callback of the asyncio loop cannot wait: call bridgeio from a task")
        return host_of(loop, self.name).adopt(native)

    def current_host(self) -> AsyncioHost:
        return host_of(asyncio.get_running_loop(), self.name)

    def versions(self) -> dict[str, str]:
        import platform  # slow to import, as the other is, and seldom asked for
        from importlib.metadata import version

        if self.name == "uvloop":
            return {"uvloop": version("uvloop")}
        return {"asyncio": platform.python_version()}

    def unwrap(self, native: object) -> object | None:
        if isinstance(native, tuple) and [type(end) for end in native] == [asyncio.StreamReader, asyncio.StreamWriter]:
            return AsyncioStream(native)
        return None

    def _runner_arguments(self, *, debug: bool | None = None, loop_factory: Any = None) -> dict[str, Any]:
        if self.name == "uvloop" and loop_factory is None:
            import uvloop

            loop_factory = uvloop.new_event_loop
        return {"debug": debug, "loop_factory": loop_factory}

    async def _run_main(self, main: Main[T]) -> T:
        """The native main task. A subclass may prepare the running loop first.

        The host is closed with the loop, for what that ends may need it: tasks and generators left behind.
        """
        host = host_of(asyncio.get_running_loop(), self.name)
        generators = Generators(host.loop)
        try:
            return await SpawnedTask(host, "main", Scope(), main())  # type: ignore[no-any-return]
        finally:
            host.ending = True
            await generators.close()
