"""bridgeio on Tornado, whose IOLoop has been an asyncio loop since Tornado 5.

Everything is as in `bridgeio_asyncio`, and this adapter is a thin layer on that one:

==================  ================================================================
contract            Tornado
==================  ================================================================
Host                the asyncio loop under an ``IOLoop``
Task                an `asyncio.Task`; a Tornado handler's coroutine is one, too
now                 the asyncio loop's clock. ``IOLoop.time()`` is wall-clock time:
                    a deadline for bridgeio is made from `bridgeio.current_time`
unwrap              an ``IOStream``, with one read and one write outstanding
run                 `asyncio.Runner` with an ``IOLoop`` for its loop; options
                    ``loop_factory`` and ``debug``
==================  ================================================================

Not promised: what `bridgeio_asyncio` does not. A cancelled ``IOStream`` read leaves that stream
unusable; that is Tornado's, and no scope of ours can mend it. One that was wrapped is not cancelled, but ends as
a whole with its peer's direction.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bridgeio.contract import Adapter, Probe
from bridgeio_asyncio import in_loop, in_task

if TYPE_CHECKING:
    from bridgeio_tornado.backend import TornadoBackend

__all__ = ["ADAPTER"]


def _is_tornados() -> bool:
    """Whether the loop that runs here has an IOLoop."""
    ioloop = sys.modules.get("tornado.ioloop")
    return ioloop is not None and ioloop.IOLoop.current(instance=False) is not None


def _in_task() -> bool:
    return in_task() and _is_tornados()


def _in_callback() -> bool:
    return in_loop() and _is_tornados()


def _load() -> TornadoBackend:
    from bridgeio_tornado.backend import TornadoBackend

    return TornadoBackend("tornado")


ADAPTER = Adapter(
    name="tornado",
    framework="Tornado",
    requires=("tornado",),
    install="bridgeio[tornado]",
    load=_load,
    probes=(Probe(20, _in_task), Probe(39, _in_callback)),
)
