"""The protocol of the guides *Moving over*, as checks that every server of theirs has to pass.

`docs/moving/index.md` has its words. A check talks to two ports behind which one program has its lockers: in the step
in between these are the old handler and the new one, elsewhere the same port twice.
"""

from __future__ import annotations

import importlib.util
import itertools
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from checkout import ROOT
from programs import PATIENCE, Listening, listening

__all__ = [
    "AFTER",
    "CHECKS",
    "CLIENT_AFTER",
    "FRAMEWORKS",
    "MOVING",
    "PATCHED",
    "Client",
    "Lockers",
    "check_idle",
    "check_sigterm",
    "is_there",
    "lockers",
]

MOVING = ROOT / "docs" / "listings" / "moving"
AFTER, CLIENT_AFTER = MOVING / "after.py", MOVING / "client_after.py"

FRAMEWORKS = sorted(folder.name for folder in MOVING.iterdir() if (folder / "before.py").exists())
"""Those with a guide: a folder of listings each."""

_PATCH_AND_RUN = """
import runpy, sys
from gevent.monkey import patch_all
patch_all()
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PATCHED = ("-c", _PATCH_AND_RUN)
"""For `lockers`: gevent patches, and then the script runs."""

TRIES = 20


def is_there(framework: str) -> bool:
    """Whether this Python has it; asyncore left with 3.12."""
    return framework == "threads" or importlib.util.find_spec(framework) is not None


@dataclass(slots=True)
class Lockers:
    """A running server of lockers.

    :ivar ports: all have the same lockers behind them; the first is the one that a user would be told.
    """

    running: Listening
    ports: tuple[int, ...]
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(100)))

    def unused(self) -> int:
        """The number of a locker that no check has used."""
        return next(self._numbers)

    def ways(self) -> list[tuple[int, int]]:
        """Every pair of ports, to talk to one and then to the other."""
        return list(itertools.product(self.ports, self.ports))


@contextmanager
def lockers(script: Path, *arguments: str, through: tuple[str, ...] = ()) -> Iterator[Lockers]:
    """Starts a server of the guides'. One in between says in a second line where its old handler listens.

    :param through: what Python runs that runs the script.
    """
    with listening([sys.executable, *through, str(script), *arguments], cwd=script.parent) as running:
        ports = [running.port]
        if script.stem == "between":
            ports.append(int(running.line().split()[-1]))
        yield Lockers(running, tuple(ports))


class Client:
    """A plain blocking connection, of which only the tests know."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._lines = self._sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lines.close()
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def hear(self) -> bytes:
        """The next line; what there is of it where the connection ends, which may be nothing."""
        return self._lines.readline().rstrip(b"\n")

    def ask(self, request: bytes) -> bytes:
        self.send(request + b"\n")
        return self.hear()

    def hears_end(self) -> bool:
        """Whether the connection ends, before another line comes."""
        try:
            return self._lines.readline() == b""
        except ConnectionResetError:
            return True

    def end_writing(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def vanish(self) -> None:
        """Without a word, by a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.__exit__()


def keeps_what_was_put(one: int, other: int, number: int) -> None:
    """What one connection puts in, another takes out, also when the first has ended; and then it is gone."""
    with Client(one) as client:
        assert client.ask(b"PUT %d two words" % number) == b"OK"
    with Client(other) as client:
        assert client.ask(b"LOOK %d" % number) == b"FULL"
        assert client.ask(b"TAKE %d 0" % number) == b"TEXT two words"
        assert client.ask(b"TAKE %d 0" % number) == b"EMPTY"
        assert client.ask(b"LOOK %d" % number) == b"EMPTY"


def a_full_locker_stays_as_it_is(one: int, other: int, number: int) -> None:
    """A second text is refused."""
    with Client(one) as client, Client(other) as second:
        assert client.ask(b"PUT %d first" % number) == b"OK"
        assert second.ask(b"PUT %d second" % number) == b"FULL"
        assert client.ask(b"TAKE %d 0" % number) == b"TEXT first"


WRONG = [
    b"",
    b"   ",
    b"put 1 text",
    b"PUT",
    b"PUT 1",
    b"PUT 100 text",
    b"PUT -1 text",
    b"PUT one text",
    b"LOOK",
    b"LOOK 1 2",
    b"LOOK 1000000000000",
    b"TAKE 1",
    b"TAKE 1 soon",
    b"TAKE 1 -1",
    b"TAKE 1 61",
    b"TAKE 1 nan",
    b"TAKE 100 0",
    b"TAKE 1 0 0",
    b"\xff\xfe\x00",
]


def answers_what_is_wrong(one: int, other: int, number: int) -> None:
    """Each bad line gets its ERROR, the connection goes on, and no locker has changed."""
    with Client(one) as client:
        for line in WRONG:
            answer = client.ask(line)
            assert answer.startswith(b"ERROR "), (line, answer)
        assert client.ask(b"PUT %d text" % number) == b"OK"
        assert client.ask(b"TAKE %d 0" % number) == b"TEXT text"


def answers_in_order(one: int, other: int, number: int) -> None:
    """Requests that come all at once, or in pieces, are answered one after the other."""
    with Client(one) as client:
        requests = b"LOOK %d\nPUT %d text\nTAKE %d 0.01\nTAKE %d 0.01\nPUT %d more\r\nTAKE %d 0\nLO"
        client.send(requests % ((number,) * 6))
        assert [client.hear() for _ in range(6)] == [b"EMPTY", b"OK", b"TEXT text", b"EMPTY", b"OK", b"TEXT more"]
        client.send(b"OK ")
        client.send(b"%d\n" % number)
        assert client.hear() == b"EMPTY"


def who_waits_gets_it(one: int, other: int, number: int) -> None:
    """Each of two who wait gets one text, and nobody else is kept from being served meanwhile."""
    with Client(one) as first, Client(other) as second, Client(other) as third:
        for waiting in (first, second):
            waiting.send(b"TAKE %d 60\n" % number)
        for text in (b"a", b"b"):
            while third.ask(b"PUT %d %s" % (number, text)) == b"FULL":
                pass  # nobody has come to wait for it yet
        assert sorted(waiting.hear() for waiting in (first, second)) == [b"TEXT a", b"TEXT b"]
        assert third.ask(b"LOOK %d" % number) == b"EMPTY"


def who_gave_up_takes_nothing(one: int, other: int, number: int) -> None:
    """A wait ends in time, and what comes after it stays."""
    with Client(one) as first, Client(other) as second:
        assert first.ask(b"TAKE %d 0.01" % number) == b"EMPTY"
        assert second.ask(b"PUT %d text" % number) == b"OK"
        assert second.ask(b"LOOK %d" % number) == b"FULL"
        assert first.ask(b"TAKE %d 0" % number) == b"TEXT text"


def a_line_too_long_ends_the_connection(one: int, other: int, number: int) -> None:
    """That connection, and no other. What it is told before, if anything, begins with ERROR, or is BYE."""
    with Client(one) as client, Client(other) as bystander:
        client.send(b"PUT %d " % number + b"x" * 1000 + b"\n")
        try:
            while line := client.hear():
                assert line == b"BYE" or line.startswith(b"ERROR "), line
        except ConnectionResetError:
            pass  # it had not read everything, so the system says it that way
        assert bystander.ask(b"LOOK %d" % number) == b"EMPTY"


def who_vanishes_hurts_nobody(one: int, other: int, number: int) -> None:
    """Clients that go away without a word, in the middle of a line, of a wait, or of nothing."""
    for said in (b"", b"PUT", b"TAKE %d 0.01\n" % number, b"LOOK 1\n" * 100):
        client = Client(one)
        client.send(said)
        client.vanish()
    with Client(other) as bystander:
        assert bystander.ask(b"LOOK %d" % number) == b"EMPTY"


def says_goodbye(one: int, other: int, number: int) -> None:
    """QUIT is answered, and ends the connection."""
    with Client(one) as client:
        assert client.ask(b"QUIT") == b"BYE"
        assert client.hears_end()


CHECKS: list[Callable[[int, int, int], None]] = [
    keeps_what_was_put,
    a_full_locker_stays_as_it_is,
    answers_what_is_wrong,
    answers_in_order,
    who_waits_gets_it,
    who_gave_up_takes_nothing,
    a_line_too_long_ends_the_connection,
    who_vanishes_hurts_nobody,
    says_goodbye,
]
"""Each is given one port, another (which may be the same), and a locker of its own."""


def check_idle(server: Lockers) -> None:
    """For a server that was started with a small ``--idle``: the silent hear BYE, and those who wait do not."""
    for port in server.ports:
        with Client(port) as silent:
            assert silent.hear() == b"BYE"
            assert silent.hears_end()
        assert _waits_longer_than_idle(port, server.unused())


def _waits_longer_than_idle(port: int, number: int) -> bool:
    """A machine that stands still between two steps makes a client idle: then it asks again."""
    for _ in range(TRIES):
        with Client(port) as waiting:
            if waiting.ask(b"TAKE %d 0.5" % number) == b"EMPTY":
                return True
    return False


def check_sigterm(server: Lockers) -> None:
    """Everybody hears BYE, whether silent or waiting; the program ends with status 0 and complains of nothing."""
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for port in server.ports for _ in range(2)]
        for client, request in zip(clients, itertools.cycle([b"", b"TAKE 1 60\n"])):
            assert client.ask(b"LOOK 1") == b"EMPTY"
            client.send(request)
        server.running.signal(signal.SIGTERM)
        for client in clients:
            assert client.hear() == b"BYE"
            assert client.hears_end()
    assert server.running.end() == 0
    assert server.running.rest() == ""
