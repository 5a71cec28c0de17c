"""Starting Trio, and finding it running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import trio

from bridgeio.contract import Backend, Main
from bridgeio.errors import BackendBusyError, NoBackendError
from bridgeio.options import check_options
from bridgeio_trio.host import TrioHost, current_host
from bridgeio_trio.streams import TrioStream
from bridgeio_trio.task import TrioTask

__all__ = ["TrioBackend"]

T = TypeVar("T")

OPTIONS = ("clock", "instruments", "restrict_keyboard_interrupt_to_checkpoints", "strict_exception_groups")


class TrioBackend(Backend):
    """Trio, run by us or found running, in guest mode too."""

    name = "trio"
    wraps = "a trio.abc.Stream"

    def run(self, main: Main[T], options: Mapping[str, object]) -> T:
        check_options(self.name, options, *OPTIONS)
        if _is_running():
            raise BackendBusyError("Trio is already running in this thread: await the function instead")
        return trio.run(self._run_main, main, **dict[str, Any](options))

    def current_task(self) -> TrioTask:
        try:
            native = trio.lowlevel.current_task()
        except RuntimeError as error:
            raise NoBackendError("no Trio task is running here: call bridgeio from a task") from error
        return current_host().adopt(native)

    def versions(self) -> dict[str, str]:
        return {"trio": trio.__version__}

    def unwrap(self, native: object) -> object | None:
        if isinstance(native, trio.SocketStream):
            return native.socket
        return TrioStream(native) if isinstance(native, trio.abc.Stream) else None

    async def _run_main(self, main: Main[T]) -> T:
        """Begins with a record of ours, lest a task that blocks in this run be taken for this one."""
        trio.lowlevel.current_task().name = "main"
        host: TrioHost = self.current_task().host
        return await host.carry_main(main)


def _is_running() -> bool:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True
