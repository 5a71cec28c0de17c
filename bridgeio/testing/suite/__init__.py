"""The promises of bridgeio, one chapter for each room, as tests that run on any adapter.

``from bridgeio.testing.suite import *`` in a test file brings all of them.
"""

from __future__ import annotations

from bridgeio.testing.suite.answering import *  # noqa: F403
from bridgeio.testing.suite.bad_input import *  # noqa: F403
from bridgeio.testing.suite.calling_between import *  # noqa: F403
from bridgeio.testing.suite.calling_in import *  # noqa: F403
from bridgeio.testing.suite.cancelling import *  # noqa: F403
from bridgeio.testing.suite.channel_ends import *  # noqa: F403
from bridgeio.testing.suite.channels import *  # noqa: F403
from bridgeio.testing.suite.connecting import *  # noqa: F403
from bridgeio.testing.suite.contexts import *  # noqa: F403
from bridgeio.testing.suite.datagram_faults import *  # noqa: F403
from bridgeio.testing.suite.datagrams import *  # noqa: F403
from bridgeio.testing.suite.draining import *  # noqa: F403
from bridgeio.testing.suite.dumping import *  # noqa: F403
from bridgeio.testing.suite.encrypting import *  # noqa: F403
from bridgeio.testing.suite.fairness import *  # noqa: F403
from bridgeio.testing.suite.filing import *  # noqa: F403
from bridgeio.testing.suite.forking import *  # noqa: F403
from bridgeio.testing.suite.generators import *  # noqa: F403
from bridgeio.testing.suite.handshaking import *  # noqa: F403
from bridgeio.testing.suite.introspection import *  # noqa: F403
from bridgeio.testing.suite.known_bugs import *  # noqa: F403
from bridgeio.testing.suite.leaving import *  # noqa: F403
from bridgeio.testing.suite.limiting import *  # noqa: F403
from bridgeio.testing.suite.lines import *  # noqa: F403
from bridgeio.testing.suite.locking import *  # noqa: F403
from bridgeio.testing.suite.multicasting import *  # noqa: F403
from bridgeio.testing.suite.names import *  # noqa: F403
from bridgeio.testing.suite.offloading import *  # noqa: F403
from bridgeio.testing.suite.overseeing import *  # noqa: F403
from bridgeio.testing.suite.paths import *  # noqa: F403
from bridgeio.testing.suite.portals import *  # noqa: F403
from bridgeio.testing.suite.processes import *  # noqa: F403
from bridgeio.testing.suite.promises_groups import *  # noqa: F403
from bridgeio.testing.suite.promises_scopes import *  # noqa: F403
from bridgeio.testing.suite.promises_waits import *  # noqa: F403
from bridgeio.testing.suite.queueing import *  # noqa: F403
from bridgeio.testing.suite.quiet import *  # noqa: F403
from bridgeio.testing.suite.readiness import *  # noqa: F403
from bridgeio.testing.suite.running import *  # noqa: F403
from bridgeio.testing.suite.scopes import *  # noqa: F403
from bridgeio.testing.suite.serving import *  # noqa: F403
from bridgeio.testing.suite.signalling import *  # noqa: F403
from bridgeio.testing.suite.standard_streams import *  # noqa: F403
from bridgeio.testing.suite.strangers import *  # noqa: F403
from bridgeio.testing.suite.streams import *  # noqa: F403
from bridgeio.testing.suite.stress import *  # noqa: F403
from bridgeio.testing.suite.sweeps import *  # noqa: F403
from bridgeio.testing.suite.sweeps_datagrams import *  # noqa: F403
from bridgeio.testing.suite.sweeps_files import *  # noqa: F403
from bridgeio.testing.suite.sweeps_locks import *  # noqa: F403
from bridgeio.testing.suite.sweeps_natives import *  # noqa: F403
from bridgeio.testing.suite.sweeps_processes import *  # noqa: F403
from bridgeio.testing.suite.sweeps_queues import *  # noqa: F403
from bridgeio.testing.suite.sweeps_readiness import *  # noqa: F403
from bridgeio.testing.suite.sweeps_servers import *  # noqa: F403
from bridgeio.testing.suite.sweeps_signals import *  # noqa: F403
from bridgeio.testing.suite.sweeps_standard import *  # noqa: F403
from bridgeio.testing.suite.sweeps_tasks import *  # noqa: F403
from bridgeio.testing.suite.sweeps_threads import *  # noqa: F403
from bridgeio.testing.suite.sweeps_tls import *  # noqa: F403
from bridgeio.testing.suite.sweeps_wrapping import *  # noqa: F403
from bridgeio.testing.suite.synchronising import *  # noqa: F403
from bridgeio.testing.suite.tasks import *  # noqa: F403
from bridgeio.testing.suite.ticking import *  # noqa: F403
from bridgeio.testing.suite.unix_datagrams import *  # noqa: F403
from bridgeio.testing.suite.worker_processes import *  # noqa: F403
from bridgeio.testing.suite.wrapping import *  # noqa: F403
from bridgeio.testing.suite.wrapping_sockets import *  # noqa: F403
from bridgeio.testing.suite.writing import *  # noqa: F403

# The fixture too: a test file that takes everything has to find what the chapters lean on.
__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
