"""Starting Tornado, and finding it running."""

from __future__ import annotations

from typing import TypeVar

import tornado
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from bridgeio.contract import Main
from bridgeio_asyncio.backend import AsyncioBackend
from bridgeio_tornado.streams import TornadoStream

__all__ = ["TornadoBackend"]

T = TypeVar("T")


class TornadoBackend(AsyncioBackend):
    """asyncio with an IOLoop for each of its loops."""

    wraps = f"a tornado.iostream.IOStream, {AsyncioBackend.wraps}"

    def versions(self) -> dict[str, str]:
        return {"tornado": tornado.version}

    def unwrap(self, native: object) -> object | None:
        return TornadoStream(native) if isinstance(native, IOStream) else super().unwrap(native)

    async def _run_main(self, main: Main[T]) -> T:
        IOLoop.current()  # makes one for the running loop, and Tornado drops it when that is closed
        return await super()._run_main(main)
