"""Which adapters there are, which contract they keep, and who is asked where a call comes from."""

from __future__ import annotations

import sys
import threading
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

import bridgeio
from bridgeio import registry
from bridgeio.contract import CURRENT, Adapter, Backend, Capabilities, Probe
from bridgeio.errors import AdapterError
from fake_host import FakeTask


@pytest.fixture(autouse=True)
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test registers is forgotten by the next, and what was loaded before stays as it was."""
    for name in ("_adapters", "_loaded", "_probes", "adapter", "backend"):
        monkeypatch.setattr(registry, name, cache(getattr(registry, name).__wrapped__))


def announce(monkeypatch: pytest.MonkeyPatch, described: object, name: str = "strange") -> None:
    """Installs a stranger's adapter, as far as the registry can see."""
    module: Any = ModuleType("strange_adapter")
    module.__spec__ = ModuleSpec("strange_adapter", None, origin="strange_adapter.py")
    module.ADAPTER = described
    monkeypatch.setitem(sys.modules, "strange_adapter", module)
    entry = EntryPoint(name, "strange_adapter:ADAPTER", "bridgeio.adapters")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])


def strange(**changes: Any) -> Adapter:
    facts: dict[str, Any] = {
        "name": "strange",
        "framework": "Strange",
        "requires": (),
        "install": "bridgeio-strange",
        "load": lambda: pytest.fail("nobody asked for the framework"),
    }
    return Adapter(**(facts | changes))


def test_first_party_adapters_need_no_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a frozen program, which has none, the adapters that are there are known all the same."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])
    assert {"asyncio", "uvloop"} <= set(bridgeio.known_backends())


def test_a_strangers_adapter_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point is enough; its framework is not imported to be listed."""
    announce(monkeypatch, strange())
    assert "strange" in bridgeio.known_backends()
    assert "strange" in bridgeio.available_backends()


def test_a_stranger_cannot_take_our_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point called like one of ours changes nothing."""
    announce(monkeypatch, strange(name="asyncio"), "asyncio")
    assert registry.adapter("asyncio").framework == "asyncio"


def test_an_absent_adapter_is_not_half_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name whose package is not there is not known at all."""
    monkeypatch.setitem(registry.FIRST_PARTY, "later", "bridgeio_later:ADAPTER")
    assert "later" not in bridgeio.known_backends()


def test_an_unknown_backend_names_the_known() -> None:
    """The error is a LookupError, and its message is no quoted key."""
    with pytest.raises(bridgeio.BackendNotFoundError) as caught:
        registry.backend("nonsense")
    assert isinstance(caught.value, LookupError)
    assert str(caught.value).startswith("there is no backend called 'nonsense'; known: asyncio")


@pytest.mark.parametrize("name", [None, 3, ["asyncio"]])
def test_a_backend_that_is_no_name(name: Any) -> None:
    """Anything but a name is not found, and not a TypeError from somewhere inside."""
    with pytest.raises((bridgeio.BackendNotFoundError, TypeError)):
        registry.backend(name)


def test_a_missing_framework_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known, but not installed: an ImportError with the missing module and the command."""
    announce(monkeypatch, strange(requires=("no_such_framework",)))
    assert "strange" in bridgeio.known_backends()
    assert "strange" not in bridgeio.available_backends()
    with pytest.raises(bridgeio.BackendNotInstalledError, match='pip install "bridgeio-strange"') as caught:
        registry.backend("strange")
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "no_such_framework"


@pytest.mark.parametrize("version", [(2, 0), (0, 9), (1, 99)])
def test_a_contract_of_another_time_is_refused(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]) -> None:
    """Another major version, or a newer minor one than this bridgeio has, does not fit."""
    announce(monkeypatch, strange(contract=version))
    with pytest.raises(AdapterError, match=f"{version[0]}.{version[1]}"):
        registry.adapter("strange")


def test_what_is_no_adapter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point that leads to something else says so."""
    announce(monkeypatch, object())
    with pytest.raises(AdapterError, match="strange_adapter:ADAPTER"):
        registry.adapter("strange")


def test_capabilities_that_are_lacking_have_a_reason() -> None:
    """What is declared away is listed with its reason, and what is kept is not."""
    declared = Capabilities(native_await=False, native_cancel=False, reasons={"native_await": "it has none"})
    assert declared.lacking() == {"native_await": "it has none", "native_cancel": "no reason given"}
    assert Capabilities().lacking() == {}


def test_every_capability_of_ours_that_is_lacking_says_why() -> None:
    """None of our own adapters declares a promise away without a word."""
    for name in bridgeio.known_backends():
        assert "no reason given" not in registry.adapter(name).capabilities.lacking().values()


def test_probes_are_asked_in_the_order_of_their_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that says yes decides; a stranger's is asked after ours, unless it chose a rank."""
    asked: list[int] = []

    def inside(rank: int) -> bool:
        asked.append(rank)
        return rank == 60

    made: list[Backend] = []

    class Strange(Backend):
        name = "strange"

        def run(self, main: Any, options: Any) -> Any:
            raise NotImplementedError

        def current_task(self) -> Any:
            return task

        def versions(self) -> dict[str, str]:
            return {}

    task = FakeTask()
    made.append(Strange())
    probes = tuple(Probe(rank, partial(inside, rank)) for rank in (70, 5, 60))
    announce(monkeypatch, strange(probes=probes, load=lambda: made[0]))
    assert registry.current_task() is task
    assert asked == [5, 60]
    assert registry.surrounding_backend() is made[0]


def test_outside_everything_there_is_no_backend() -> None:
    """Each call that needs one says so, and what to do."""
    with pytest.raises(bridgeio.NoBackendError, match=r"bridgeio\.run"):
        bridgeio.current_backend()
    assert registry.surrounding_backend() is None


def test_an_inherited_task_is_not_believed() -> None:
    """A context that was copied from a task's, in a callback, does not make its code that task."""
    token = CURRENT.set(FakeTask())
    try:
        with pytest.raises(bridgeio.NoBackendError):
            registry.current_task()
    finally:
        CURRENT.reset(token)


def test_two_threads_that_ask_at_once_get_one_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend is loaded once, also if a second thread asks for it while it is being loaded."""
    loaded: list[object] = []
    got: list[object] = []
    second_has_asked = threading.Event()
    second = threading.Thread(target=lambda: got.append(registry.backend("strange")))

    class Announcing:
        """The registry's lock, which tells when the second thread comes to it."""

        lock = registry._LOADING

        def __enter__(self) -> None:
            if threading.current_thread() is second:
                second_has_asked.set()
            self.lock.acquire()

        def __exit__(self, *exc: object) -> None:
            self.lock.release()

    def load() -> Any:
        loaded.append(object())
        if len(loaded) == 1:
            second.start()
        else:
            second_has_asked.set()
        second_has_asked.wait()
        return loaded[-1]

    monkeypatch.setattr(registry, "_LOADING", Announcing())
    announce(monkeypatch, strange(load=load))
    got.append(registry.backend("strange"))
    second.join()
    assert got == [loaded[0]] * 2
