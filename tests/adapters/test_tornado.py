"""What is peculiar to Tornado: an IOLoop owns the asyncio loop, and handlers are foreign tasks."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import bridgeio
from echoing import ask, echo

pytest.importorskip("tornado")

from tornado import gen, httpclient, httpserver, iostream, tcpclient, tcpserver, web
from tornado.ioloop import IOLoop
from tornado.netutil import add_accept_handler
from tornado.testing import bind_unused_port


def test_a_run_has_an_ioloop() -> None:
    """On the Tornado backend `IOLoop.current` is the loop that runs."""

    async def main() -> tuple[str, bool]:
        ioloop: Any = IOLoop.current(instance=False)
        return bridgeio.current_backend(), ioloop.asyncio_loop is asyncio.get_running_loop()

    assert bridgeio.run(main, backend="tornado") == ("tornado", True)


def test_plain_asyncio_stays_asyncio() -> None:
    """A loop that no IOLoop owns is asyncio's, though Tornado is imported."""

    async def main() -> str:
        return bridgeio.current_backend()

    assert asyncio.run(main()) == "asyncio"


def test_a_callback_of_an_application_is_tornados() -> None:
    """``handle_stream`` may be a plain function, which Tornado calls in no task: an IOStream can be wrapped there,
    and a group that was opened elsewhere takes the coroutine."""

    async def main() -> bytes:
        async with bridgeio.create_task_group() as group:

            class Server(tcpserver.TCPServer):
                def handle_stream(self, stream: iostream.IOStream, address: tuple[str, int]) -> None:
                    group.start_soon(bridgeio.serve_stream, echo, stream)

            sock, port = bind_unused_port()
            server = Server()
            server.add_socket(sock)
            reader, writer = await bridgeio.open_connection("127.0.0.1", port)
            async with writer:  # without ending its direction: that would end Tornado's stream
                writer.write(b"hi\n")
                answer = await reader.readline()
            server.stop()
            group.cancel_scope.cancel()
        return answer

    assert asyncio.run(main()) == b"hi\n"


def test_a_socket_that_tornado_has_accepted() -> None:
    """One that becomes no IOStream is served to its end, also if the client ends its direction first."""

    async def main() -> bytes:
        async with bridgeio.create_task_group() as group:

            def serve(connection: Any, address: Any) -> None:
                group.start_soon(bridgeio.serve_stream, echo, connection)

            sock, port = bind_unused_port()
            stop = add_accept_handler(sock, serve)
            answer = await ask(port, b"hi")
            stop()
            sock.close()
            group.cancel_scope.cancel()
        return answer

    assert asyncio.run(main()) == b"hi"


def test_a_web_handler_awaits_bridgeio() -> None:
    """A request handler of a running Tornado application, a task that Tornado started, uses bridgeio directly."""

    class Ask(web.RequestHandler):
        async def get(self) -> None:
            self.write(
                bridgeio.current_backend() + " " + (await ask(self.application.settings["port"], b"hi\n")).decode()
            )

    async def main() -> bytes:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            sock, port = bind_unused_port()
            front = httpserver.HTTPServer(web.Application([("/", Ask)], port=server.port))
            front.add_socket(sock)
            answer = await httpclient.AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
            front.stop()
            await front.close_all_connections()
            return answer.body

    assert IOLoop(make_current=False).run_sync(main) == b"tornado hi\n"


def test_tornados_client_talks_to_our_server() -> None:
    """An IOStream and a bridgeio handler in one loop."""

    async def main() -> bytes:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            stream = await tcpclient.TCPClient().connect("127.0.0.1", server.port)
            await stream.write(b"from tornado\n")
            answer = await stream.read_until(b"\n")
            stream.close()
            return answer

    assert bridgeio.run(main, backend="tornado") == b"from tornado\n"


def test_our_client_talks_to_tornados_server() -> None:
    """A `TCPServer` and a bridgeio client in one loop."""

    class Server(tcpserver.TCPServer):
        async def handle_stream(self, stream: iostream.IOStream, address: Any) -> None:
            await stream.write(await stream.read_until(b"\n"))
            stream.close()

    async def main() -> bytes:
        sock, port = bind_unused_port()
        server = Server()
        server.add_socket(sock)
        try:
            return await ask(port, b"from bridgeio\n")
        finally:
            server.stop()

    assert bridgeio.run(main, backend="tornado") == b"from bridgeio\n"


def test_gen_with_timeout_ends_a_wait_of_ours() -> None:
    """`gen.with_timeout` around our coroutine raises TimeoutError; the coroutine itself goes on, as Tornado has it."""

    async def main() -> None:
        waiting = asyncio.ensure_future(bridgeio.sleep_forever())
        with pytest.raises(TimeoutError):
            await gen.with_timeout(timedelta(seconds=0.01), waiting)
        waiting.cancel()

    bridgeio.run(main, backend="tornado")


def test_a_decorated_coroutine_yields_ours() -> None:
    """`gen.coroutine` code yields a bridgeio coroutine like any other."""

    @gen.coroutine
    def old_style(port: int) -> Any:
        answer = yield ask(port, b"old\n")
        return answer

    async def main() -> bytes:
        async with bridgeio.serve(echo, "127.0.0.1") as server:
            answer: bytes = await old_style(server.port)
            return answer

    assert bridgeio.run(main, backend="tornado") == b"old\n"


def test_ten_runs_leave_one_ioloop_at_most() -> None:
    """Tornado forgets the IOLoops of closed loops when it makes the next: runs do not pile up."""

    async def main() -> None:
        await bridgeio.sleep(0)

    before = len(IOLoop._ioloop_for_asyncio)  # other tests' loops, which are theirs to close
    for _ in range(10):
        bridgeio.run(main, backend="tornado")
    assert len(IOLoop._ioloop_for_asyncio) <= before + 1
