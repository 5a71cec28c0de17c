"""Rule 11 of the engine: where there is neither epoll nor kqueue, each stream is a watch of the host's own.

The same promises hold there, so the same chapters run; on asyncio, whose loop can watch anything.
"""

import pytest

from bridgeio.testing.suite.bad_input import *  # noqa: F403
from bridgeio.testing.suite.cancelling import *  # noqa: F403
from bridgeio.testing.suite.connecting import *  # noqa: F403
from bridgeio.testing.suite.datagram_faults import *  # noqa: F403
from bridgeio.testing.suite.datagrams import *  # noqa: F403
from bridgeio.testing.suite.draining import *  # noqa: F403
from bridgeio.testing.suite.fairness import *  # noqa: F403
from bridgeio.testing.suite.lines import *  # noqa: F403
from bridgeio.testing.suite.processes import *  # noqa: F403
from bridgeio.testing.suite.serving import *  # noqa: F403
from bridgeio.testing.suite.streams import *  # noqa: F403
from bridgeio.testing.suite.sweeps import *  # noqa: F403
from bridgeio.testing.suite.sweeps_datagrams import *  # noqa: F403
from bridgeio.testing.suite.sweeps_processes import *  # noqa: F403
from bridgeio.testing.suite.sweeps_servers import *  # noqa: F403
from bridgeio.testing.suite.unix_datagrams import *  # noqa: F403
from bridgeio.testing.suite.writing import *  # noqa: F403
from bridgeio.watching import WatchingPoller

pytestmark = pytest.mark.bridgeio("asyncio")


@pytest.fixture(autouse=True)
def no_poller(monkeypatch: pytest.MonkeyPatch) -> None:
    """This platform has nothing that watches many descriptors behind one."""
    monkeypatch.setattr("bridgeio.contract.new_poller", WatchingPoller)
