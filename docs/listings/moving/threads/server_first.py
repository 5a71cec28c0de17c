"""The lockers on blocking threads, begun at the other end: bridgeio serves, and the old lockers block in threads.

python server_first.py --backend asyncio --port 7000
"""

import argparse
from functools import partial

from before import LONGEST_LINE, Lockers
from between import serve_client

import bridgeio


class LockersInThreads:
    """The old lockers, as the new code knows them."""

    def __init__(self, lockers):
        self._lockers = lockers
        self._waiting = bridgeio.CapacityLimiter(500)  # threads; without it at most 40, the run's own limit

    def __len__(self):
        return len(self._lockers)

    def put(self, number, text):
        return self._lockers.put(number, text)  # its lock is never held for long, so it needs no thread

    def is_full(self, number):
        return self._lockers.is_full(number)

    async def take(self, number, seconds):
        """Cancelled, it leaves its thread behind, which may take a text for nobody: only at the end of the program."""
        return await bridgeio.to_thread.run_sync(
            self._lockers.take, number, seconds, abandon_on_cancel=True, limiter=self._waiting
        )


def announce(server):
    print("listening on port", server.port, flush=True)


def main():
    parser = argparse.ArgumentParser(description="Lockers for texts, over TCP.")
    parser.add_argument("--backend", default="threads", choices=bridgeio.available_backends())
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds that a client may be silent")
    options = parser.parse_args()
    lockers = Lockers()
    bridgeio.run_server(
        partial(serve_client, LockersInThreads(lockers), options.idle),
        "127.0.0.1",
        options.port,
        backend=options.backend,
        limit=LONGEST_LINE,
        grace=0,
        on_started=announce,
    )
    lockers.close()  # lets the threads go that were left behind


if __name__ == "__main__":
    main()
