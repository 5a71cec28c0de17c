"""gevent's own sockets as a client: sends what it is told, ends its side, prints what comes back."""

import sys

import gevent
from gevent import socket


def send(sock: socket.socket) -> None:
    sock.sendall(sys.stdin.buffer.read())
    sock.shutdown(socket.SHUT_WR)


with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
    sending = gevent.spawn(send, sock)
    while data := sock.recv(65536):
        sys.stdout.buffer.write(data)
    sending.get()
