"""The `ssl` module over a blocking socket as a server of one client: echoes, and minds how the stream ends.

python tls_one_client.py CERTIFICATE
"""

import socket
import ssl
import sys

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1])
with socket.create_server(("127.0.0.1", 0)) as listener:
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    plain, _ = listener.accept()
    with context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as client:
        while data := client.recv(65536):
            client.sendall(data)
