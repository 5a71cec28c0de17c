"""The lockers on gevent, the other way round: the old handler over the lockers that have moved.

python reverse.py --port 7000
"""

import argparse

from after import Lockers
from before import serve

import bridgeio


class BlockingLockers(Lockers):
    """For callers that have not moved."""

    def take(self, number, seconds):
        return bridgeio.blocking(super().take)(number, seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    serve(BlockingLockers(), options.port, options.idle)
