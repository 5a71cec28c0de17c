"""Signals as an async iterator."""

from __future__ import annotations

import contextlib
import signal
from collections import deque
from types import TracebackType

from bridgeio.checkpoints import begin, spend
from bridgeio.contract import Host, Task
from bridgeio.dispositions import Listening
from bridgeio.errors import ClosedResourceError, SharedBetweenRunsError
from bridgeio.registry import current_host
from bridgeio.signals import signals_wake
from bridgeio.waiters import Line

__all__ = ["SignalReceiver", "open_signal_receiver"]

_NOBODYS = {signal.SIGKILL, signal.SIGSTOP}


class SignalReceiver:
    """What `open_signal_receiver` returns: ``with`` it, and iterate over what that gives.

    A signal stands in ``_unread`` as soon as Python knows of it, and not only when the host has had a turn:
    whatever has not been read when the block is left can be given back.
    """

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self._unread: deque[int] = deque()
        self._line: Line[list[int]] = Line(" or ".join(map(_words_for, numbers)))
        self._listening = Listening(self._hear)
        self._host: Host | None = None
        self._open = False
        self._held = contextlib.ExitStack()

    def __enter__(self) -> SignalReceiver:
        if self._host is not None:
            raise RuntimeError("a signal receiver is for one with-block: open another one")
        self._host = current_host()
        with contextlib.ExitStack() as held:
            held.enter_context(signals_wake(self._host))
            try:
                self._listening.begin(self._numbers)
            except ValueError as error:
                raise RuntimeError(
                    "signals can be received in the main thread only, which this is not: open the receiver in a task "
                    "of a run in the main thread (on the threads backend: in its main task), and have others wait on it"
                ) from error
            self._held = held.pop_all()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        only_ours = self._listening.end()
        self._held.close()
        self._line.grant_all()
        unread, self._unread = self._unread, deque()
        _raise_again([number for number in unread if number in only_ours])

    def __aiter__(self) -> SignalReceiver:
        return self

    async def __anext__(self) -> signal.Signals:
        task = await begin()
        self._check_open(task)
        if self._unread and not self._line:
            number = self._unread.popleft()
            await spend(task)
            return _named(number)
        given: list[int] = []
        try:
            await self._line.join(task, given)
        except BaseException:
            self._unread.extendleft(given)
            self._hand_out()
            raise
        if not given:
            raise self._over()
        return _named(given[0])

    def _check_open(self, task: Task) -> None:
        if self._host is None:
            raise RuntimeError("this signal receiver is not open: with open_signal_receiver(...) as signals")
        if not self._open:
            raise self._over()
        if task.host is not self._host:
            raise SharedBetweenRunsError("this signal receiver was opened in another run: open one in each")

    def _over(self) -> ClosedResourceError:
        return ClosedResourceError(f"the receiver of {self._line.what} was closed: its with-block is over")

    def _hear(self, number: int) -> None:
        """Called in the main thread, between any two steps of anything."""
        if number not in self._unread:
            self._unread.append(number)
        if self._host is not None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._host.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        while self._unread and (waiter := self._line.first) is not None:
            waiter.item.append(self._unread.popleft())
            self._line.grant()


def open_signal_receiver(*signals: signal.Signals | int) -> SignalReceiver:
    """Receives signals, as an async iterator of their numbers, in the block that it is used for::

        with open_signal_receiver(SIGINT, SIGTERM) as signals:
            async for number in signals:
                ...

    While the block lasts, these signals do not have their usual effect: Ctrl-C does not raise
    KeyboardInterrupt. Several receivers may be open at once, in any number of tasks, and each gets each of its
    signals. They may be closed in any order; with the last for a signal what was there before comes back,
    whoever had put it there. Code that changes the same signal while the block lasts, by `signal.signal` or a
    framework's means, takes it away from the receiver, and keeps it.

    Signals that come while nobody waits are kept, each number once, as the system itself does: whoever is
    told of SIGHUP has to look at what there is, not to count. A cancelled wait has taken none. Any number of
    tasks may wait on one receiver: each signal goes to one of them, in the order in which they came. What has
    come and was not read when the block is left is raised again, for what is there then, unless another
    receiver has it: a second Ctrl-C that nobody has read ends the program as it would have without a receiver.

    Python lets only the main thread receive signals. The block has to be entered there, in a run of
    `bridgeio.run` or of the framework's own; on threads that is the main task. In a forked child the receiver is
    closed, and signals have the effect that they had before.

    :returns: an object for ``with``. It yields itself. Its numbers are `signal.Signals`; the few real-time
        signals that have no name there are plain integers.
    :raises TypeError: at once, if no signal is given, or anything that is no number of one.
    :raises ValueError: at once, for a number that this system does not have, and for SIGKILL and SIGSTOP.
    :raises RuntimeError: on entering, in another thread than the main one, or a second time.
    :raises NoBackendError: on entering, outside any run.
    :raises ClosedResourceError: by a wait, after the block, or when the block is left meanwhile.
    :raises SharedBetweenRunsError: by a wait in another run than that of the block.
    """
    if not signals:
        raise TypeError("open_signal_receiver() needs one signal at least, such as signal.SIGTERM")
    return SignalReceiver(tuple(dict.fromkeys(_checked(number) for number in signals)))


def _checked(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"a signal is a number such as signal.SIGTERM, not {number!r}")
    if number in _NOBODYS:
        raise ValueError(f"{signal.Signals(number).name} cannot be received: the system lets no program handle it")
    if number not in signal.valid_signals():
        raise ValueError(f"this system has no signal {int(number)}")
    return int(number)


def _named(number: int) -> signal.Signals:
    try:
        return signal.Signals(number)
    except ValueError:
        return number  # type: ignore[return-value]  # a real-time signal; so says the docstring


def _words_for(number: int) -> str:
    named: int = _named(number)
    return named.name if isinstance(named, signal.Signals) else f"signal {number}"


def _raise_again(numbers: list[int]) -> None:
    """All of them, also if one raises, as SIGINT does."""
    if numbers:
        try:
            signal.raise_signal(numbers[0])
        finally:
            _raise_again(numbers[1:])
