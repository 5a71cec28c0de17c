"""The HTTP server of the examples is told to end while it is loaded: nobody is left in doubt."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from http_checking import GET, NUMBERS, POST, Caller, Request, visiting
from needs import program
from programs import EXAMPLES, PATIENCE, listening, python

pytestmark = pytest.mark.bridgeio

SERVER = EXAMPLES / "http" / "http_server.py"


def test_sigterm_under_load(backend: str) -> None:
    """Every request that was sent whole on an established connection gets a whole response, or the client was told
    before by ``Connection: close`` that it will not; then the server ends with status 0.

    What may just be on its way when the signal comes is made sure of: the server is stopped, requests are sent on
    connections that were idle and on some that nobody has accepted, then it is told to end, and goes on.
    """
    with listening(python(SERVER, "--backend", backend, "--grace", str(2 * PATIENCE))) as server:
        with ExitStack() as stack:

            def call() -> Caller:
                return stack.enter_context(Caller(server.port))

            load = stack.enter_context(_loading(server.port))
            visits = stack.enter_context(visiting(server.port, visitors=3, requests=20))
            visits.wait_for(lambda seen: seen.answers >= 200)
            sending, later, silent, large = (_greeted(call()) for _ in range(4))
            large.sock.sendall(NUMBERS.data)
            server.signal(signal.SIGSTOP)
            fresh, silent_from_the_first = call(), call()
            sending.sock.sendall(POST.data)
            fresh.sock.sendall(GET.data)
            server.signal(signal.SIGTERM)
            server.signal(signal.SIGCONT)
            visits.wait_for(lambda seen: seen.told > 0)
            load.kill()
            for caller, request in ((sending, POST), (fresh, GET), (large, NUMBERS)):
                _check_the_end(caller, request)
            later.sock.sendall(GET.data)
            _check_the_end(later, GET)
            for caller in (silent, silent_from_the_first):
                assert caller.last_words().status == 408
        assert visits.broken == []
        assert (server.end(), server.rest()) == (0, "")


def _greeted(caller: Caller) -> Caller:
    """One that has been served before, and may go on."""
    answer = caller.ask(GET)
    assert answer is not None
    assert not caller.told
    return caller


def _check_the_end(caller: Caller, request: Request) -> None:
    """It gets its answer, and hears then or later that it was the last."""
    assert caller.answer(request) is not None
    if not caller.told:
        caller.last_words()


@contextmanager
def _loading(port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [program("wrk"), "--threads=1", "--connections=8", "--duration=60", f"http://127.0.0.1:{port}/"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()
