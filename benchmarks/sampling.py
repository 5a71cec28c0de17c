"""``python -m benchmarks.sampling NAME JOB``: a server that tells which part of the program its processor time goes to.

The interpreter calls a signal handler as soon as the C function that it is in returns, in the frame that has called
it; so the time of a system call is that of its line. Signal handlers run in the main thread: a server of threads
cannot be looked at in this way.
"""

from __future__ import annotations

import json
import linecache
import os
import re
import signal
import sys
from collections import Counter
from types import FrameType

import bridgeio
from benchmarks.server import main

__all__ = ["ASK", "PARTS"]

ASK = signal.SIGUSR1  # has the counts printed, and begun anew
PARTS = ("receive", "send", "poll", "bridgeio", "adapter", "framework", "handler")

_TICK = 0.001  # seconds of the processor; the system may have a coarser idea
_CALLS = {"receive": re.compile(r"\brecv\("), "send": re.compile(r"\bsend\("), "poll": re.compile(r"poll\(")}
_HANDLER = os.path.join(os.path.dirname(__file__), "ours.py")
_CORE = os.path.dirname(bridgeio.__file__) + os.sep
_ADAPTER = f"{os.sep}bridgeio_"


def begin() -> None:
    counts: Counter[str] = Counter()

    def count(signum: int, frame: FrameType | None) -> None:
        assert frame is not None
        counts[_part_of(frame)] += 1

    def tell(signum: int, frame: FrameType | None) -> None:
        print(json.dumps(counts), flush=True)
        counts.clear()

    signal.signal(signal.SIGPROF, count)
    signal.signal(ASK, tell)
    signal.setitimer(signal.ITIMER_PROF, _TICK, _TICK)


def _part_of(frame: FrameType) -> str:
    file = frame.f_code.co_filename
    if file == _HANDLER:
        return "handler"
    line = linecache.getline(file, frame.f_lineno or 0)  # none within what a function begins with
    for part, call in _CALLS.items():
        if call.search(line):
            return part
    if file.startswith(_CORE):
        return "bridgeio"
    return "adapter" if _ADAPTER in file else "framework"


if __name__ == "__main__":
    begin()
    main(*sys.argv[1:])
