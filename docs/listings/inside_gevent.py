"""bridgeio inside a gevent application: greenlets of both kinds, in one hub."""

import gevent

import bridgeio
import bridgeio_gevent


async def shout(reader, writer):
    async for line in reader:
        gevent.sleep(0)  # any gevent call, in a task that bridgeio started
        writer.write(line.upper())
        await writer.drain()


async def serve_until(stop, ports):
    async with bridgeio.serve(shout, "localhost") as server:
        ports.append(server.port)
        await stop.wait()


async def ask(port, question):
    reader, writer = await bridgeio.open_connection("localhost", port)
    async with writer:
        writer.write(question)
        await writer.drain()
        return await reader.readline()


def main():
    stop, ports = bridgeio.Event(), []
    serving = bridgeio_gevent.spawn(serve_until, stop, ports)
    while not ports:
        gevent.sleep(0)
    with gevent.Timeout(5):
        asking = bridgeio_gevent.spawn(ask, ports[0], b"spawned\n")  # a Greenlet: join, get, kill, link
        print(bridgeio.blocking(ask)(ports[0], b"blocking\n"))  # in this greenlet; the others run on
        print(asking.get())
    stop.set()
    serving.get()


if __name__ == "__main__":
    main()
