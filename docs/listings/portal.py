"""A client for synchronous code: its connection lives in a run of its own, behind a portal."""

from contextlib import ExitStack

import bridgeio
from bridgeio.from_thread import start_blocking_portal


class LineClient:
    def __init__(self, host, port, backend="asyncio"):
        self._exit = ExitStack()
        self._portal = self._exit.enter_context(start_blocking_portal(backend))
        self._reader, self._writer = self._portal.call(bridgeio.open_connection, host, port)
        self._exit.enter_context(self._portal.wrap_async_context_manager(self._writer))

    def ask(self, line):
        return self._portal.call(self._ask, line)

    async def _ask(self, line):
        self._writer.write(line)
        await self._writer.drain()
        return await self._reader.readline()

    def close(self):
        self._exit.close()
