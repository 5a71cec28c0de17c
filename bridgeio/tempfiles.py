"""Temporary files and folders: `tempfile` in worker threads, with AnyIO's names."""

# ruff: noqa: A002 - ``dir`` is `tempfile`'s own name

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, AnyStr, Generic, TypeVar, overload

from bridgeio import to_thread
from bridgeio.checkpoints import begin
from bridgeio.files import AsyncFile, to_the_end

if TYPE_CHECKING:
    from _typeshed import OpenBinaryMode, OpenTextMode

__all__ = [
    "NamedTemporaryFile",
    "SpooledTemporaryFile",
    "TemporaryDirectory",
    "TemporaryFile",
    "gettempdir",
    "gettempdirb",
    "mkdtemp",
    "mkstemp",
]

T = TypeVar("T")


def _tempfile() -> Any:
    """Slow to import, and most programs have no temporary files."""
    return import_module("tempfile")


class _Temporary(Generic[AnyStr]):
    """An async context manager that makes a file and closes it."""

    _make: Callable[[], Any]
    _file: AsyncFile[AnyStr] | None = None

    async def __aenter__(self) -> AsyncFile[AnyStr]:
        if self._file is not None:
            raise RuntimeError(f"this {type(self).__name__} was entered before: make another one")
        self._file = AsyncFile(await to_thread.run_sync(self._make))
        return self._file

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        await self._file.__aexit__(kind, error, trace)


class TemporaryFile(_Temporary[AnyStr]):
    """`tempfile.TemporaryFile`: a file without a name, for ``async with TemporaryFile() as file``, an `AsyncFile`.

    It is gone when the block is left, also in a cancelled scope. Parameters as there.
    """

    @overload
    def __init__(
        self: TemporaryFile[bytes],
        mode: OpenBinaryMode = ...,
        buffering: int = ...,
        encoding: str | None = ...,
        newline: str | None = ...,
        suffix: str | None = ...,
        prefix: str | None = ...,
        dir: str | None = ...,
        *,
        errors: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: TemporaryFile[str],
        mode: OpenTextMode,
        buffering: int = ...,
        encoding: str | None = ...,
        newline: str | None = ...,
        suffix: str | None = ...,
        prefix: str | None = ...,
        dir: str | None = ...,
        *,
        errors: str | None = ...,
    ) -> None: ...
    def __init__(
        self,
        mode: str = "w+b",
        buffering: int = -1,
        encoding: str | None = None,
        newline: str | None = None,
        suffix: str | None = None,
        prefix: str | None = None,
        dir: str | None = None,
        *,
        errors: str | None = None,
    ) -> None:
        self._make = partial(
            _tempfile().TemporaryFile, mode, buffering, encoding, newline, suffix, prefix, dir, errors=errors
        )


class NamedTemporaryFile(_Temporary[AnyStr]):
    """`tempfile.NamedTemporaryFile`, for ``async with NamedTemporaryFile() as file``, an `AsyncFile` with a ``name``.

    The file is deleted when it is closed, at the latest when the block is left, also in a cancelled scope.
    Parameters as there.

    :param delete: whether it is deleted at all.
    :param delete_on_close: ``False`` lets it live until the block is left; from Python 3.12 on, before a TypeError.
    """

    @overload
    def __init__(
        self: NamedTemporaryFile[bytes],
        mode: OpenBinaryMode = ...,
        buffering: int = ...,
        encoding: str | None = ...,
        newline: str | None = ...,
        suffix: str | None = ...,
        prefix: str | None = ...,
        dir: str | None = ...,
        delete: bool = ...,
        *,
        errors: str | None = ...,
        delete_on_close: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: NamedTemporaryFile[str],
        mode: OpenTextMode,
        buffering: int = ...,
        encoding: str | None = ...,
        newline: str | None = ...,
        suffix: str | None = ...,
        prefix: str | None = ...,
        dir: str | None = ...,
        delete: bool = ...,
        *,
        errors: str | None = ...,
        delete_on_close: bool = ...,
    ) -> None: ...
    def __init__(
        self,
        mode: str = "w+b",
        buffering: int = -1,
        encoding: str | None = None,
        newline: str | None = None,
        suffix: str | None = None,
        prefix: str | None = None,
        dir: str | None = None,
        delete: bool = True,
        *,
        errors: str | None = None,
        delete_on_close: bool = True,
    ) -> None:
        options = _since_3_12("delete_on_close", delete_on_close)
        self._make = partial(
            _tempfile().NamedTemporaryFile,
            mode,
            buffering,
            encoding,
            newline,
            suffix,
            prefix,
            dir,
            delete,
            errors=errors,
            **options,
        )


class SpooledTemporaryFile(AsyncFile[AnyStr]):
    """`tempfile.SpooledTemporaryFile` as an `AsyncFile`: in memory until it is larger than ``max_size``, then on disk.

    It may be used at once, and should be closed, best by ``async with``. Parameters as there.

    :param max_size: bytes; with 0 it goes to the disk at `rollover` only.
    """

    @overload
    def __init__(
        self: SpooledTemporaryFile[bytes],
        max_size: int = ...,
        mode: OpenBinaryMode = ...,
        buffering: int = ...,
        encoding: str | None = ...,
        newline: str | None = ...,
        suffix: str | None = ...,
        prefix: str | None = ...,
        dir: str | None = ...,
        *,
        errors: str | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: SpooledTemporaryFile[str],
        max_size: int = ...,
        mode: OpenTextMode = ...,
        buffering: int = ...,
        encoding: str | None = ...,
        newline: str | None = ...,
        suffix: str | None = ...,
        prefix: str | None = ...,
        dir: str | None = ...,
        *,
        errors: str | None = ...,
    ) -> None: ...
    def __init__(
        self,
        max_size: int = 0,
        mode: str = "w+b",
        buffering: int = -1,
        encoding: str | None = None,
        newline: str | None = None,
        suffix: str | None = None,
        prefix: str | None = None,
        dir: str | None = None,
        *,
        errors: str | None = None,
    ) -> None:
        super().__init__(
            _tempfile().SpooledTemporaryFile(
                max_size, mode, buffering, encoding, newline, suffix, prefix, dir, errors=errors
            )
        )

    async def rollover(self) -> None:
        """Puts it on the disk, whatever its size."""
        await self._do(self._fp.rollover)


class TemporaryDirectory(Generic[AnyStr]):
    """`tempfile.TemporaryDirectory`: a folder that is removed with all that is in it when the block is left, also
    in a cancelled scope. ``async with TemporaryDirectory() as name`` gives its name as text, or as bytes if one of the
    parameters is. Parameters as there.

    :param ignore_cleanup_errors: what cannot be removed is left.
    :param delete: ``False`` leaves all of it; from Python 3.12 on, before a TypeError.
    """

    @overload
    def __init__(
        self: TemporaryDirectory[str],
        suffix: str | None = ...,
        prefix: str | None = ...,
        dir: str | None = ...,
        *,
        ignore_cleanup_errors: bool = ...,
        delete: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: TemporaryDirectory[bytes],
        suffix: bytes | None = ...,
        prefix: bytes | None = ...,
        dir: bytes | None = ...,
        *,
        ignore_cleanup_errors: bool = ...,
        delete: bool = ...,
    ) -> None: ...
    def __init__(
        self,
        suffix: Any = None,
        prefix: Any = None,
        dir: Any = None,
        *,
        ignore_cleanup_errors: bool = False,
        delete: bool = True,
    ) -> None:
        self._make = partial(
            _tempfile().TemporaryDirectory,
            suffix,
            prefix,
            dir,
            ignore_cleanup_errors=ignore_cleanup_errors,
            **_since_3_12("delete", delete),
        )
        self._made: Any = None

    async def __aenter__(self) -> AnyStr:
        if self._made is not None:
            raise RuntimeError("this TemporaryDirectory was entered before: make another one")
        self._made = await to_thread.run_sync(self._make)
        name: AnyStr = self._made.name
        return name

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_the_end(partial(self._made.__exit__, None, None, None))
        if error is None:
            await begin()

    async def cleanup(self) -> None:
        """Removes it before the end of the block. Also in a cancelled scope: that is raised after.

        :raises RuntimeError: if the block was not entered.
        """
        if self._made is None:
            raise RuntimeError("there is no folder yet: async with TemporaryDirectory() as name")
        await to_the_end(self._made.cleanup)
        await begin()


@overload
async def mkstemp(
    suffix: str | None = None, prefix: str | None = None, dir: str | None = None, text: bool = False
) -> tuple[int, str]: ...
@overload
async def mkstemp(
    suffix: bytes | None = None, prefix: bytes | None = None, dir: bytes | None = None, text: bool = False
) -> tuple[int, bytes]: ...
async def mkstemp(
    suffix: Any = None, prefix: Any = None, dir: Any = None, text: bool = False
) -> tuple[int, str] | tuple[int, bytes]:
    """`tempfile.mkstemp`: a new file, open; its descriptor and its name. Both are the caller's to close and remove."""
    made: tuple[int, str] | tuple[int, bytes] = await _in_thread("mkstemp", suffix, prefix, dir, text)
    return made


@overload
async def mkdtemp(suffix: str | None = None, prefix: str | None = None, dir: str | None = None) -> str: ...
@overload
async def mkdtemp(suffix: bytes | None = None, prefix: bytes | None = None, dir: bytes | None = None) -> bytes: ...
async def mkdtemp(suffix: AnyStr | None = None, prefix: AnyStr | None = None, dir: AnyStr | None = None) -> str | bytes:
    """`tempfile.mkdtemp`: a new folder, which is the caller's to remove; its name."""
    made: str | bytes = await _in_thread("mkdtemp", suffix, prefix, dir)
    return made


async def gettempdir() -> str:
    """`tempfile.gettempdir`: the folder for temporary files."""
    return str(await _in_thread("gettempdir"))


async def gettempdirb() -> bytes:
    """The same as bytes."""
    return bytes(await _in_thread("gettempdirb"))


async def _in_thread(function: str, *args: Any) -> Any:
    return await to_thread.run_sync(lambda: getattr(_tempfile(), function)(*args))


def _since_3_12(name: str, value: bool) -> dict[str, Any]:
    """An option that is only handed on if it is not the default, or known."""
    return {name: value} if sys.version_info >= (3, 12) or not value else {}
