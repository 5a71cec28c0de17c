"""Threads that call a loop of somebody else's, which ends without a turn for the call: they hear of that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bridgeio.registry import is_installed
from fresh import run

PROGRAM = """
import asyncio
from bridgeio import from_thread, lowlevel
from bridgeio.testing.foreign import ForeignThread

async def token_of_this():
    return lowlevel.current_token()

async def never_called():
    raise AssertionError

def calls(token):
    for call in (lambda: from_thread.run(never_called, token=token), lambda: from_thread.run_sync(int, token=token)):
        try:
            call()
        except RuntimeError as error:
            print(error)

def visit(token):
    '''Returns when the thread's call is there, or was refused.'''
    visitor = ForeignThread(calls, token)
    while not token.host._asked() and not visitor.ended:
        pass
    return visitor

def through(loop):
    return visit(loop.run_until_complete(token_of_this()))
"""

WORLDS = {
    "asyncio": """
loop = asyncio.new_event_loop()
visitor = through(loop)
loop.close()
""",
    "uvloop": """
import uvloop
loop = uvloop.new_event_loop()
visitor = through(loop)
loop.close()
""",
    "tornado": """
from tornado.ioloop import IOLoop
loop = IOLoop(make_current=False)
visitor = visit(loop.run_sync(token_of_this))
loop.close()
""",
    "trio": """
import trio
visitor = visit(trio.run(token_of_this))
""",
    "twisted": """
from twisted.internet import reactor
import bridgeio_twisted
tokens = []
def begin():
    told = bridgeio_twisted.as_deferred(token_of_this())
    told.addCallback(tokens.append)
    told.addBoth(lambda _: reactor.stop())
reactor.callWhenRunning(begin)
reactor.run()
visitor = visit(tokens[0])
""",
    "gevent": """
import gevent
import bridgeio_gevent
visitor = visit(bridgeio_gevent.spawn(token_of_this).get())
gevent.get_hub().destroy(destroy_loop=True)
""",
}


@pytest.mark.parametrize("world", WORLDS)
def test_a_thread_hears_of_a_loop_that_was_closed(world: str, tmp_path: Path) -> None:
    """Each call is a RuntimeError, where nobody has told bridgeio that the loop will make none any more."""
    if not is_installed(world):
        pytest.skip(f"{world} is not installed")
    said = run(sys.executable, "-c", f"{PROGRAM}{WORLDS[world]}visitor.join()\n", cwd=tmp_path)
    assert said == "the run that this thread called has ended\n" * 2
