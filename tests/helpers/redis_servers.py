"""A redis-server of one's own: nothing on disk but its sockets, no port of the system's, TLS beside plain UNIX."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridgeio.testing.tls_peers import authority
from needs import program
from programs import PATIENCE

__all__ = ["USER", "RedisServer", "redis_server"]

USER = ("ann", "secret")
ATTEMPTS = 5  # at finding a port that nobody else takes meanwhile
READY = b"Ready to accept connections"


@dataclass(frozen=True, slots=True)
class RedisServer:
    """:ivar path: its UNIX socket.
    :ivar port: TLS.
    """

    path: str
    port: int


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """Anybody may do anything there, and so may `USER`."""
    certificate = authority().issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "key")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate")
    authority().cert_pem.write_to_path(folder / "authority")
    for _ in range(ATTEMPTS):
        server = RedisServer(str(folder / "s"), free_port())
        with subprocess.Popen(command(server, folder), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
            try:
                assert process.stdout is not None
                if any(READY in line for line in process.stdout):
                    yield server
                    return
            finally:
                process.terminate()
                process.communicate(timeout=PATIENCE)
    raise RuntimeError(f"redis-server did not start, {ATTEMPTS} times")


def command(server: RedisServer, folder: Path) -> list[str]:
    name, password = USER
    options = {
        "port": "0",
        "unixsocket": server.path,
        "tls-port": str(server.port),
        "tls-cert-file": str(folder / "certificate"),
        "tls-key-file": str(folder / "key"),
        "tls-ca-cert-file": str(folder / "authority"),
        "tls-auth-clients": "no",
        "dir": str(folder),
        "save": "",
        "appendonly": "no",
    }
    flat = [word for option, value in options.items() for word in (f"--{option}", value)]
    return [program("redis-server"), *flat, "--user", name, "on", f">{password}", "~*", "&*", "+@all"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
