"""Work at regular times, at a time of the day, at most so often, and once more after a failure."""

import logging
import random
import time
from math import inf

import bridgeio


async def report_every(seconds, report):
    expected = 0
    async for number in bridgeio.every(seconds):
        if number > expected:
            logging.warning("%d reports left out", number - expected)
        await report()
        expected = number + 1


async def wait_for_the_clock(when):
    """Until a time of the day: a `datetime` with its time zone."""
    while (left := when.timestamp() - time.time()) > 0:
        await bridgeio.sleep(min(left, 60))  # somebody may set the clock meanwhile


class Pace:
    """Turns at least so many seconds apart, for any number of tasks, in the order in which they ask."""

    def __init__(self, seconds):
        self._seconds = seconds
        self._last = -inf

    async def turn(self):
        self._last = max(self._last + self._seconds, bridgeio.current_time())
        await bridgeio.sleep_until(self._last)


async def with_retries(operation, pauses=(0.1, 0.2, 0.4, 0.8)):
    """The last attempt's failure comes out. A deadline for all of it is the caller's."""
    for pause in pauses:
        try:
            return await operation()
        except OSError:
            await bridgeio.sleep(pause * random.uniform(0.5, 1.5))  # so that not all clients come back at once
    return await operation()
