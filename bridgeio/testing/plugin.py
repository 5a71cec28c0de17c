"""The pytest plugin: every test marked ``bridgeio`` on every installed backend.

* ``@pytest.mark.bridgeio`` on an ``async def test_...`` (or on its module) runs it as a task of each
  backend, and fails it if it ran elsewhere, took too long, or left descriptors or threads behind.
* ``@pytest.mark.bridgeio("trio", "asyncio")`` does so on these alone.
* A marked test that asks for the ``backend`` fixture gets the name; a synchronous one is only repeated
  for each backend, and runs wherever it likes.
* ``@pytest.mark.bridgeio_needs("native_await", ...)`` names capabilities that a test cannot do without.
  On an adapter that declares one away the test is skipped, and listed under "not promised".
* ``@pytest.mark.bridgeio_promise(1, ...)`` and ``@pytest.mark.bridgeio_bug("name", ...)`` change nothing:
  they say what a test stands for; see `bridgeio.testing.promises`.

Options: ``--backend NAME`` (repeatable), ``--reactor NAME`` for Twisted, ``--bridgeio-timeout SECONDS``.
``BRIDGEIO_REACTOR`` does the same as ``--reactor``; ``BRIDGEIO_PATCHED=1`` calls gevent's ``patch_all()``
first and tests gevent alone: such a process is no place for the others.
"""

from __future__ import annotations

import faulthandler
import os
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import astuple
from functools import partial
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest

from bridgeio.testing import hooks
from bridgeio.testing.choosing import REACTOR, chosen_backends, install_reactor, options_for, patch_if_asked

# First of all: what is imported from here on must find the library as it will be.
patch_if_asked()

from bridgeio.registry import adapter  # noqa: E402
from bridgeio.testing.carrying import Carrier  # noqa: E402
from bridgeio.testing.natives import Native, native_of  # noqa: E402
from bridgeio.testing.proof import Witness, witness_of  # noqa: E402
from bridgeio.testing.reporting import (  # noqa: E402
    NOT_PROMISED,
    header,
    not_promised_lines,
    repeat_commands,
    swept_line,
)
from bridgeio.testing.sweeping import Swept, sweeps_done  # noqa: E402
from bridgeio.testing.timeouts import show_tasks_at_alarm  # noqa: E402

__all__: list[str] = []

TIMEOUT = 30.0  # seconds for one async test
STANDSTILL = 10.0  # seconds that a machine may stand still and be no reason to give a test up

BACKEND, SWEPT = "bridgeio_backend", "bridgeio_swept"  # what a report says

pytest.register_assert_rewrite("bridgeio.testing.suite")

_carriers = pytest.StashKey[dict[str, Carrier]]()
_last_words = pytest.StashKey[int]()
_is_headed = pytest.StashKey[bool]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bridgeio", "bridgeio: one test on every framework")
    group.addoption("--backend", action="append", default=[], metavar="NAME", help="test only this backend; repeatable")
    group.addoption("--reactor", default=os.environ.get(REACTOR), help="Twisted's: epoll, poll, select or asyncio")
    group.addoption("--bridgeio-timeout", type=float, default=TIMEOUT, help="seconds for one async test")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "bridgeio(*backends): run as a task of every backend, or of these")
    config.addinivalue_line("markers", "bridgeio_needs(*capabilities): what an adapter must promise for this test")
    config.addinivalue_line("markers", "bridgeio_promise(*numbers): the promises that this test stands for")
    config.addinivalue_line("markers", "bridgeio_bug(*names): the known mistakes that this test would find")
    config.stash[_carriers] = {}
    config.stash[_last_words] = os.dup(2)  # by now it is still the real one: pytest captures later
    reactor = config.getoption("reactor")
    if reactor and "twisted" in chosen_backends(_asked(config)):
        install_reactor(reactor)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_last_words])


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """The header. It comes only now, because a session that tests no bridge should not have to read it."""
    return _header(config) if any(item.get_closest_marker("bridgeio") for item in items) else []


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """An async test need not name the fixture that it is repeated for."""
    if iscoroutinefunction(obj) and collector.istestfunction(obj, name):
        own = {mark.name for mark in getattr(obj, "pytestmark", ())}
        if "bridgeio" in own or collector.get_closest_marker("bridgeio"):
            pytest.mark.usefixtures("backend")(obj)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker("bridgeio")
    if mark is not None and "backend" in metafunc.fixturenames:
        chosen = chosen_backends(_asked(metafunc.config))
        wanted = [name for name in chosen if name in mark.args] if mark.args else chosen
        metafunc.parametrize("backend", wanted, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test for backends that this session is not about is left out; pytest alone would call it skipped."""
    out = [item for item in items if _is_for_no_backend(item)]
    if out:
        items[:] = [item for item in items if not _is_for_no_backend(item)]
        config.hook.pytest_deselected(items=out)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The name of the backend that this test is about."""
    if not hasattr(request, "param"):
        pytest.fail("the fixture `backend` is for tests marked @pytest.mark.bridgeio: mark this one", pytrace=False)
    return str(request.param)


@pytest.fixture
def backend_options(backend: str, request: pytest.FixtureRequest) -> Mapping[str, object]:
    """What `bridgeio.run` has to be told beside the backend's name in this session."""
    return options_for(backend, request.config.getoption("reactor"))


@pytest.fixture
def native(backend: str) -> Native:
    """The framework's own waits, and its own way to cancel."""
    found = native_of(backend)
    if found is None:
        pytest.skip(f"the kit knows no native waits of {backend}")
    return found


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """An empty folder for UNIX sockets, whose paths may not be long: ``tmp_path`` is, on many machines."""
    with tempfile.TemporaryDirectory(prefix="bridgeio-", dir="/tmp") as folder:
        yield Path(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    name = _backend_of(item)
    if name is None:
        return
    lacking = adapter(name).capabilities.lacking()
    for mark in item.iter_markers("bridgeio_needs"):
        for capability in mark.args:
            if capability in lacking:
                pytest.skip(f"{NOT_PROMISED}{name}, {capability}: {lacking[capability]}")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not _is_carried(pyfuncitem):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in _parameters(pyfuncitem)}
    _carrier(pyfuncitem.config, str(pyfuncitem.funcargs["backend"])).carry(partial(pyfuncitem.obj, **arguments))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Where nothing else ends a test that hangs, the process dumps every thread's stack and ends."""
    name = _backend_of(item)
    if name is None or item.config.pluginmanager.hasplugin("timeout"):
        return (yield)
    if isinstance(item, pytest.Function) and _is_carried(item):
        _carrier(item.config, name).warm_up()  # importing a framework is no part of the test
    patience = 3 * _timeout(item.config) + STANDSTILL
    faulthandler.dump_traceback_later(patience, exit=True, file=item.config.stash[_last_words])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, Any, Any]:
    """Where pytest-timeout is installed, and ends a test by a signal, it shows the tasks first."""
    is_set = yield
    if getattr(settings, "method", None) == "signal":
        show_tasks_at_alarm()
    return is_set


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [report for kind in list(terminalreporter.stats) for report in _reports(terminalreporter, kind)]
    skipped = [(report.nodeid, str(report.longrepr[2])) for report in _reports(terminalreporter, "skipped")]
    failed = [
        (report.nodeid, dict(report.user_properties).get(BACKEND))
        for kind in ("failed", "error")
        for report in _reports(terminalreporter, kind)
    ]
    swept = [Swept(*value) for report in reports for key, value in report.user_properties if key == SWEPT]
    options = ["-p", __name__] if config.pluginmanager.hasplugin(__name__) else []
    if not config.stash.get(_is_headed, False) and any(BACKEND in dict(report.user_properties) for report in reports):
        _section(terminalreporter, "bridgeio: tested by workers", _header(config))
    _section(terminalreporter, "bridgeio: not promised", list(not_promised_lines(skipped)))
    if swept:
        terminalreporter.line(swept_line(swept))
    if any(name for _, name in failed):
        _section(terminalreporter, "bridgeio: to repeat a failure", list(repeat_commands(failed, options)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A report is all that comes from a worker of pytest-xdist, so it brings what the summary tells."""
    report = yield
    name = _backend_of(item)
    if name is not None:
        report.user_properties.append((BACKEND, name))
    report.user_properties += [(SWEPT, astuple(swept)) for swept in sweeps_done()]
    return report


def _header(config: pytest.Config) -> list[str]:
    config.stash[_is_headed] = True
    chosen = chosen_backends(_asked(config))
    return list(header(chosen, [name for name in chosen if not _witness(config, name).independent]))


def _section(terminal: pytest.TerminalReporter, title: str, lines: list[str]) -> None:
    if lines:
        terminal.section(title)
        for line in lines:
            terminal.line(line)


def _reports(terminal: pytest.TerminalReporter, kind: str) -> list[Any]:
    return [report for report in terminal.stats.get(kind, []) if isinstance(report, pytest.TestReport)]


def _backend_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("backend") if callspec is not None else None
    return name if isinstance(name, str) else None


def _is_for_no_backend(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    repeated = callspec is not None and "backend" in callspec.params
    return repeated and _backend_of(item) is None and item.get_closest_marker("bridgeio") is not None


def _parameters(item: pytest.Function) -> tuple[str, ...]:
    """The fixtures that the test names itself."""
    code = item.obj.__code__
    wanted = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return tuple(name for name in wanted if name in item.funcargs)


def _witness(config: pytest.Config, name: str) -> Witness:
    brought: Witness | None = config.hook.pytest_bridgeio_witness(backend=name)
    return brought if brought is not None else witness_of(name)


def _asked(config: pytest.Config) -> list[str]:
    return list(config.getoption("backend") or ())


def _timeout(config: pytest.Config) -> float:
    return float(config.getoption("bridgeio_timeout") or 0)


def _is_carried(function: pytest.Function) -> bool:
    return iscoroutinefunction(function.obj) and function.get_closest_marker("bridgeio") is not None


def _carrier(config: pytest.Config, name: str) -> Carrier:
    known = config.stash[_carriers]
    if name not in known:
        options = options_for(name, config.getoption("reactor"))
        known[name] = Carrier(_witness(config, name), options, _timeout(config))
    return known[name]
