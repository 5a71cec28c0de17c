"""What bridgeio promises to an application that runs on Twisted's reactor already.

A process has one reactor, so `test_twisted` starts one process for each kind of reactor, in which
`keep_all` keeps one promise after the other. Each function is Twisted's: it runs under
``Deferred.fromCoroutine``. The docstring is the promise.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import traceback
import warnings
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python import log

Promise = Callable[[Any], Coroutine[Any, Any, None]]
PROMISES: dict[str, Promise] = {}


def promise(function: Promise) -> Promise:
    PROMISES[function.__name__] = function
    return function


def keep_all(kind: str) -> None:
    """The whole program of one process: prints the traceback of each promise that was not kept."""
    import_module("twisted_neighbours")
    import_module("twisted_results")
    import_module("twisted_surroundings")
    faulthandler.dump_traceback_later(45, exit=True)
    warnings.simplefilter("error")
    reactor = install(kind)
    broken: dict[str, str] = {}
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(_keep(broken)).addBoth(lambda _: reactor.stop()))
    reactor.run()
    print(json.dumps(broken))  # noqa: T201 - it is what the test reads


def install(kind: str) -> Any:
    import_module(f"twisted.internet.{kind}reactor").install()
    return installed()


def installed() -> Any:
    """The reactor, without its many interfaces."""
    from twisted.internet import reactor

    return reactor


async def _keep(broken: dict[str, str]) -> None:
    logged: list[Any] = []
    log.addObserver(logged.append)
    for name, kept in PROMISES.items():
        try:
            await kept(installed())
            gc.collect()  # a Deferred says only then that nobody heard of its failure
            assert [event["why"] for event in logged if event["isError"]] == []
        except BaseException:
            broken[name] = traceback.format_exc() + "".join(map(repr, logged))
        logged.clear()


async def raises(kind: type[BaseException], deferred: Deferred[Any]) -> str:
    """The message of the error that a Deferred fails with."""
    try:
        result = await deferred
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} did not come, but {result!r}")


def turn(reactor: Any) -> Deferred[None]:
    return deferLater(reactor, 0, lambda: None)
