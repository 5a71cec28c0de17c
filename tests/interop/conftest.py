"""One echo server for each backend, in a process of its own, for all the peers that want to talk to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from programs import EXAMPLES, Listening, listening, python
from redis_servers import RedisServer, redis_server

# These import h11 where they begin. In CI that is an error if it is missing.
collect_ignore_glob = [] if find_spec("h11") or os.environ.get("BRIDGEIO_CI") else ["test_http11*.py"]

Servers = Callable[[Path | str, tuple[str, ...]], Listening]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Starts each server once for the session, when the first test asks for it."""
    started: dict[tuple[Path | str, tuple[str, ...]], Listening] = {}
    with ExitStack() as stack:

        def server(script: Path | str, arguments: tuple[str, ...]) -> Listening:
            key = (script, arguments)
            if key not in started:
                started[key] = stack.enter_context(listening(python(script, *arguments)))
            return started[key]

        yield server


@pytest.fixture
def echo_port(servers: Servers, backend: str) -> int:
    """The port of `examples/echo_streams.py` on this test's backend."""
    return servers(EXAMPLES / "echo_streams.py", ("--backend", backend)).port


@pytest.fixture(scope="session")
def sockets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.fixture
def echo_path(servers: Servers, backend: str, sockets_folder: Path) -> str:
    """The path of `examples/echo_unix.py` on this test's backend."""
    return servers(EXAMPLES / "echo_unix.py", (str(sockets_folder / backend), "--backend", backend)).where


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the authority's certificate, and one for ``localhost`` with its key."""
    trustme = pytest.importorskip("trustme", reason="the certificates of these tests are made by trustme")
    folder = tmp_path_factory.mktemp("papers")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "localhost.pem")
    return folder


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real one, for all tests of the session; so each has keys and channels of its own."""
    with redis_server(tmp_path_factory.mktemp("r")) as server:
        yield server
