"""What the system itself costs: an echo server that is nothing but a loop around epoll, in Python and in C."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.natives import CHUNK, Announce, Native, tune

__all__ = ["LIMITS"]


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    tune(listener)  # accepted connections inherit it
    listener.setblocking(False)
    return listener


def epoll_in_python(announce: Announce) -> None:
    listener = _listener()
    ready = select.epoll()
    ready.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    announce(listener.getsockname()[1])
    while True:
        for fd, _ in ready.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                connections[sock.fileno()] = sock
                ready.register(sock, select.EPOLLIN)
                continue
            sock = connections[fd]
            data = sock.recv(CHUNK)
            if data:
                sock.sendall(data)
            else:
                del connections[fd]
                sock.close()


def epoll_in_c(announce: Announce) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("there is no C compiler here")
    listener = _listener()
    with TemporaryDirectory() as folder:
        source, program = Path(folder, "echo.c"), Path(folder, "echo")
        source.write_text(ECHO_IN_C)
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
        open_program = os.open(program, os.O_RDONLY)
    listener.set_inheritable(True)
    announce(listener.getsockname()[1])
    sys.stdout.flush()
    os.execve(open_program, ["echo", str(listener.fileno())], os.environ)


ECHO_IN_C = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    static char buffer[65536];
    struct epoll_event events[256], wanted = {.events = EPOLLIN};
    int listener = count > 1 ? atoi(arguments[1]) : 0;
    int ready = epoll_create1(0);

    wanted.data.fd = listener;
    epoll_ctl(ready, EPOLL_CTL_ADD, listener, &wanted);
    for (;;) {
        int found = epoll_wait(ready, events, 256, -1);
        for (int i = 0; i < found; i++) {
            int sock = events[i].data.fd;
            if (sock == listener) {
                wanted.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (wanted.data.fd >= 0)
                    epoll_ctl(ready, EPOLL_CTL_ADD, wanted.data.fd, &wanted);
                continue;
            }
            ssize_t size = recv(sock, buffer, sizeof buffer, 0);
            if (size <= 0)
                close(sock);
            else if (send(sock, buffer, size, 0) != size)
                abort();
        }
    }
}
"""


def _limit(serve: Callable[[Announce], None]) -> Native:
    def echo(job: str, announce: Announce, certificate: str | None) -> None:
        if job != "echo" or certificate is not None:
            raise SystemExit("the limits are known for a plain echo alone")
        serve(announce)

    return echo


LIMITS: dict[str, Native] = {"epoll in Python": _limit(epoll_in_python), "epoll in C": _limit(epoll_in_c)}
