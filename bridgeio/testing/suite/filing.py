"""Chapter: filing. Files and temporary files in worker threads: the run goes on, and nothing is left half done."""

# ruff: noqa: ASYNC240 - what bridgeio has done to files is looked at without it

from __future__ import annotations

import gzip
import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bridgeio
from bridgeio import AsyncFile, open_file, wrap_file
from bridgeio.contract import Host
from bridgeio.registry import current_host
from bridgeio.testing.meetings import turns
from bridgeio.testing.natives import Native
from bridgeio.testing.resources import until
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio

close = original("os", "close")


async def test_a_text_file_is_written_and_read(tmp_path: Path) -> None:
    """Every method does what that of Python's file does."""
    name = tmp_path / "text"
    async with await open_file(name, "w+", encoding="utf-8") as file:
        assert await file.write("Boxkämpfer\n") == 11
        await file.writelines(["zwölf\n", "drei"])
        assert await file.seek(0) == 0
        assert await file.readline() == "Boxkämpfer\n"
        assert await file.tell() == 12
        assert await file.read(3) == "zwö"
        assert await file.readlines() == ["lf\n", "drei"]
        assert await file.read() == ""
        assert await file.truncate(12) == 12
        await file.flush()
        assert name.read_text(encoding="utf-8") == "Boxkämpfer\n"
        assert (file.name, file.mode, file.encoding, file.closed) == (str(name), "w+", "utf-8", False)
    assert file.closed


async def test_a_binary_file_is_written_and_read(tmp_path: Path) -> None:
    """Those that only a binary file has, too."""
    name = tmp_path / "binary"
    async with await open_file(str(name), "wb") as file:
        assert await file.write(bytearray(b"abc")) == 3
        assert await file.write(memoryview(b"defgh")) == 5
    async with await open_file(bytes(name), "rb") as file:
        buffer = bytearray(2)
        assert (await file.readinto(buffer), bytes(buffer)) == (2, b"ab")
        assert (await file.readinto1(buffer), bytes(buffer)) == (2, b"cd")
        assert await file.read1(1) == b"e"
        assert await file.seek(-1, os.SEEK_END) == 7
        assert await file.read() == b"h"


async def test_lines_of_a_file(tmp_path: Path) -> None:
    """``async for`` gives them up to the end, and goes on where another read has stopped."""
    name = tmp_path / "lines"
    name.write_text("".join(f"{number}\n" for number in range(500)))
    async with await open_file(name) as file:
        assert await file.readline() == "0\n"
        assert [int(line) async for line in file] == list(range(1, 500))
        assert [line async for line in file] == []


async def test_others_go_on_while_a_file_waits(tmp_path: Path) -> None:
    """A file that makes its reader wait, as a FIFO does, makes nobody else wait."""
    name = tmp_path / "fifo"
    os.mkfifo(name)
    read: list[bytes] = []

    async def reader() -> None:
        async with await open_file(name, "rb") as file:
            read.append(await file.read())

    async with bridgeio.create_task_group() as group:
        group.start_soon(reader)
        for _ in range(20):
            await bridgeio.sleep(0.001)
        async with await open_file(name, "wb") as file:
            await file.write(b"from the other end")
    assert read == [b"from the other end"]


async def test_operations_on_one_file_take_turns() -> None:
    """No two are under way at once, whatever they are."""
    file: Any = _Recording(current_host())
    shared = wrap_file(file)
    async with bridgeio.create_task_group() as group:
        for number in range(6):
            group.start_soon(shared.write, str(number))
        await until(lambda: file.made)
        group.start_soon(shared.aclose)
    assert sorted(file.made) == ["close", *(f"write {number}" for number in range(6))]
    assert file.most == 1


async def test_lines_of_several_tasks(tmp_path: Path) -> None:
    """Tasks that write to one text file at once lose and mix nothing, and those that read get each line once."""
    name = tmp_path / "shared"
    lines = [f"{number} {'x' * 50}\n" for number in range(200)]
    read: list[str] = []

    async def write_some(file: AsyncFile[str], first: int) -> None:
        for line in lines[first::8]:
            await file.write(line)

    async def read_some(file: AsyncFile[str]) -> None:
        read.extend([line async for line in file])

    async with await open_file(name, "w") as file, bridgeio.create_task_group() as group:
        for first in range(8):
            group.start_soon(write_some, file, first)
    async with await open_file(name) as file, bridgeio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(read_some, file)
    assert sorted(read) == sorted(lines)


async def test_an_operation_that_has_begun_is_waited_for() -> None:
    """A cancel in the middle of a read comes after it: what was read is the caller's; the next wait is cancelled."""
    limiter = bridgeio.CapacityLimiter(1)
    ours, others = os.pipe()
    try:
        file = await open_file(ours, "rb", buffering=0, limiter=limiter)
        read: list[bytes] = []
        with bridgeio.CancelScope() as scope:
            async with bridgeio.create_task_group() as group:

                async def reader() -> None:
                    read.append(await file.read(10))
                    await bridgeio.sleep_forever()

                group.start_soon(reader)
                await until(lambda: limiter.borrowed_tokens)
                scope.cancel()
                with bridgeio.CancelScope(shield=True):
                    for _ in range(5):
                        await bridgeio.sleep(0.001)
                    assert read == []
                    os.write(others, b"hello")
                    await until(lambda: read)
        assert scope.cancelled_caught
        assert read == [b"hello"]
        await file.aclose()
    finally:
        close(others)


async def test_closing_in_a_cancelled_scope(tmp_path: Path) -> None:
    """What is closed there is flushed and closed, and then the cancellation is raised."""
    name = tmp_path / "closed"
    file = await open_file(name, "w")
    await file.write("all of it")
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        await file.aclose()
        raise AssertionError("it was cancelled")
    assert (file.closed, name.read_text()) == (True, "all of it")
    with bridgeio.CancelScope() as scope:
        async with await open_file(name, "a") as file:
            await file.write(", and more")
            scope.cancel()
    assert (file.closed, name.read_text()) == (True, "all of it, and more")
    assert scope.cancelled_caught
    await file.aclose()


async def test_an_error_in_a_block_comes_out(tmp_path: Path) -> None:
    """Also if the scope is cancelled when the file is closed."""
    files: list[AsyncFile[str]] = []

    async def fail() -> None:
        with bridgeio.CancelScope() as scope:
            async with await open_file(tmp_path / "file", "w") as file:
                files.append(file)
                scope.cancel()
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert files[0].closed


@pytest.mark.bridgeio_needs("native_cancel")
async def test_a_native_cancel_while_a_file_is_closed(native: Native, tmp_path: Path) -> None:
    """The file is closed all the same, and the cancel goes on as what it is."""
    slow: Any = _Recording(current_host())
    file = wrap_file(slow)
    asked, closing = bridgeio.Event(), bridgeio.Event()

    async def close() -> None:
        asked.set()
        await file.aclose()

    async def let_go() -> None:
        await asked.wait()
        await turns(50)
        slow.held = False

    slow.held = True
    async with bridgeio.create_task_group() as group:
        group.start_soon(file.write, "")
        await until(lambda: slow.made)
        group.start_soon(let_go)
        await native.cancelled_from_outside(close, asked)  # which finds it waiting for its turn
    assert slow.made == ["write ", "close"]
    slow.at_begin = closing.set
    await native.cancelled_from_outside(file.aclose, closing)  # which finds it closing
    assert slow.made == ["write ", "close", "close"]


class _Recording:
    """A file whose operations take some turns of the run's.

    :ivar most: how many were under way at once.
    :ivar at_begin: called in the run when one begins.
    :ivar held: none comes to its end.
    """

    at_begin: Callable[[], None] | None = None
    held = False

    def __init__(self, host: Host) -> None:
        self.made: list[str] = []
        self.most = 0
        self._under_way = 0
        self._host = host

    def write(self, text: str) -> int:
        self._make(f"write {text}")
        return len(text)

    def close(self) -> None:
        self._make("close")

    def _make(self, operation: str) -> None:
        self._under_way += 1
        self.made.append(operation)
        if self.at_begin is not None:
            self._host.call_soon_threadsafe(self.at_begin)
        rest = 20
        while rest or self.held:
            rest = max(0, rest - 1)
            turn = original("_thread", "allocate_lock")()
            turn.acquire()
            self._host.call_soon_threadsafe(turn.release)
            turn.acquire()
            self.most = max(self.most, self._under_way)
        self._under_way -= 1


async def test_a_file_of_another_kind(tmp_path: Path) -> None:
    """A file object that is there is wrapped, in memory or packed, with or without a ``with`` of its own."""
    memory = io.StringIO("one\ntwo\n")
    assert [line async for line in wrap_file(memory)] == ["one\n", "two\n"]
    assert wrap_file(memory).wrapped is memory
    zipped: Any = gzip.GzipFile(tmp_path / "packed", "wb")
    async with wrap_file(zipped) as packed:
        await packed.write(b"packed")
    assert gzip.decompress((tmp_path / "packed").read_bytes()) == b"packed"

    class Bare:
        closed = False

        def close(self) -> None:
            self.closed = True

    bare: Any = Bare()
    async with wrap_file(bare):
        pass
    assert bare.closed


@pytest.mark.parametrize("given", ["a name", b"a name", 3, None])
async def test_what_is_no_file(given: Any) -> None:
    """It is refused at once, and the error names what opens files."""
    with pytest.raises(TypeError, match="open_file"):
        wrap_file(given)


async def test_errors_of_files_are_pythons(tmp_path: Path) -> None:
    """The same classes, for what cannot be opened, and for what is closed, or not open for that."""
    with pytest.raises(FileNotFoundError):
        await open_file(tmp_path / "missing")
    with pytest.raises(ValueError, match="invalid mode"):
        await open_file(tmp_path / "file", "nonsense")
    async with await open_file(tmp_path / "file", "w") as file:
        with pytest.raises(io.UnsupportedOperation):
            await file.read()
        with pytest.raises(AttributeError):
            _ = file.no_such_thing
        with pytest.raises(AttributeError):
            _ = file._no_such_thing
    with pytest.raises(ValueError, match="closed file"):
        await file.write("too late")


def test_a_file_in_one_run_after_the_other(backend: str, backend_options: dict[str, Any], tmp_path: Path) -> None:
    """It may be opened in one run, and used and closed in the next."""
    run: Callable[..., Any] = bridgeio.run
    file: AsyncFile[str] = run(open_file, tmp_path / "file", "w", backend=backend, backend_options=backend_options)
    run(file.write, "text", backend=backend, backend_options=backend_options)
    run(file.aclose, backend=backend, backend_options=backend_options)
    assert (tmp_path / "file").read_text() == "text"


async def test_temporary_files(tmp_path: Path) -> None:
    """Each is written and read in its block, and is gone after it; parameters are `tempfile`'s."""
    folder = str(tmp_path)
    async with bridgeio.TemporaryFile(dir=folder) as file:
        await file.write(b"bytes")
        await file.seek(0)
        assert await file.read() == b"bytes"
    assert file.closed
    async with bridgeio.NamedTemporaryFile("w+", encoding="utf-8", suffix=".txt", prefix="x", dir=folder) as named:
        await named.write("text")
        await named.flush()
        assert Path(named.name).read_text(encoding="utf-8") == "text"
        assert Path(named.name).match("x*.txt")
    assert list(tmp_path.iterdir()) == []
    async with bridgeio.NamedTemporaryFile(dir=folder, delete=False) as kept:
        pass
    assert [str(name) for name in tmp_path.iterdir()] == [kept.name]
    await bridgeio.Path(kept.name).unlink()
    if sys.version_info >= (3, 12):
        async with bridgeio.NamedTemporaryFile(dir=folder, delete_on_close=False) as later:
            await later.aclose()
            assert Path(later.name).exists()
    else:
        with pytest.raises(TypeError):
            await bridgeio.NamedTemporaryFile(dir=folder, delete_on_close=False).__aenter__()
    assert list(tmp_path.iterdir()) == []


async def test_a_spooled_temporary_file() -> None:
    """It is a file at once, in memory until it is too large or told to go to the disk."""
    async with bridgeio.SpooledTemporaryFile(max_size=10) as file:
        await file.write(b"12345")
        assert not file.wrapped._rolled  # type: ignore[attr-defined]
        await file.write(b"678901")
        assert file.wrapped._rolled  # type: ignore[attr-defined]
        await file.seek(0)
        assert await file.read() == b"12345678901"
    text = bridgeio.SpooledTemporaryFile(mode="w+")
    await text.write("lines\n")
    await text.rollover()
    await text.seek(0)
    assert [line async for line in text] == ["lines\n"]
    await text.aclose()


async def test_a_temporary_folder() -> None:
    """It is removed with what is in it, also in a cancelled scope, or earlier; its name is text, or bytes."""
    with bridgeio.CancelScope() as scope:
        async with bridgeio.TemporaryDirectory(prefix="bridgeio-") as name:
            Path(name, "file").write_text("text")
            scope.cancel()
    assert scope.cancelled_caught
    assert not Path(name).exists()
    directory = bridgeio.TemporaryDirectory(b"suffix")
    async with directory as encoded:
        assert encoded.endswith(b"suffix")
        await directory.cleanup()
        assert not os.path.exists(encoded)
    for refused in (bridgeio.TemporaryDirectory().cleanup, directory.__aenter__):
        with pytest.raises(RuntimeError, match="TemporaryDirectory"):
            await refused()


async def test_names_for_temporary_files(tmp_path: Path) -> None:
    """`mkstemp` and its like do what those of `tempfile` do."""
    fd, name = await bridgeio.mkstemp(".x", dir=str(tmp_path))
    close(fd)
    folder = await bridgeio.mkdtemp(dir=bytes(tmp_path))
    assert sorted(map(bytes, tmp_path.iterdir())) == sorted([os.fsencode(name), folder])
    assert await bridgeio.gettempdir() == tempfile.gettempdir()
    assert await bridgeio.gettempdirb() == tempfile.gettempdirb()


async def test_a_temporary_file_is_entered_once() -> None:
    """A second time would lose the first file."""
    temporary = bridgeio.TemporaryFile()
    async with temporary:
        with pytest.raises(RuntimeError, match="make another one"):
            await temporary.__aenter__()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
