"""What belongs to a run, and not to a task: variables, and a token that tells runs apart. AnyIO's names."""

from __future__ import annotations

import enum
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, TypeVar, final, overload

from bridgeio.contract import Host
from bridgeio.registry import running_host

__all__ = ["LAST_LOOKS", "EventLoopToken", "RunVar", "RunvarToken", "current_token", "kept_by"]

T = TypeVar("T")
D = TypeVar("D")


class _NoValue(enum.Enum):
    NO_VALUE_SET = enum.auto()


_NOTHING: Final = _NoValue.NO_VALUE_SET


@final
class EventLoopToken:
    """Stands for a run, or for a loop that was running when bridgeio was called in it.

    Equal to every other token of the same run, and to none of another; may be the key of a dict.
    """

    __slots__ = ("host",)

    def __init__(self, host: Host) -> None:
        self.host = host

    def __eq__(self, other: object) -> bool:
        return self.host is other.host if isinstance(other, EventLoopToken) else NotImplemented

    def __hash__(self) -> int:
        return hash(id(self.host))  # which no other can have while this one keeps it

    def __repr__(self) -> str:
        return f"<EventLoopToken of {self.host.backend} at {id(self.host):#x}>"


def current_token() -> EventLoopToken:
    """What stands for the run that the caller is in.

    In a callback, too, where that is one of a loop: of asyncio's, Trio's or Twisted's.

    :raises NoBackendError: outside any framework, and in callbacks on gevent and threads.
    """
    return EventLoopToken(running_host())


class RunvarToken(Generic[T]):
    """What `RunVar.set` returns: the value before. ``with`` resets the variable at the end of a block."""

    __slots__ = ("_host", "_redeemed", "_value", "_variable")

    def __init__(self, variable: RunVar[T], host: Host, value: T | _NoValue) -> None:
        self._variable = variable
        self._host = host
        self._value = value
        self._redeemed = False

    def __enter__(self) -> RunvarToken[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._variable.reset(self)

    def redeem(self, variable: RunVar[T], host: Host) -> None:
        if self._variable is not variable:
            raise ValueError(f"this token is of {self._variable!r}, not of {variable!r}")
        if self._host is not host:
            raise ValueError(f"this token of {variable!r} is of another run")
        if self._redeemed:
            raise ValueError(f"this token of {variable!r} has been used before")
        self._redeemed = True
        if self._value is _NOTHING:
            host.variables.pop(variable, None)
        else:
            host.variables[variable] = self._value


class RunVar(Generic[T]):
    """A variable with a value of its own in each run, the same for all its tasks.

    To be made once, at the top of a module. What was set in a run is forgotten with it; in a loop that
    somebody else started, with the loop. Only from the run's thread.

    :param name: for those who debug.
    :param default: its value in a run that has not set any.
    """

    __slots__ = ("__weakref__", "_default", "_name")

    NO_VALUE_SET: _NoValue = _NOTHING

    def __init__(self, name: str, default: T | _NoValue = _NOTHING) -> None:
        self._name = name
        self._default = default

    @overload
    def get(self) -> T: ...
    @overload
    def get(self, default: D) -> T | D: ...
    def get(self, default: D | _NoValue = _NOTHING) -> T | D:
        """The value in this run; else ``default``, else the variable's own default.

        :raises LookupError: if there is none of them.
        :raises NoBackendError: outside any framework, as all methods.
        """
        found: T | D | _NoValue = running_host().variables.get(self, _NOTHING)
        if found is _NOTHING:
            found = default
        if found is _NOTHING:
            found = self._default
        if found is _NOTHING:
            raise LookupError(f"{self!r} has no value in this run, and no default")
        return found

    def set(self, value: T) -> RunvarToken[T]:
        """Sets the value in this run; the token that it returns takes it back."""
        host = running_host()
        token = RunvarToken(self, host, host.variables.get(self, _NOTHING))
        host.variables[self] = value
        return token

    def reset(self, token: RunvarToken[T]) -> None:
        """Gives the variable the value that it had before the `set` that returned this token.

        :raises ValueError: for a token of another variable or run, or one that has been used.
        """
        token.redeem(self, running_host())

    def __repr__(self) -> str:
        return f"<RunVar name={self._name!r}>"


def kept_by(host: Host, variable: RunVar[T], make: Callable[[], T]) -> T:
    """A run's value of a variable; the first who asks has it made."""
    found: T | _NoValue = host.variables.get(variable, _NOTHING)
    if found is _NOTHING:
        found = host.variables[variable] = make()
    return found


LAST_LOOKS: RunVar[set[Callable[[Host], object]]] = RunVar("bridgeio.runvars.last_looks")
"""Calls to be made when a run that went well has ended all it had; what they raise, it raises."""
