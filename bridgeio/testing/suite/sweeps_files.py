"""Chapter: sweeps of files. Whatever was begun is done, its result is there, and nothing stays open.

After each run an operation has either not begun, or is complete and has returned what it did.
"""

# ruff: noqa: ASYNC240 - what bridgeio has done to files is looked at without it

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import bridgeio
from bridgeio import AsyncFile, Path, lowlevel, open_file, wrap_file
from bridgeio.testing.sweeping import Operation, sweep
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

LINES = b"".join(b"line %d\n" % number for number in range(5))

Results = list[Any]
Use = Callable[[Any, Results], Coroutine[Any, Any, None]]


async def _read_in_all_ways(file: AsyncFile[bytes], read: Results) -> None:
    """What was taken is a result; a position that was asked for is not one."""
    read.append(await file.read(3))
    read.append(await file.read1(2))
    read.append(await anext(file))
    for fill in (file.readinto, file.readinto1):
        buffer = bytearray(4)
        count = await fill(buffer)
        read.append(bytes(buffer[:count]))
    read.append(await file.readline())
    await file.tell()
    read.extend(await file.readlines())


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_reader_of_a_file(tmp_path: pathlib.Path) -> None:
    """Every byte is read once: by one of the reads, or by who reads on."""
    (tmp_path / "file").write_bytes(LINES)

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        read: Results = []
        async with await open_file(tmp_path / "file", "rb") as file:
            yield lambda: _read_in_all_ways(file, read)
            read.append(await file.read())
        assert b"".join(read) == LINES

    await sweep(world, name="read a file")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_writer_of_a_file(tmp_path: pathlib.Path) -> None:
    """What a write says it has written is in the file, and nothing else is."""
    name = tmp_path / "file"

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        sizes = [0]

        async def operation() -> None:
            async with await open_file(name, "wb") as file:
                sizes.append(await file.write(LINES))
                await file.writelines([])
                await file.flush()
                await file.seek(0, os.SEEK_END)
                await file.truncate()
                await file.aclose()

        name.unlink(missing_ok=True)
        yield operation
        assert not name.exists() or name.stat().st_size == sum(sizes)

    await sweep(world, name="write a file")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_turn_at_a_file(tmp_path: pathlib.Path) -> None:
    """A task that is cancelled while others use the file has written all of its line, or nothing."""
    name = tmp_path / "file"

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        sizes: list[int] = []

        async def write(file: AsyncFile[str]) -> None:
            sizes.append(await file.write("0123456789\n"))

        async with await open_file(name, "w") as file:

            async def operation() -> None:
                async with bridgeio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(write, file)

            yield operation
            await write(file)
        assert name.read_text() == "0123456789\n" * len(sizes)

    await sweep(world, name="write by turns")


@pytest.mark.bridgeio_promise(2)
async def test_a_swept_end_of_a_file() -> None:
    """However the closing is cancelled, the file is closed."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        ours, others = os.pipe()
        original("os", "close")(others)
        file = wrap_file(open(ours, "rb"))  # noqa: SIM115, ASYNC230 - the operation closes it

        async def operation() -> None:
            async with file:
                await file.read()

        yield operation
        if not file.closed:  # it was cancelled before it entered the block
            await file.aclose()

    await sweep(world, name="the end of a file")


async def _ask(path: Path) -> None:
    await path.exists()
    await path.is_dir()
    await path.is_file()
    await path.is_symlink()
    await path.is_fifo()
    await path.is_socket()
    await path.is_mount()
    await path.is_block_device()
    await path.is_char_device()
    if sys.version_info >= (3, 12):
        await path.is_junction()


async def _ask_more(path: Path) -> None:
    await path.stat()
    await path.lstat()
    await path.owner()
    await path.group()
    await path.samefile(path)
    await path.resolve()
    await path.absolute()
    await path.expanduser()
    await Path.cwd()
    await Path.home()


async def _make_and_remove(path: Path) -> None:
    folder = path.with_name("folder")
    await folder.mkdir(exist_ok=True)
    await (folder / "file").touch()
    await (folder / "file").chmod(0o600)
    await (folder / "file").rename(folder / "renamed")
    await (folder / "renamed").replace(folder / "file")
    await (folder / "file").unlink()
    await folder.rmdir()


async def _make_links(path: Path) -> None:
    await path.with_name("soft").symlink_to(path)
    await path.with_name("soft").readlink()
    await path.with_name("hard").hardlink_to(path)
    try:
        await path.lchmod(0o600)
    except (NotImplementedError, OSError):
        await lowlevel.checkpoint()


async def _read_and_write(path: Path) -> None:
    await path.write_bytes(b"text")
    assert await path.read_bytes() == b"text"
    await path.write_text("other")
    assert await path.read_text() == "other"
    async with await path.open() as file:
        assert await file.read() == "other"


PATHS: dict[str, Callable[[Path], Coroutine[Any, Any, None]]] = {
    "ask a path": _ask,
    "ask a path more": _ask_more,
    "make and remove": _make_and_remove,
    "make links": _make_links,
    "read and write a path": _read_and_write,
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", PATHS)
async def test_swept_paths(name: str, tmp_path: pathlib.Path) -> None:
    """Each operation of a path can be cancelled before it begins; nothing stays open, and no thread behind."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        async with bridgeio.TemporaryDirectory(dir=str(tmp_path)) as folder:
            path = Path(folder, "file")
            pathlib.Path(path).touch()
            yield lambda: PATHS[name](path)

    await sweep(world, name=name)


@pytest.mark.bridgeio_promise(2)
async def test_swept_entries(tmp_path: pathlib.Path) -> None:
    """Entries that were fetched are not lost by a cancel: who iterates on gets the others."""
    for number in range(3):
        (tmp_path / str(number)).touch()

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        found: list[str] = []
        entries = [Path(tmp_path).iterdir(), Path(tmp_path).glob("*"), Path(tmp_path).rglob("*")]

        async def operation() -> None:
            for some in entries:
                found.append((await anext(some)).name)
                found.append((await anext(some)).name)

        yield operation
        for some in entries:
            found.extend([path.name async for path in some])
        assert sorted(found) == sorted(["0", "1", "2"] * 3)

    await sweep(world, name="entries")


async def _temporary_files(folder: str) -> None:
    async with bridgeio.TemporaryFile(dir=folder) as file:
        await file.write(b"text")
    async with bridgeio.NamedTemporaryFile(dir=folder) as file:
        await file.write(b"text")


async def _temporary_folders(folder: str) -> None:
    directory = bridgeio.TemporaryDirectory(dir=folder)
    async with directory as name:
        pathlib.Path(name, "file").touch()
        await directory.cleanup()


async def _spooled(folder: str) -> None:
    async with bridgeio.SpooledTemporaryFile(dir=folder) as file:
        await file.write(b"text")
        await file.rollover()


async def _names(folder: str) -> None:
    await bridgeio.gettempdir()
    await bridgeio.gettempdirb()


TEMPORARY = {
    "temporary files": _temporary_files,
    "temporary folders": _temporary_folders,
    "a spooled file": _spooled,
    "temporary names": _names,
}


@pytest.mark.bridgeio_promise(2)
@pytest.mark.parametrize("name", TEMPORARY)
async def test_swept_temporary_files(name: str, tmp_path: pathlib.Path) -> None:
    """Whenever they are left, they are gone from the disk, and closed."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        yield lambda: TEMPORARY[name](str(tmp_path))
        assert list(tmp_path.iterdir()) == []

    await sweep(world, name=name)


@pytest.mark.bridgeio_promise(2)
async def test_swept_new_names(tmp_path: pathlib.Path) -> None:
    """What `mkstemp` and `mkdtemp` have made, they have told of."""

    @asynccontextmanager
    async def world() -> AsyncIterator[Operation]:
        made: list[str] = []

        async def operation() -> None:
            fd, name = await bridgeio.mkstemp(dir=str(tmp_path))
            original("os", "close")(fd)
            made.append(name)
            made.append(await bridgeio.mkdtemp(dir=str(tmp_path)))

        yield operation
        assert sorted(map(str, tmp_path.iterdir())) == sorted(made)
        for name in made:
            os.remove(name) if os.path.isfile(name) else os.rmdir(name)

    await sweep(world, name="new names")


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
