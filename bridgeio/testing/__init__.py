"""The conformance kit: what an adapter proves itself with, ours and a stranger's alike.

An adapter's test suite is one file::

    # test_conformance.py
    from bridgeio.testing.suite import *

and ``pytest --backend mine`` runs every promise of bridgeio on it, unmodified. The plugin that does
this comes with bridgeio (`bridgeio.testing.plugin`). To take single chapters, import them one by one:
``from bridgeio.testing.suite.streams import *``.

A test counts only if it ran where its id says. For our own adapters the kit knows what to ask the
framework; a stranger brings a `Witness` in a ``conftest.py``::

    class MyWitness(Witness):
        independent = True

        async def prove(self):
            self.check(myframework.current_task() is not None, "there is no task of myframework's")

    def pytest_bridgeio_witness(backend):
        return MyWitness(backend) if backend == "mine" else None

What an adapter cannot keep it declares in its `Capabilities`; the tests that need it are skipped and
listed with the reason at the end of the run. The same plugin serves protocols: mark an ``async def``
test with ``@pytest.mark.bridgeio`` and it runs on every installed framework.
"""

from __future__ import annotations

from bridgeio.testing.peers import Peer, RawListener
from bridgeio.testing.proof import Witness
from bridgeio.testing.resources import unchanged, until
from bridgeio.testing.sweeping import Moment, Swept, sweep
from bridgeio.testing.virtual_time import run_in_virtual_time

__all__ = ["Moment", "Peer", "RawListener", "Swept", "Witness", "run_in_virtual_time", "sweep", "unchanged", "until"]
