"""Files of the disk, read and written in worker threads: no system has files that could be waited for otherwise.

Rule 1: an operation that has begun is waited for. Nothing is left half done, and its result is never lost: a cancel
that comes meanwhile is raised by the task's next wait.
Rule 2: operations on one file take turns, in the order in which they were asked for. Python's text files would be
corrupted by two threads at once.
Rule 3: what is closed is closed, also in a scope that is cancelled; that is raised afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, AnyStr, Generic, Self, TypeVar, overload

from bridgeio import to_thread
from bridgeio.checkpoints import begin
from bridgeio.locks import Lock
from bridgeio.registry import current_host
from bridgeio.scopes import CancelScope
from bridgeio.semaphores import CapacityLimiter, check_limiter

if TYPE_CHECKING:
    from _typeshed import OpenBinaryMode, OpenTextMode, ReadableBuffer, StrOrBytesPath, WriteableBuffer

__all__ = ["AsyncFile", "open_file", "to_the_end", "wrap_file"]

T = TypeVar("T")


async def to_the_end(
    function: Callable[[], object], turn: Lock | None = None, limiter: CapacityLimiter | None = None
) -> None:
    """Calls a function in a worker thread, whatever cancels the task meanwhile, natively too: that is raised after.

    :param turn: a lock that is held during the call.
    """
    cancelled = current_host().cancelled_class
    call = _Once(function)
    kept: BaseException | None = None
    while not call.made:
        try:
            with CancelScope(shield=True):
                await _in_turn(turn, limiter, call)
        except cancelled as error:
            kept = error
    if kept is not None:
        raise kept from call.error
    if call.error is not None:
        raise call.error


class _Once:
    """A call that is made once, and keeps its error to itself."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.made = False
        self.error: Exception | None = None
        self._function = function

    def __call__(self) -> None:
        self.made = True
        try:
            self._function()
        except Exception as error:
            self.error = error


async def _in_turn(turn: Lock | None, limiter: CapacityLimiter | None, call: Callable[[], T]) -> T:
    if turn is None:
        return await to_thread.run_sync(call, limiter=limiter)
    async with turn:
        return await to_thread.run_sync(call, limiter=limiter)


class AsyncFile(Generic[AnyStr]):
    """A file object whose methods are coroutines where they may have to wait for the disk::

        async with await bridgeio.open_file("letters.txt") as file:
            async for line in file:
                ...

    Made by `open_file`, or by `wrap_file` of a file object that is there. The methods and their arguments are
    those of `io`'s classes, and so are their results and errors; ``aclose`` stands for ``close``. Attributes that
    need no wait are the file object's own: ``name``, ``mode``, ``closed``, ``encoding``, ``fileno()``,
    ``readable()``. ``async for`` gives lines, and ends at the end of the file.

    Any number of tasks may use a file at once: their operations are made one after the other, in the order in
    which they were asked for. A cancel while an operation waits for its turn takes nothing. One that
    has begun is waited for, however long that takes, and its result comes; the cancel comes at the task's next
    wait. Leaving ``async with`` closes the file, in a cancelled scope too.

    :param fp: the file object.
    :param limiter: what its operations borrow from, instead of the run's own; see `bridgeio.to_thread.run_sync`.
    :raises TypeError: if one is not what it should be.
    """

    def __init__(self, fp: IO[AnyStr], *, limiter: CapacityLimiter | None = None) -> None:
        check_limiter(limiter)
        if not callable(getattr(fp, "close", None)):
            raise TypeError(
                f"a file object has a close() method, {fp!r} has none; open_file() opens a file by its name"
            )
        self._fp: Any = fp
        self._limiter = limiter
        self._turn = Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while it is copied or unpickled, without any attribute yet
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return getattr(self._fp, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._fp!r}>"

    @property
    def limiter(self) -> CapacityLimiter | None:
        """What its operations borrow from, if that is not the run's own."""
        return self._limiter

    @property
    def wrapped(self) -> IO[AnyStr]:
        """The file object itself. While no operation is under way it may be used as any other."""
        file: IO[AnyStr] = self._fp
        return file

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As the file object's own ``with`` ends, which may do more than to close. An error of the block comes out."""
        leave = getattr(self._fp, "__exit__", None)
        await self._close(self._fp.close if leave is None else partial(leave, None, None, None))
        if error is None:
            await begin()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AnyStr:
        if line := await self.readline():
            return line
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Flushes and closes the file, after the operations that were asked for before; again, it does nothing.
        Also in a cancelled scope: the cancellation is raised when the file is closed.

        :raises OSError: if what was buffered cannot be written; the file is closed all the same.
        """
        await self._close(self._fp.close)
        await begin()

    async def read(self, size: int = -1) -> AnyStr:
        """At most ``size`` bytes or characters; all up to the end if it is negative."""
        return await self._do(self._fp.read, size)

    async def read1(self: AsyncFile[bytes], size: int = -1) -> bytes:
        """At most ``size`` bytes, with one call of the system's at most."""
        return await self._do(self._fp.read1, size)

    async def readline(self) -> AnyStr:
        """The next line, with its end; empty at the end of the file."""
        return await self._do(self._fp.readline)

    async def readlines(self) -> list[AnyStr]:
        """All lines up to the end."""
        return await self._do(self._fp.readlines)

    async def readinto(self: AsyncFile[bytes], b: WriteableBuffer) -> int:
        """Fills a buffer; the number of bytes. Nobody may use the buffer meanwhile."""
        return await self._do(self._fp.readinto, b)

    async def readinto1(self: AsyncFile[bytes], b: WriteableBuffer) -> int:
        """The same with one call of the system's at most."""
        return await self._do(self._fp.readinto1, b)

    @overload
    async def write(self: AsyncFile[bytes], b: ReadableBuffer) -> int: ...
    @overload
    async def write(self: AsyncFile[str], b: str) -> int: ...
    async def write(self, b: Any) -> int:
        """Writes all of it, into the file's buffer first; how many bytes or characters that were."""
        return await self._do(self._fp.write, b)

    @overload
    async def writelines(self: AsyncFile[bytes], lines: Iterable[ReadableBuffer]) -> None: ...
    @overload
    async def writelines(self: AsyncFile[str], lines: Iterable[str]) -> None: ...
    async def writelines(self, lines: Any) -> None:
        """Writes each; adds no line ends. What makes the lines is called in the thread."""
        await self._do(self._fp.writelines, lines)

    async def truncate(self, size: int | None = None) -> int:
        """Makes the file so long, or as long as its position says; the new size."""
        return await self._do(self._fp.truncate, size)

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Moves the position, from ``os.SEEK_SET``, ``SEEK_CUR`` or ``SEEK_END``; the new one."""
        return await self._do(self._fp.seek, offset, whence)

    async def tell(self) -> int:
        """The position."""
        return await self._do(self._fp.tell)

    async def flush(self) -> None:
        """Gives what is buffered to the system. (That it is on the disk is `os.fsync`'s promise.)"""
        await self._do(self._fp.flush)

    async def _do(self, method: Callable[..., T], *args: object) -> T:
        return await _in_turn(self._turn, self._limiter, partial(method, *args))

    async def _close(self, close: Callable[[], object]) -> None:
        await to_the_end(close, self._turn, self._limiter)


@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: OpenBinaryMode,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    closefd: bool = ...,
    opener: Callable[[str, int], int] | None = ...,
    *,
    limiter: CapacityLimiter | None = ...,
) -> AsyncFile[bytes]: ...
@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: OpenTextMode = ...,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    closefd: bool = ...,
    opener: Callable[[str, int], int] | None = ...,
    *,
    limiter: CapacityLimiter | None = ...,
) -> AsyncFile[str]: ...
@overload
async def open_file(
    file: StrOrBytesPath | int,
    mode: str,
    buffering: int = ...,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    closefd: bool = ...,
    opener: Callable[[str, int], int] | None = ...,
    *,
    limiter: CapacityLimiter | None = ...,
) -> AsyncFile[Any]: ...
async def open_file(
    file: str | bytes | os.PathLike[str] | os.PathLike[bytes] | int,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[str, int], int] | None = None,
    *,
    limiter: CapacityLimiter | None = None,
) -> AsyncFile[Any]:
    """`open` in a worker thread; its parameters and errors.

    An opening that has begun is waited for: a cancel that comes meanwhile leaves the file open, and in the caller's
    hands. So think twice before you open a FIFO whose other end nobody has opened yet.

    :param limiter: what the file's operations borrow from, the opening too.
    :returns: an `AsyncFile`, for ``async with await open_file(...) as file``.
    """
    opened = partial(open, file, mode, buffering, encoding, errors, newline, closefd, opener)
    return AsyncFile(await to_thread.run_sync(opened, limiter=limiter), limiter=limiter)


def wrap_file(file: IO[AnyStr], *, limiter: CapacityLimiter | None = None) -> AsyncFile[AnyStr]:
    """An `AsyncFile` over a file object that is open, of any kind: a file of `zipfile`, of `gzip`, of memory.

    :raises TypeError: if it is no file object.
    """
    return AsyncFile(file, limiter=limiter)
