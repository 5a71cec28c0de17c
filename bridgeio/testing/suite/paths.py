"""Chapter: paths. `Path` does what `pathlib.Path` does, in worker threads."""

from __future__ import annotations

import os
import pathlib
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

import bridgeio
from bridgeio import Path

pytestmark = pytest.mark.bridgeio


def _tree(folder: pathlib.Path) -> pathlib.Path:
    """Something of every kind."""
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "file").write_text("text\r\nmore")
    (folder / "sub" / "a.py").write_bytes(b"\xff")
    (folder / "sub" / "deep" / "b.py").touch()
    (folder / "link").symlink_to("file")
    (folder / "dangling").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    return folder


# Methods that take nothing: on every kind of file of the tree they answer as pathlib's do.
QUESTIONS = [
    "absolute",
    "exists",
    "expanduser",
    "group",
    "is_block_device",
    "is_char_device",
    "is_dir",
    "is_fifo",
    "is_file",
    "is_mount",
    "is_socket",
    "is_symlink",
    "lstat",
    "owner",
    "readlink",
    "resolve",
    "stat",
    *(["is_junction"] if sys.version_info >= (3, 12) else []),
]

KINDS = ["file", "sub", "link", "dangling", "fifo", "missing", "file/below"]


@pytest.mark.parametrize("question", QUESTIONS)
async def test_questions_about_files(question: str, tmp_path: pathlib.Path) -> None:
    """The answer, or the error, is pathlib's, whatever kind of file is asked about."""
    folder = _tree(tmp_path)
    for kind in KINDS:
        expected = _outcome(getattr(folder / kind, question))
        try:
            found = await getattr(Path(folder, kind), question)()
        except Exception as error:
            found = (type(error), getattr(error, "errno", None))
        assert found == expected, kind


def _outcome(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except Exception as error:
        return type(error), getattr(error, "errno", None)


async def test_questions_with_options(tmp_path: pathlib.Path) -> None:
    """Options are handed on; one that this Python's pathlib does not know is a TypeError."""
    folder = _tree(tmp_path)
    link, dangling = Path(folder, "link"), Path(folder, "dangling")
    assert (await link.stat(follow_symlinks=False)).st_ino == (folder / "link").lstat().st_ino
    assert await Path(folder, "sub", "..", "file").resolve(strict=True) == folder.resolve() / "file"
    with pytest.raises(FileNotFoundError):
        await dangling.resolve(strict=True)
    assert await link.samefile(folder / "file")
    assert await link.samefile(Path(folder, "file"))
    if sys.version_info >= (3, 12):
        assert await dangling.exists(follow_symlinks=False)
    else:
        with pytest.raises(TypeError):
            await dangling.exists(follow_symlinks=False)
    if sys.version_info >= (3, 13):
        assert not await link.is_file(follow_symlinks=False)
        assert await Path(folder, "file").read_text(newline="") == "text\r\nmore"


async def test_where_one_is(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder and the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert await Path.cwd() == pathlib.Path.cwd()
    assert await Path.home() == tmp_path / "home"
    assert await Path("~", "x").expanduser() == tmp_path / "home" / "x"
    assert await Path("x").absolute() == tmp_path / "x"


async def test_contents(tmp_path: pathlib.Path) -> None:
    """Files are written and read whole, or opened."""
    path = Path(tmp_path, "file")
    assert await path.write_text("zwölf\n", encoding="utf-8", newline="\r\n") == 6
    assert await path.read_bytes() == "zwölf\r\n".encode()
    assert await path.read_text(encoding="utf-8") == "zwölf\n"
    assert await path.write_bytes(bytearray(b"\xff")) == 1
    assert await path.read_text("ascii", "replace") == "\ufffd"
    async with await path.open("ab") as file:
        await file.write(b"more")
    async with await path.open(errors="surrogateescape", encoding="ascii") as text:
        assert await text.read() == "\udcffmore"


async def test_changes(tmp_path: pathlib.Path) -> None:
    """Each change is made as pathlib makes it, and what it returns is a path of ours."""
    folder = Path(tmp_path) / "a" / "b"
    await folder.mkdir(0o700, parents=True)
    with pytest.raises(FileExistsError):
        await folder.mkdir()
    await folder.mkdir(exist_ok=True)
    path = folder / "file"
    await path.touch(0o600)
    await path.chmod(0o640)
    assert (await path.stat()).st_mode & 0o777 == 0o640
    await (folder / "link").symlink_to(path)
    await (folder / "hard").hardlink_to(path)
    assert await (folder / "link").readlink() == path
    renamed = await path.rename(folder / "renamed")
    assert (type(renamed), renamed.name) == (Path, "renamed")
    await (folder / "other").touch()
    assert (await renamed.replace(str(folder / "other"))).name == "other"
    await (folder / "other").unlink()
    await (folder / "link").unlink()
    await (folder / "hard").unlink()
    await (folder / "hard").unlink(missing_ok=True)
    await folder.rmdir()
    assert not await folder.exists()
    with pytest.raises((NotImplementedError, OSError)):
        await Path(tmp_path, "missing").lchmod(0o600)


async def test_what_is_in_a_folder(tmp_path: pathlib.Path) -> None:
    """``iterdir``, ``glob`` and ``rglob`` find what pathlib's find, of our own kind."""
    folder = _tree(tmp_path)
    found = [path async for path in Path(folder).iterdir()]
    assert {type(path) for path in found} == {Path}
    assert sorted(found) == sorted(folder.iterdir())
    assert sorted([path async for path in Path(folder).glob("*/*.py")]) == sorted(folder.glob("*/*.py"))
    assert sorted([path async for path in Path(folder).rglob("*.py")]) == sorted(folder.rglob("*.py"))
    if sys.version_info >= (3, 12):
        assert [path.name async for path in Path(folder).rglob("B.PY", case_sensitive=False)] == ["b.py"]


async def test_a_large_folder(tmp_path: pathlib.Path) -> None:
    """Each entry once, also where one visit to a thread does not bring them all."""
    for number in range(1000):
        (tmp_path / str(number)).touch()
    names = [int(path.name) async for path in Path(tmp_path).iterdir()]
    assert sorted(names) == list(range(1000))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="pathlib has walk() from Python 3.12 on")
async def test_walking(tmp_path: pathlib.Path) -> None:
    """Folder by folder, and subfolders that are struck out are left out."""
    folder: Any = _tree(tmp_path)
    path: Any = Path(folder)  # which type checkers take for one of an older Python
    for top_down in (True, False):
        walked = [entry async for entry in path.walk(top_down)]
        assert walked == list(folder.walk(top_down))
    seen = []
    async for where, folders, _ in path.walk():
        seen.append(where)
        folders.clear()
    assert seen == [folder]
    errors: list[OSError] = []
    assert [entry async for entry in (path / "missing").walk(on_error=errors.append)] == []
    assert [type(error) for error in errors] == [FileNotFoundError]


async def test_errors_while_iterating(tmp_path: pathlib.Path) -> None:
    """They come from the iteration, once, as pathlib raises them; after that it has ended."""
    entries = Path(tmp_path, "missing").iterdir()
    with pytest.raises(FileNotFoundError):
        await anext(entries)
    assert [entry async for entry in entries] == []
    with pytest.raises((ValueError, NotImplementedError)):
        await anext(Path(tmp_path).glob(""))


async def test_an_iteration_is_for_one_task(tmp_path: pathlib.Path) -> None:
    """A second task that asks while the first waits for a thread is a BusyError."""
    entries = _tree_entries(tmp_path)
    failed: list[BaseException] = []

    async def take() -> None:
        try:
            await anext(entries)
        except bridgeio.BusyError as error:
            failed.append(error)

    async with bridgeio.create_task_group() as group:
        group.start_soon(take)
        group.start_soon(take)
    assert len(failed) == 1


def _tree_entries(folder: pathlib.Path) -> Any:
    return Path(_tree(folder)).iterdir()


async def test_a_socket_is_one(socket_folder: pathlib.Path) -> None:
    """The kind that a tree for all tests does not hold."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(socket_folder / "s"))
        assert await Path(socket_folder, "s").is_socket()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
