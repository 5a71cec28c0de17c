"""`pathlib.Path` with coroutines where it touches the disk."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, overload

from bridgeio import to_thread
from bridgeio.checkpoints import begin, spend
from bridgeio.files import AsyncFile
from bridgeio.guards import ResourceGuard
from bridgeio.semaphores import CapacityLimiter, check_limiter

if TYPE_CHECKING:
    import pathlib  # slow to import, and most programs have no paths
    from types import ModuleType

    from _typeshed import OpenBinaryMode, OpenTextMode, ReadableBuffer

__all__ = ["Entries", "Path"]

T = TypeVar("T")
StrPath = str | os.PathLike[str]

_AT_ONCE = 128  # entries that one visit to a thread brings
_PATIENCE = 0.01  # seconds after which it brings what it has


class Entries(Generic[T]):
    """What `Path.iterdir`, `Path.glob` and their like return: an async iterator, for one task at a time.

    Entries are fetched in a worker thread, some at a time. A fetch that has begun is waited for, and
    what it has brought is not lost by a cancel.
    """

    def __init__(
        self,
        start: Callable[[], Iterable[Any]],
        convert: Callable[[Any], T],
        limiter: CapacityLimiter | None,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._start = start
        self._convert = convert
        self._limiter = limiter
        self._at_once = at_once
        self._source: Iterator[Any] | None = None
        self._found: deque[Any] = deque()
        self._error: Exception | None = None
        self._ended = False
        self._guard = ResourceGuard("iterating over")

    def __aiter__(self) -> Entries[T]:
        return self

    async def __anext__(self) -> T:
        task = await begin()
        with self._guard:
            if not self._found and not self._ended:
                await to_thread.run_sync(self._fetch, limiter=self._limiter)
            else:
                await spend(task)
        if self._found:
            return self._convert(self._found.popleft())
        error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopAsyncIteration

    def _fetch(self) -> None:
        """In a thread. What an error has come after is given out before it."""
        try:
            if self._source is None:
                self._source = iter(self._start())
            self._fetch_from(self._source)
        except Exception as error:
            self._error = error
            self._ended = True

    def _fetch_from(self, source: Iterator[Any]) -> None:
        until = monotonic() + _PATIENCE
        for entry in source:
            self._found.append(entry)
            if len(self._found) >= self._at_once or monotonic() >= until:
                return
        self._ended = True


class Path:
    """`pathlib.Path` with coroutines: whatever may touch the disk, ask for the working folder or for a home folder
    is awaited, and is made in a worker thread; ``iterdir``, ``glob``, ``rglob`` and ``walk`` are for ``async for``.

    Names, parameters, results and errors are those of `pathlib` on the Python that runs; an option that it does not
    have is a TypeError. Where `pathlib` gives a path, this gives one of its own kind; ``open`` gives an
    `AsyncFile`. A path is immutable, hashable, can be pickled, is an `os.PathLike`, and compares with paths of
    `pathlib` as with its own kind. Any number of tasks may use it at once.

    An operation that has begun is waited for: a cancel that comes meanwhile is raised by the task's next wait.

    :param args: segments, joined as `pathlib.Path` joins them.
    :param limiter: what its operations borrow from, and those of paths that it gives, instead of the run's own; see
        `bridgeio.to_thread.run_sync`. A copy out of a pickle has none.
    :raises TypeError: if one is not what it should be.
    """

    __slots__ = ("__weakref__", "_limiter", "_path")

    _path: pathlib.Path

    if sys.version_info >= (3, 13):
        parser: ClassVar[ModuleType] = os.path

    def __init__(self, *args: StrPath, limiter: CapacityLimiter | None = None) -> None:
        import pathlib

        check_limiter(limiter)
        self._path = pathlib.Path(*args)
        self._limiter = limiter

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self._path),)

    def __fspath__(self) -> str:
        return os.fspath(self._path)

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path.as_posix()!r})"

    def __bytes__(self) -> bytes:
        return bytes(self._path)

    def __hash__(self) -> int:
        return hash(self._path)

    def __eq__(self, other: object) -> bool:
        return self._path.__eq__(_plain(other))

    def __lt__(self, other: Path | pathlib.PurePath) -> bool:
        return self._path.__lt__(_plain(other))

    def __le__(self, other: Path | pathlib.PurePath) -> bool:
        return self._path.__le__(_plain(other))

    def __gt__(self, other: Path | pathlib.PurePath) -> bool:
        return self._path.__gt__(_plain(other))

    def __ge__(self, other: Path | pathlib.PurePath) -> bool:
        return self._path.__ge__(_plain(other))

    def __truediv__(self, other: StrPath) -> Self:
        if not _is_segment(other):
            return NotImplemented
        return self._like(self._path / other)

    def __rtruediv__(self, other: StrPath) -> Self:
        if not _is_segment(other):
            return NotImplemented
        return self._like(other / self._path)

    @property
    def limiter(self) -> CapacityLimiter | None:
        """What its operations borrow from, if that is not the run's own."""
        return self._limiter

    # What needs no disk

    @property
    def parts(self) -> tuple[str, ...]:
        return self._path.parts

    @property
    def drive(self) -> str:
        return self._path.drive

    @property
    def root(self) -> str:
        return self._path.root

    @property
    def anchor(self) -> str:
        return self._path.anchor

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def stem(self) -> str:
        return self._path.stem

    @property
    def suffix(self) -> str:
        return self._path.suffix

    @property
    def suffixes(self) -> list[str]:
        return self._path.suffixes

    @property
    def parent(self) -> Self:
        return self._like(self._path.parent)

    @property
    def parents(self) -> tuple[Self, ...]:
        return tuple(map(self._like, self._path.parents))

    def as_posix(self) -> str:
        return self._path.as_posix()

    def as_uri(self) -> str:
        return self._path.as_uri()

    def is_absolute(self) -> bool:
        return self._path.is_absolute()

    def is_relative_to(self, *other: StrPath) -> bool:
        return self._path.is_relative_to(*other)

    def is_reserved(self) -> bool:
        return self._path.is_reserved()

    def joinpath(self, *args: StrPath) -> Self:
        return self._like(self._path.joinpath(*args))

    def match(self, path_pattern: StrPath, *, case_sensitive: bool | None = None) -> bool:
        return self._path.match(_plain(path_pattern), **_given(case_sensitive=case_sensitive))

    def relative_to(self, *other: StrPath, walk_up: bool = False) -> Self:
        return self._like(self._path.relative_to(*other, **_given(walk_up=walk_up or None)))

    def with_name(self, name: str) -> Self:
        return self._like(self._path.with_name(name))

    def with_stem(self, stem: str) -> Self:
        return self._like(self._path.with_stem(stem))

    def with_suffix(self, suffix: str) -> Self:
        return self._like(self._path.with_suffix(suffix))

    def with_segments(self, *pathsegments: StrPath) -> Self:
        return type(self)(*pathsegments, limiter=self._limiter)

    if sys.version_info >= (3, 13):

        def full_match(self, pattern: StrPath, *, case_sensitive: bool | None = None) -> bool:
            return self._path.full_match(_plain(pattern), case_sensitive=case_sensitive)

        @classmethod
        def from_uri(cls, uri: str, *, limiter: CapacityLimiter | None = None) -> Self:
            import pathlib

            return cls(pathlib.Path.from_uri(uri), limiter=limiter)

    # What somebody else has to be asked for

    @classmethod
    async def cwd(cls, *, limiter: CapacityLimiter | None = None) -> Self:
        return cls(await to_thread.run_sync(cls()._path.cwd, limiter=limiter), limiter=limiter)

    @classmethod
    async def home(cls, *, limiter: CapacityLimiter | None = None) -> Self:
        return cls(await to_thread.run_sync(cls()._path.home, limiter=limiter), limiter=limiter)

    async def absolute(self) -> Self:
        return self._like(await self._do("absolute"))

    async def expanduser(self) -> Self:
        return self._like(await self._do("expanduser"))

    async def resolve(self, strict: bool = False) -> Self:
        return self._like(await self._do("resolve", strict))

    async def readlink(self) -> Self:
        return self._like(await self._do("readlink"))

    async def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        result: os.stat_result = await self._do("stat", follow_symlinks=follow_symlinks)
        return result

    async def lstat(self) -> os.stat_result:
        result: os.stat_result = await self._do("lstat")
        return result

    async def owner(self, *, follow_symlinks: bool = True) -> str:
        return str(await self._do("owner", **_followed(follow_symlinks)))

    async def group(self, *, follow_symlinks: bool = True) -> str:
        return str(await self._do("group", **_followed(follow_symlinks)))

    async def exists(self, *, follow_symlinks: bool = True) -> bool:
        return bool(await self._do("exists", **_followed(follow_symlinks)))

    async def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return bool(await self._do("is_dir", **_followed(follow_symlinks)))

    async def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return bool(await self._do("is_file", **_followed(follow_symlinks)))

    async def is_block_device(self) -> bool:
        return bool(await self._do("is_block_device"))

    async def is_char_device(self) -> bool:
        return bool(await self._do("is_char_device"))

    async def is_fifo(self) -> bool:
        return bool(await self._do("is_fifo"))

    async def is_mount(self) -> bool:
        return bool(await self._do("is_mount"))

    async def is_socket(self) -> bool:
        return bool(await self._do("is_socket"))

    async def is_symlink(self) -> bool:
        return bool(await self._do("is_symlink"))

    if sys.version_info >= (3, 12):

        async def is_junction(self) -> bool:
            return bool(await self._do("is_junction"))

    async def samefile(self, other_path: StrPath | int) -> bool:
        return bool(await self._do("samefile", _plain(other_path)))

    # Folders

    def iterdir(self) -> Entries[Self]:
        return Entries(self._path.iterdir, self._like, self._limiter)

    def glob(
        self, pattern: StrPath, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Entries[Self]:
        options = _given(case_sensitive=case_sensitive, recurse_symlinks=recurse_symlinks or None)
        return Entries(partial(self._path.glob, _plain(pattern), **options), self._like, self._limiter)

    def rglob(
        self, pattern: StrPath, *, case_sensitive: bool | None = None, recurse_symlinks: bool = False
    ) -> Entries[Self]:
        options = _given(case_sensitive=case_sensitive, recurse_symlinks=recurse_symlinks or None)
        return Entries(partial(self._path.rglob, _plain(pattern), **options), self._like, self._limiter)

    if sys.version_info >= (3, 12):

        def walk(
            self,
            top_down: bool = True,
            on_error: Callable[[OSError], object] | None = None,
            follow_symlinks: bool = False,
        ) -> Entries[tuple[Self, list[str], list[str]]]:
            """One folder at a time, for who walks may strike out subfolders before the next. ``on_error`` is called in
            the thread."""

            def convert(entry: tuple[pathlib.Path, list[str], list[str]]) -> tuple[Self, list[str], list[str]]:
                return self._like(entry[0]), entry[1], entry[2]

            return Entries(
                partial(self._path.walk, top_down, on_error, follow_symlinks), convert, self._limiter, at_once=1
            )

    # Changes

    async def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        await self._do("chmod", mode, follow_symlinks=follow_symlinks)

    async def lchmod(self, mode: int) -> None:
        await self._do("lchmod", mode)

    async def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        await self._do("mkdir", mode, parents, exist_ok)

    async def rmdir(self) -> None:
        await self._do("rmdir")

    async def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        await self._do("touch", mode, exist_ok)

    async def unlink(self, missing_ok: bool = False) -> None:
        await self._do("unlink", missing_ok)

    async def rename(self, target: StrPath) -> Self:
        return self._like(await self._do("rename", _plain(target)))

    async def replace(self, target: StrPath) -> Self:
        return self._like(await self._do("replace", _plain(target)))

    async def symlink_to(self, target: StrPath, target_is_directory: bool = False) -> None:
        await self._do("symlink_to", _plain(target), target_is_directory)

    async def hardlink_to(self, target: StrPath) -> None:
        await self._do("hardlink_to", _plain(target))

    # Contents

    @overload
    async def open(
        self,
        mode: OpenBinaryMode,
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> AsyncFile[bytes]: ...
    @overload
    async def open(
        self,
        mode: OpenTextMode = ...,
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> AsyncFile[str]: ...
    @overload
    async def open(
        self,
        mode: str,
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> AsyncFile[Any]: ...
    async def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> AsyncFile[Any]:
        opened = await self._do("open", mode, buffering, encoding, errors, newline)
        return AsyncFile(opened, limiter=self._limiter)

    async def read_bytes(self) -> bytes:
        return bytes(await self._do("read_bytes"))

    async def read_text(
        self, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> str:
        return str(await self._do("read_text", encoding, errors, **_given(newline=newline)))

    async def write_bytes(self, data: ReadableBuffer) -> int:
        return int(await self._do("write_bytes", data))

    async def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        return int(await self._do("write_text", data, encoding, errors, newline))

    def _like(self, path: StrPath) -> Self:
        return type(self)(path, limiter=self._limiter)

    async def _do(self, method: str, *args: Any, **options: Any) -> Any:
        call = partial(getattr(self._path, method), *args, **options)
        return await to_thread.run_sync(call, limiter=self._limiter)


def _plain(path: Any) -> Any:
    """Some functions of `pathlib` ask for its own kind, or for text."""
    return path._path if isinstance(path, Path) else path


def _pure(other: Any) -> Any:
    return other._path if isinstance(other, Path) else other


def _is_segment(other: object) -> bool:
    return isinstance(other, str | os.PathLike)


def _given(**options: Any) -> dict[str, Any]:
    """Without those that were not: an older `pathlib` knows fewer."""
    return {name: value for name, value in options.items() if value is not None}


def _followed(follow_symlinks: bool) -> dict[str, Any]:
    return {} if follow_symlinks else {"follow_symlinks": False}
