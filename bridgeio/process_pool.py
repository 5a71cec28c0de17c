"""Worker processes of a run: started when first needed, used again, and ended with the run.

Rule 1: a worker has one call at a time, and its channel is watched only meanwhile: an idle worker leaves nothing in
the loop. One whose call was broken off is killed, for its channel can be trusted no more.
Rule 2: an exit status is told only if it is known. Where others reap children, as gevent's libev does, it may not be.
Rule 3: a number of a process may be another's as soon as somebody has reaped it. So workers are killed by their
pidfd where the system has it.
"""

from __future__ import annotations

import _socket
import contextlib
import io
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bridgeio.children import reap
from bridgeio.contract import Host
from bridgeio.errors import BrokenWorkerProcess, IncompleteReadError
from bridgeio.interpreter import an_interpreter, its_options
from bridgeio.limits import LIMIT
from bridgeio.offloading import Call
from bridgeio.process_worker import CALL, HEADER, PROGRAM, RESULT, Program, framed, length_of
from bridgeio.registry import current_task
from bridgeio.runvars import RunVar, kept_by
from bridgeio.sockets import SocketSource, new_socket
from bridgeio.streams import stream_over
from bridgeio.threadcache import Tell, cache
from bridgeio.unpatched import original

__all__ = ["IDLE", "Pool", "Reply", "Worker", "pool_of"]

IDLE = 300.0  # seconds, AnyIO's, too
PIECE = 1 << 20  # bytes that are written before others have a turn
PATIENCE = 1.0  # seconds at the end of a run for workers to end by themselves
TURN = 0.001

_SCRIPT = str(Path(__file__).with_name("process_worker.py"))


class Pool:
    """The workers of one host that have nothing to do, the one used last at the end."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._idle: list[tuple[Worker, float]] = []
        host.call_at_end(self.end)

    @property
    def idle(self) -> int:
        """How many have nothing to do."""
        return len(self._idle)

    def take(self) -> Worker:
        """One that lives: an idle one, or a new one.

        :raises OSError: if the system gives no process.
        """
        self._end_the_old()
        while self._idle:
            worker, _ = self._idle.pop()
            if worker.is_alive():
                return worker
            worker.kill()
        return Worker(self._host)

    def put(self, worker: Worker) -> None:
        self._idle.append((worker, self._host.now()))

    def end(self) -> None:
        """Each ends by itself, at the end of its channel; or is killed, after a while."""
        workers = [worker for worker, _ in self._idle]
        self._idle.clear()
        for worker in workers:
            worker.dismiss()
        until = time.monotonic() + PATIENCE
        pause: Callable[[float], None] = original("time", "sleep")
        while workers and time.monotonic() < until:
            workers = [worker for worker in workers if not worker.has_ended()]
            if workers:
                pause(TURN)
        for worker in workers:
            worker.kill()

    def _end_the_old(self) -> None:
        since = self._host.now() - IDLE
        while self._idle and self._idle[0][1] <= since:
            self._idle.pop(0)[0].kill()


class Reply:
    """What a worker has said to a call."""

    def __init__(self, pid: int, kind: bytes, payload: bytes) -> None:
        self._pid = pid
        self._kind = kind
        self._payload = payload

    def result(self) -> Any:
        """The function's result.

        :raises BaseException: what the function has raised, with its traceback in the worker as a note.
        :raises pickle.UnpicklingError: if one or the other cannot be made again in this process.
        """
        if self._kind == RESULT:
            return self._unpickled(self._payload, "result")
        pickled, words, story = pickle.loads(self._payload)
        if pickled is None:
            error: Any = pickle.PicklingError(f"the worker process has raised what cannot be pickled: {words}")
        else:
            error = self._unpickled(pickled, "exception")
        error.add_note(f"In worker process {self._pid}:\n{story}")
        try:
            raise error
        finally:
            del error  # its traceback holds this frame

    def _unpickled(self, payload: bytes, what: str) -> Any:
        try:
            return _Unpickler(io.BytesIO(payload)).load()
        except Exception as error:
            raise pickle.UnpicklingError(
                f"the {what} that a worker process has sent cannot be unpickled here: {error}"
            ) from error


class _Unpickler(pickle.Unpickler):
    """The program's main module has another name in a worker."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class("__main__" if module == "__mp_main__" else module, name)


class Worker:
    """One process.

    :ivar pid: its number.
    """

    def __init__(self, host: Host) -> None:
        """:raises OSError: if the system gives no process."""
        self._host = host
        self._greeting = framed(PROGRAM, pickle.dumps(tuple(_program())))
        self._status: int | None = None
        self._is_reaped = False
        ours, theirs = _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock = new_socket(socket.AF_UNIX, fileno=ours.detach())
        self._pidfd = -1
        try:
            self.pid = _spawn(theirs.fileno())
        except BaseException:
            self._sock.close()
            raise
        finally:
            theirs.close()
        with contextlib.suppress(AttributeError, OSError):
            self._pidfd = os.pidfd_open(self.pid)

    def is_alive(self) -> bool:
        """Whether its channel is open. An idle worker has nothing to say."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def call(self, request: bytes) -> Reply:
        """Has a pickled call made. If this raises, the worker has been killed.

        :raises BrokenWorkerProcess: if it has ended meanwhile.
        """
        greeting, self._greeting = self._greeting, b""
        source = SocketSource(self._host, self._sock, f"worker process {self.pid}")
        reader, writer = stream_over(source, LIMIT)
        try:
            message = memoryview(greeting + framed(CALL, request))
            for start in range(0, len(message), PIECE):
                writer.write(message[start : start + PIECE])
                await writer.drain()
            header = await reader.readexactly(HEADER)
            reply = Reply(self.pid, header[:1], await reader.readexactly(length_of(header)))
        except (ConnectionError, IncompleteReadError) as error:
            source.close()
            raise await self._autopsy() from error
        except BaseException:
            source.close()
            self.kill()
            raise
        source.poller.unregister(source)
        return reply

    def dismiss(self) -> None:
        """It ends when it has read the end of its channel."""
        self._sock.close()

    def kill(self) -> None:
        """At once. Nobody waits for its end but a thread, for it may take a while to take down."""
        self._sock.close()
        if not self.has_ended():
            self._strike()
            try:
                cache.start(self._reap)
            except OSError:
                self._reap()

    async def _autopsy(self) -> BrokenWorkerProcess:
        """It has closed its channel. What it has ended with is settled by then, so that this changes nothing of it;
        or it lives on, and is of no use."""
        if not self.has_ended():
            self._strike()
            waiting = Call(current_task(), partial(self._wait, 0), False, _nothing)
            waiting.start()
            await waiting.wait()
        how = "in a way that is not known: somebody else has asked the system first"
        if self._status is not None:
            how = f"with status {self._status}" if self._status >= 0 else f"by {_signal_name(-self._status)}"
        return BrokenWorkerProcess(f"worker process {self.pid} has ended in the middle of a call, {how}", self._status)

    def _strike(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Reaps it, if it has."""
        return self._wait(os.WNOHANG)

    def _reap(self) -> Tell:
        self._wait(0)
        return _nothing

    def _wait(self, how: int) -> bool:
        if self._is_reaped:
            return True
        self._is_reaped, self._status = reap(self.pid, how)
        if self._is_reaped and self._pidfd >= 0:
            pidfd, self._pidfd = self._pidfd, -1
            original("os", "close")(pidfd)  # the patched one does it later
        return self._is_reaped


def _program() -> Program:
    """As `multiprocessing` sees it: a package's ``__main__`` cannot be imported without running it."""
    main: Any = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    name: str | None = getattr(spec, "name", None)
    path: str | None = getattr(main, "__file__", None)
    if name is not None and name.rpartition(".")[2] == "__main__":
        name = path = None
    return Program(sys.path, sys.argv, name, path)


def _spawn(channel: int) -> int:
    """By the system's own call, which no framework has replaced. Ctrl-C finds the new process deaf from the start."""
    if channel == 0:
        os.set_inheritable(0, True)
    python = an_interpreter()
    return os.posix_spawn(
        python,
        [python, *its_options(), "-P", "-u", _SCRIPT],  # -P: the script's folder has modules of ours alone
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, channel, 0)],
        setsigmask=[signal.SIGINT],
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _nothing() -> None:
    """Nobody is to be told."""


def pool_of(host: Host) -> Pool:
    """The host's workers, from the first time that somebody asks."""
    return kept_by(host, _POOL, partial(Pool, host))


_POOL: RunVar[Pool] = RunVar("bridgeio.to_process.pool")
