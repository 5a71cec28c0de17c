"""The standard library as it was before ``gevent.monkey.patch_all()`` replaced parts of it.

The engine owns its sockets and never blocks in them, so it wants the plain ones: after patching,
``socket.socket`` is a wrapper, ``select.epoll`` is gone, and a thread is a greenlet. gevent keeps
what it replaced and hands it back on request. Nothing is imported here: no patching has happened
when gevent's module is not loaded.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["forget_thread", "get_ident", "original"]


def original(module: str, name: str) -> Any:
    """The attribute ``name`` of a standard module, whether or not it has been patched.

    :raises AttributeError: if this platform does not have it.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


get_ident: Callable[[], int] = original("_thread", "get_ident")  # a patched one tells greenlets apart


def forget_thread() -> None:
    """For the end of a thread that ``_thread`` started: whoever asked ``threading`` for it, as logging does, left
    an entry there that 3.11 keeps for ever."""
    active: dict[int, Any] = getattr(sys.modules.get("threading"), "_active", {})
    active.pop(get_ident(), None)
