"""What runs in a worker process. It is started as a script, and imports as little as it can.

Its standard input is the channel to the process that started it; it moves that elsewhere at once, so that what it
calls finds nothing to read there, and may print. Messages are a kind (one byte), a length (eight), and a pickle.

* in: ``b"="``, what the parent's program is (`Program`), once; then ``b"?"`` with a function and its arguments.
* out: ``b"."`` with a result, or ``b"!"`` with the pickle of an exception (or ``None``), its words, and its traceback.

It ends when the channel does: in the middle of a call at once, for then the parent has been killed. A thread that
looks after that would get no turn in code that keeps the interpreter's lock, and would make `os.fork` a warning. So
the system sends a signal, which ends the process unless the function has an idea of its own about SIGIO.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pickle
import select
import signal
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["CALL", "ERROR", "HEADER", "PROGRAM", "RESULT", "Program", "framed", "length_of", "main"]

PROGRAM, CALL, RESULT, ERROR = b"=", b"?", b".", b"!"
HEADER = 9  # bytes: the kind, and the length of what follows
PIECE = 1 << 20  # bytes to be asked for at once


class Program(NamedTuple):
    """What has to be known of the parent's program to find the functions that it wants to have called."""

    path: list[str]
    arguments: list[str]
    main_name: str | None
    main_path: str | None


def framed(kind: bytes, payload: bytes) -> bytes:
    return kind + len(payload).to_bytes(HEADER - 1, "big") + payload


def length_of(header: bytes) -> int:
    return int.from_bytes(header[1:], "big")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the parent's to see to
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    channel = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    # What a function forks must not answer for it, nor hold the channel open when the worker has gone.
    os.register_at_fork(after_in_child=lambda: os.dup2(nothing, channel, inheritable=False))
    try:
        _serve(channel)
    except (BrokenPipeError, ConnectionResetError):
        return  # the parent has gone


def _serve(channel: int) -> None:
    program: Program | None = None
    while header := _read(channel, HEADER):
        payload = _read(channel, length_of(header))
        if header[:1] == PROGRAM:
            program = Program(*pickle.loads(payload))
            sys.path[:], sys.argv[:] = program.path, program.arguments
        else:
            assert program is not None
            with _ended_with(channel):
                answer = framed(*_answer(program, payload))
            _write(channel, answer)


@contextlib.contextmanager
def _ended_with(channel: int) -> Iterator[None]:
    """While this lasts the parent sends nothing, so there is nothing to signal but the end."""
    _have_signalled(channel, True)
    try:
        if _is_over(channel):  # it was before the system was asked for signals
            os._exit(1)
        yield
    finally:
        _have_signalled(channel, False)


def _have_signalled(channel: int, wanted: bool) -> None:
    with contextlib.suppress(OSError):  # not for this kind of channel, on this system
        fcntl.fcntl(channel, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(channel, fcntl.F_GETFL)
        fcntl.fcntl(channel, fcntl.F_SETFL, flags | os.O_ASYNC if wanted else flags & ~os.O_ASYNC)


def _is_over(channel: int) -> bool:
    looking = select.poll()
    looking.register(channel, 0)
    return bool(looking.poll(0))


def _answer(program: Program, payload: bytes) -> tuple[bytes, bytes]:
    try:
        function, args = _Unpickler(program, payload).load()
        result = function(*args)
    except BaseException as error:
        return ERROR, _described(error)
    try:
        return RESULT, pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        refusal = pickle.PicklingError(f"the result, of type {type(result).__name__}, cannot be pickled: {error}")
        refusal.__cause__ = error
        return ERROR, _described(refusal)


def _described(error: BaseException) -> bytes:
    import traceback

    words = f"{type(error).__name__}: {error}"
    called = error.__traceback__.tb_next if error.__traceback__ is not None else None  # our own frame says nothing
    story = "".join(traceback.format_exception(type(error), error, called))
    try:
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(pickled)  # many exceptions can be pickled, and not be made again
    except Exception:
        return pickle.dumps((None, words, story))
    return pickle.dumps((pickled, words, story))


class _Unpickler(pickle.Unpickler):
    """Finds what was defined in the parent's main module, which is imported when first needed."""

    def __init__(self, program: Program, payload: bytes) -> None:
        super().__init__(io.BytesIO(payload))
        self._program = program

    def find_class(self, module: str, name: str) -> Any:
        if module in ("__main__", "__mp_main__"):
            _import_main(self._program)
        return super().find_class(module, name)


def _import_main(program: Program) -> None:
    """Under the name that `multiprocessing` gives it: a script that runs only as ``__main__`` does not run again."""
    if "__mp_main__" in sys.modules:
        return
    import runpy
    import types

    if program.main_name is not None:
        found = runpy.run_module(program.main_name, run_name="__mp_main__", alter_sys=True)
    elif program.main_path is not None:
        found = runpy.run_path(program.main_path, run_name="__mp_main__")
    else:
        raise AttributeError(
            "it is defined in a __main__ that no other process can import: put it into a module, or into a script"
        )
    module = types.ModuleType("__mp_main__")
    module.__dict__.update(found)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def _read(channel: int, count: int) -> bytes:
    """So many bytes; nothing if the channel ends first."""
    pieces = []
    while count:
        piece = os.read(channel, min(count, PIECE))
        if not piece:
            return b""
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _write(channel: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(channel, rest) :]


if __name__ == "__main__":
    main()
