"""Code that blocks, beside a run: a database, a library with threads of its own, and what may never end."""

import re
import sqlite3
from contextlib import suppress

import bridgeio
from bridgeio import from_thread, lowlevel, to_process, to_thread


class Notes:
    """A connection that only one thread at a time may use: a limiter with one token sees to that."""

    def __init__(self, path):
        self._one = bridgeio.CapacityLimiter(1)
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute("CREATE TABLE IF NOT EXISTS notes (name PRIMARY KEY, text)")

    async def put(self, name, text):
        await to_thread.run_sync(self._put, name, text, limiter=self._one)

    async def get(self, name):
        return await to_thread.run_sync(self._get, name, limiter=self._one)

    def _put(self, name, text):
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text))

    def _get(self, name):
        row = self._database.execute("SELECT text FROM notes WHERE name = ?", (name,)).fetchone()
        return row and row[0]

    def close(self):
        self._database.close()


async def readings(subscribe, count):
    """What a library reports in a thread of its own, by a callback: from there into a queue of this run."""
    queue = bridgeio.Queue(100)
    token = lowlevel.current_token()

    def report(value):
        with suppress(bridgeio.QueueShutDown):
            from_thread.run(queue.put, value, token=token)  # waits while the queue is full

    unsubscribe = subscribe(report)
    try:
        return [await queue.get() for _ in range(count)]
    finally:
        queue.shutdown(immediate=True)  # a callback that waits, or still comes, ends at once
        with bridgeio.CancelScope(shield=True):
            await to_thread.run_sync(unsubscribe)  # which may wait for the library's thread


async def search(pattern, text, patience):
    """Python's ``re`` keeps the interpreter's lock, and may take for ever: only a process can be ended."""
    with bridgeio.fail_after(patience):
        return await to_process.run_sync(re.findall, pattern, text, cancellable=True)
