"""What an adapter promises beyond what the contract asks of all: declared, listed, never passed over in silence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bridgeio.records import Record

__all__ = ["Capabilities"]


class Capabilities(Record, kw_only=True):
    """Promises that not every framework can keep. ``False`` needs a reason in ``reasons``."""

    native_await: bool = True
    """A task may await the framework's own awaitables (or block in its own calls) beside ours."""
    native_await_cancelled: bool = True
    """A scope can end such a wait."""
    native_await_cancelled_once: bool = True
    """It does so once for each cancel, and the framework's code may wait again while it cleans up."""
    native_tasks: bool = True
    """bridgeio's functions work when called directly in a task that the framework itself started."""
    native_cancel: bool = True
    """The framework's own way to cancel a task passes through our waits as what it is."""
    orderly_exit: bool = True
    """KeyboardInterrupt and SystemExit come out of the run from wherever they are raised, after all cleanup."""
    async_generators: bool = True
    """Async generators that are left half-way clean up inside their run, and may wait while they do."""
    freed_at_once: bool = True
    """A task that has ended, and a group's failure, are freed at once: no work for the garbage collector."""
    parallel_runs: bool = True
    """Two threads may be inside `bridgeio.run` on this backend at once."""
    cancel_name_resolution: bool = True
    """A scope can end a wait for the name service at once."""
    signals_in_any_task: bool = True
    """Any task of a run in the main thread may open a signal receiver, and not only the main task."""
    reasons: Mapping[str, str] = MappingProxyType({})

    def lacking(self) -> dict[str, str]:
        """The promises not kept, each with its reason."""
        names = [name for name in self._fields if name != "reasons"]
        return {name: self.reasons.get(name, "no reason given") for name in names if not getattr(self, name)}
