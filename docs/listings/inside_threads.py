"""A synchronous class over asynchronous code: no event loop, no thread, and the connection outlives the call."""

import bridgeio


class Shouting:
    """A client for plain code; several threads may each have one."""

    def __init__(self, host, port):
        self._reader, self._writer = bridgeio.blocking(bridgeio.open_connection)(host, port)

    async def _ask(self, question):
        with bridgeio.fail_after(5):
            self._writer.write(question)
            await self._writer.drain()
            return await self._reader.readline()

    ask = bridgeio.blocking(_ask)

    def close(self):
        self._writer.close()
        bridgeio.blocking(self._writer.wait_closed)()
