"""The standard library's future, for threads that wait for a run. Imported late: it brings a package along."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from bridgeio.unpatched import original

__all__ = ["ThreadFuture"]


class ThreadFuture(Future[Any]):
    """Waiting for it blocks the thread, also in a process that gevent has patched. There the standard one would
    switch to a hub that knows of nothing to wait for, and fails."""

    def result(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        if self.done():
            return
        done = original("_thread", "allocate_lock")()
        done.acquire()
        self.add_done_callback(lambda _: done.release())
        done.acquire(True, -1 if timeout is None else max(0.0, timeout))
