"""The threads of a run: each carries one task after another, and ends when it had none for a while.

They are started with the interpreter's own primitive, which is a real thread also in a process where
gevent has replaced ``threading``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from bridgeio.unpatched import forget_thread, original
from bridgeio_threads.gate import Gate
from bridgeio_threads.parking import IDLE, Parking

if TYPE_CHECKING:
    from bridgeio_threads.host import ThreadsHost

__all__ = ["Job", "Worker", "Workers"]

Job = Callable[[], object]


class Workers:
    """All methods are called with the baton held.

    :ivar alive: how many threads of this run have not ended.
    """

    def __init__(self, host: ThreadsHost) -> None:
        self.alive = 0
        self._idle: list[Worker] = []
        self._host = host

    def start(self, make_job: Callable[[Parking], Job]) -> None:
        """Has a job done by an idle thread, or by a new one. It begins when the baton comes round.

        :raises RuntimeError: if the system refuses a thread.
        """
        if self._idle:
            worker = self._idle.pop()
            worker.parking.rouse()
        else:
            worker = Worker(self._host)
            self.start_thread(worker.run, worker.parking.gate)
        worker.job = make_job(worker.parking)

    def start_thread(self, run: Job, gate: Gate) -> None:
        """A new thread, which runs once it gets the baton, and is counted until it ends."""
        original("_thread", "start_new_thread")(self._run_thread, (run, gate))
        self.alive += 1
        self._host.baton.queue.append(gate)

    @property
    def idle(self) -> int:
        """How many of those have nothing to do."""
        return len(self._idle)

    def rest(self, worker: Worker) -> None:
        self._idle.append(worker)

    def leave(self, worker: Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)

    def end_idle(self) -> None:
        """Those that are without work come back, and find none."""
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.parking.rouse()

    def forget(self) -> None:
        """After a fork: the threads are the parent's."""
        self.alive = 0
        self._idle.clear()

    def _run_thread(self, run: Job, gate: Gate) -> None:
        gate.wait()
        sys.set_asyncgen_hooks(*self._host.generator_hooks)
        try:
            run()
        finally:
            self.alive -= 1
            self._host.thread_ended()
            forget_thread()
            self._host.baton.drop()


class Worker:
    """One thread of the cache."""

    def __init__(self, host: ThreadsHost) -> None:
        self.job: Job | None = None
        self.parking = Parking(host.baton, host.lookout)
        self._workers = host.workers
        self._host = host

    def run(self) -> None:
        while self.job is not None:
            job, self.job = self.job, None
            job()
            del job
            if self._host.closing:
                break
            self._workers.rest(self)
            self.parking.rest_for(IDLE)
        self._workers.leave(self)
        self.parking.close()
