"""What a program is started with: its command, and its ends of the pipes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, Any

from bridgeio.contract import Host
from bridgeio.pipes import PipeSource
from bridgeio.unpatched import original

__all__ = [
    "PIPE",
    "Command",
    "Ends",
    "Path",
    "Stream",
    "check_streams",
    "checked_command",
    "program_of",
]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Command = Path | Sequence[Path]
Stream = int | IO[Any] | None

PIPE, STDOUT = -1, -2  # subprocess's, which need not be imported for that

LONGEST_NAME = 60  # characters of a command that messages show


class Ends:
    """The pipes of a program that is about to start.

    :ivar given: what it is started with.
    :ivar ours: this process's ends, by name.
    """

    def __init__(self, host: Host) -> None:
        self.given: dict[str, Stream] = {}
        self.ours: dict[str, PipeSource] = {}
        self._theirs: list[int] = []
        self._host = host

    def connect(self, **streams: Stream) -> None:
        for name, stream in streams.items():
            self.given[name] = self._pipe(name) if _is(PIPE, stream) else stream

    def connect_terminal(self) -> None:
        master, slave = os.openpty()
        self._theirs.append(slave)
        self.ours["stdout"] = PipeSource(self._host, master)
        self.ours["stdin"] = PipeSource(self._host, os.dup(master), writing=True)
        self.given = dict.fromkeys(("stdin", "stdout", "stderr"), slave)

    def close_ours(self) -> None:
        for source in self.ours.values():
            source.close()

    def close_theirs(self) -> None:
        for fd in self._theirs:
            original("os", "close")(fd)  # a patched one may leave it open until gevent's hub has a turn

    def _pipe(self, name: str) -> int:
        to_read, to_write = os.pipe()
        theirs, ours = (to_read, to_write) if name == "stdin" else (to_write, to_read)
        self._theirs.append(theirs)
        self.ours[name] = PipeSource(self._host, ours, writing=name == "stdin")
        return theirs


def _is(constant: int, stream: Stream) -> bool:
    return isinstance(stream, int) and stream == constant


def check_streams(**streams: Any) -> None:
    for name, stream in streams.items():
        if not (stream is None or isinstance(stream, int) or hasattr(stream, "fileno")):
            raise TypeError(f"{name} is PIPE or DEVNULL of subprocess, a descriptor, a file or None, not {stream!r}")
        if _is(STDOUT, stream) and name != "stderr":
            raise ValueError("subprocess.STDOUT is for stderr alone")


def checked_command(command: Any) -> Any:
    """What ``Popen`` is given."""
    if isinstance(command, str | bytes):
        return command
    if isinstance(command, os.PathLike):
        return [command]
    if not isinstance(command, Sequence):
        raise TypeError(f"{_WANTED}: not {command!r}")
    if not command:
        raise ValueError("a command has a program's name at least")
    for argument in command:
        if not isinstance(argument, str | bytes | os.PathLike):
            raise TypeError(f"{_WANTED}, each text, bytes or a path: not {argument!r}")
    return list(command)


_WANTED = "a command is text for the shell, a path, or a sequence of a program and its arguments"


def program_of(command: Any) -> str:
    """A name for messages."""
    name = os.fsdecode(command[0] if isinstance(command, list) else command)
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
