"""Errors: one tree, the system's classes kept, messages that say what, where and whom."""

from __future__ import annotations

import errno
import pickle
import ssl

import pytest

import bridgeio
from bridgeio import errors
from bridgeio.errors import again, describe, show_address

TREE = {
    errors.NoBackendError: RuntimeError,
    errors.BackendNotFoundError: LookupError,
    errors.BackendNotInstalledError: ImportError,
    errors.BackendBusyError: RuntimeError,
    errors.BusyError: RuntimeError,
    errors.StreamClosedError: ConnectionError,
    errors.IncompleteReadError: EOFError,
    errors.LimitOverrunError: ValueError,
    errors.WriteBufferFullError: BufferError,
    errors.ConnectError: ConnectionError,
    errors.TruncatedStreamError: EOFError,
    errors.SharedBetweenRunsError: RuntimeError,
    errors.BrokenBarrierError: RuntimeError,
    errors.QueueEmpty: errors.WouldBlock,
    errors.QueueFull: errors.WouldBlock,
    errors.QueueShutDown: Exception,
    errors.ClosedResourceError: Exception,
    errors.BrokenResourceError: Exception,
    errors.EndOfStream: EOFError,
}


@pytest.mark.parametrize(("kind", "parent"), TREE.items(), ids=lambda kind: kind.__name__)
def test_the_tree(kind: type[Exception], parent: type[Exception]) -> None:
    """Each error has the parent that the design gives it, and stands in the top package too."""
    assert issubclass(kind, parent)
    assert getattr(bridgeio, kind.__name__) is kind


@pytest.mark.parametrize("code", [errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.EADDRINUSE, errno.EMFILE])
def test_a_system_error_keeps_its_class(code: int) -> None:
    """Described, it has the same class and number, the operation and the address, and the original as its cause."""
    original = OSError(code, "words of the system")
    better = describe(original, "read from", ("::1", 80, 0, 0))
    assert type(better) is type(original)
    assert better.errno == code
    assert str(better).endswith("words of the system (read from [::1]:80)")
    assert better.__cause__ is original


def test_an_error_of_ours_keeps_its_class_too() -> None:
    """One without a number keeps its words."""
    better = describe(errors.StreamClosedError("closed"), "write to", "/path")
    assert type(better) is errors.StreamClosedError
    assert str(better) == "closed (write to /path)"


def test_what_an_error_carries_is_kept() -> None:
    """`ssl.SSLError` has its reason as an attribute, and programs decide by it."""
    original = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    original.reason, original.library = "WRONG_VERSION_NUMBER", "SSL"
    for copy in (describe(original, "read from"), again(original)):
        assert isinstance(copy, ssl.SSLError)
        assert (copy.reason, copy.library) == ("WRONG_VERSION_NUMBER", "SSL")


def test_an_error_of_a_class_that_wants_other_arguments() -> None:
    """Somebody's own `OSError` is described, and copied, as a plain one."""

    class FarAwayError(OSError):
        def __init__(self, *, host: str) -> None:
            super().__init__(errno.ENETUNREACH, f"{host} is far away")

    original = FarAwayError(host="there")
    for copy in (describe(original, "connect to"), again(original)):
        assert copy.errno == errno.ENETUNREACH
        assert "there is far away" in str(copy)


def test_no_address_is_no_words() -> None:
    """Where there is no address the message does not speak of one."""
    assert str(describe(ConnectionResetError(errno.ECONNRESET, "reset"), "read from")).endswith("reset (read from)")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/socket", "/run/socket"),
        (b"\0abstract", r"b'\x00abstract'"),
        ("", "an unnamed socket"),
        (None, "an unnamed socket"),
    ],
)
def test_addresses_are_shown_as_people_write_them(address: object, shown: str) -> None:
    """Host and port, with brackets where they are needed; a path; nothing for nothing."""
    assert show_address(address) == shown


@pytest.mark.parametrize(
    "error",
    [
        errors.IncompleteReadError(b"abc", 10),
        errors.IncompleteReadError(b"abc", None),
        errors.LimitOverrunError("too long", 17),
        errors.ConnectError("nobody", [(("127.0.0.1", 1), ConnectionRefusedError(111, "no"))]),
        errors.BackendNotFoundError("there is none"),
    ],
)
def test_errors_survive_pickling(error: Exception) -> None:
    """What a worker process raises arrives with all that it carries."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert repr(vars(copy)) == repr(vars(error))


def test_an_incomplete_read_says_how_much() -> None:
    """Its message has both numbers."""
    assert "3 bytes" in str(errors.IncompleteReadError(b"abc", 10))
    assert "10 bytes" in str(errors.IncompleteReadError(b"abc", 10))
    assert "separator" in str(errors.IncompleteReadError(b"abc", None))
