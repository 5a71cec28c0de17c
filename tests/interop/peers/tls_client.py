"""The `ssl` module over a blocking socket as a client: sends what it is told line by line, prints what comes back.

python tls_client.py PORT AUTHORITY
"""

import socket
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[2])
with (
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as plain,
    context.wrap_socket(plain, server_hostname="localhost") as client,
):
    answers = client.makefile("rb")
    for line in sys.stdin.buffer:
        client.sendall(line)
        sys.stdout.buffer.write(answers.readline())
