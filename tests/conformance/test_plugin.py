"""The kit itself: a test counts only if it ran where its id says, and what it says is true.

Each test here runs a session of its own on a test file of a user's.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from textwrap import dedent

import pytest

import bridgeio
from fresh import plugin_options
from needs import absent

FIRST_PARTY = ("asyncio", "uvloop", "trio", "tornado", "twisted", "gevent", "threads")

LYING = """
    import contextlib
    import pytest
    from bridgeio import registry

    @pytest.fixture(autouse=True)
    def everything_on_asyncio(monkeypatch):
        '''A registry that hands out asyncio, whatever it is asked for, and says that it did as told.'''
        from bridgeio import running
        honest = registry.backend("asyncio")
        monkeypatch.setattr(running, "load_backend", lambda name: honest)
        monkeypatch.setattr("bridgeio.current_backend", lambda: "trio")
"""

PASSING = """
    import bridgeio
    import pytest

    @pytest.mark.bridgeio
    async def test_something():
        await bridgeio.sleep(0)
"""


SWEEPING = """
    from contextlib import asynccontextmanager
    import bridgeio
    from bridgeio.testing import Moment, sweep
    import pytest

    pytestmark = pytest.mark.bridgeio

    @asynccontextmanager
    async def two_waits():
        async def operation():
            await bridgeio.sleep(0.001)
            await bridgeio.sleep(0.001)

        yield operation

    async def test_swept():
        await sweep(two_waits, moments=[Moment.WAITING])

    async def test_fails():
        assert False
"""


@pytest.fixture
def session(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a user's tests, in which the kit is found whether or not it is installed. The user has
    chosen no world for the kit, whatever the one is that these tests run in."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    monkeypatch.delenv("BRIDGEIO_PATCHED", raising=False)
    monkeypatch.delenv("BRIDGEIO_REACTOR", raising=False)
    return pytester


def run(session: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return session.runpytest_subprocess(*plugin_options(), "-p", "no:cacheprovider", *arguments, timeout=50)


@pytest.mark.parametrize("name", FIRST_PARTY)
def test_every_framework_is_here(name: str) -> None:
    """Where our own tests run every framework of ours is installed: or nobody would notice that one is left out."""
    if name not in bridgeio.available_backends():
        absent(f"the backend {name}")


def test_an_async_test_runs_on_every_backend(session: pytest.Pytester) -> None:
    """One ``async def`` is one test for each installed backend, named in the id."""
    session.makepyfile(PASSING)
    result = run(session, "-v")
    result.assert_outcomes(passed=len(bridgeio.available_backends()))
    for name in bridgeio.available_backends():
        result.stdout.fnmatch_lines([f"*::test_something?{name}? PASSED*"])


def test_backends_can_be_chosen(session: pytest.Pytester) -> None:
    """``--backend`` restricts, and may be repeated; so does the marker."""
    session.makepyfile(
        PASSING
        + """
    @pytest.mark.bridgeio("trio")
    async def test_on_trio(backend):
        assert backend == "trio"
"""
    )
    run(session, "--backend", "asyncio", "--backend", "trio").assert_outcomes(passed=3)


@pytest.mark.parametrize("name", ["nonsense", ""])
def test_an_unknown_backend_is_a_usage_error(session: pytest.Pytester, name: str) -> None:
    """A name that is not known is refused with those that are."""
    session.makepyfile(PASSING)
    result = run(session, "--backend", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR or result.ret == pytest.ExitCode.INTERRUPTED
    assert "known are asyncio" in result.stdout.str() + result.stderr.str()


def test_an_unknown_reactor_is_a_usage_error(session: pytest.Pytester) -> None:
    """It says which there are."""
    session.makepyfile(PASSING)
    result = run(session, "--reactor", "nonsense")
    result.stderr.fnmatch_lines(["ERROR: --reactor nonsense: *known: epoll, poll, select, asyncio"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_reactor_is_there_before_a_tests_own_import(session: pytest.Pytester) -> None:
    """``from twisted.internet import reactor`` in a test module would install Twisted's default one."""
    session.makepyfile("from twisted.internet import reactor\n" + dedent(PASSING))
    result = run(session, "--reactor", "poll", "--backend", "twisted")
    result.assert_outcomes(passed=1)


def test_a_test_that_ran_elsewhere_fails(session: pytest.Pytester) -> None:
    """A bridge that does not reach the other side is found out by the framework's own objects."""
    session.makeconftest(LYING)
    session.makepyfile(PASSING)
    others = [name for name in bridgeio.available_backends() if name != "asyncio"]
    result = run(session)
    result.assert_outcomes(passed=1, failed=len(others))
    for name in others:
        result.stdout.fnmatch_lines([f"*does not run on {name}*"])


def test_a_test_that_did_not_run_fails(session: pytest.Pytester) -> None:
    """A backend that returns from ``run`` without running anything passes no test."""
    session.makeconftest(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def nothing_runs(monkeypatch):
            monkeypatch.setattr("bridgeio.run", lambda function, *args, **how: None)
        """
    )
    session.makepyfile(PASSING)
    result = run(session, "--backend", "asyncio")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*without running the test*"])


def test_a_strangers_witness_is_heard(session: pytest.Pytester) -> None:
    """An adapter brings its own evidence by a hook, which then decides."""
    session.makeconftest(
        """
        from bridgeio.testing import Witness

        class Doubter(Witness):
            async def prove(self):
                self.check(False, "I do not believe it")

        def pytest_bridgeio_witness(backend):
            return Doubter(backend) if backend == "asyncio" else None
        """
    )
    session.makepyfile(PASSING)
    result = run(session, "--backend", "asyncio", "--backend", "trio")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*I do not believe it*"])


@pytest.mark.parametrize("name", bridgeio.available_backends())
def test_a_failure_shows_the_tests_own_lines(session: pytest.Pytester, name: str) -> None:
    """The traceback of an async test ends in the test, and the values of its assertion are shown."""
    session.makepyfile(
        """
        import bridgeio
        import pytest

        @pytest.mark.bridgeio
        async def test_something():
            answer = 41
            await bridgeio.sleep(0)
            assert answer == 42
        """
    )
    result = run(session, "--backend", name)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*assert answer == 42", "E*assert 41 == 42", "*test_*.py:8: AssertionError"])


def test_a_failure_says_how_to_repeat_it(session: pytest.Pytester) -> None:
    """One command, with the test and its backend, ready for a shell."""
    session.makepyfile(test_it=PASSING + "        assert False\n")
    result = run(session, "--backend", "trio")
    result.stdout.fnmatch_lines(["pytest *'test_it.py::test_something?trio?' --backend trio"])


def test_what_is_not_promised_is_listed(session: pytest.Pytester) -> None:
    """A test that needs what an adapter declared away is skipped, and listed with the reason, never silently."""
    session.makeconftest(
        """
        import pytest
        from bridgeio.contract import Capabilities
        from bridgeio.testing import plugin

        @pytest.fixture(autouse=True, scope="session")
        def a_poor_adapter():
            lacking = Capabilities(native_await=False, reasons={"native_await": "it has no such thing"})
            honest = plugin.adapter
            plugin.adapter = lambda name: honest(name).__replace__(capabilities=lacking)
            yield
            plugin.adapter = honest
        """
    )
    session.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.bridgeio

        async def test_first():
            pass

        @pytest.mark.bridgeio_needs("native_await")
        async def test_second():
            pass
        """
    )
    result = run(session, "--backend", "asyncio", "-k", "test_first or test_second")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["*bridgeio: not promised*", "asyncio, native_await: it has no such thing (1 test)", "*::test_second?asyncio?"]
    )


def test_where_everything_comes_from_is_said(session: pytest.Pytester) -> None:
    """Before the tests: the core, and each adapter with its framework's version and its folder."""
    session.makepyfile(PASSING)
    result = run(session, "--backend", "asyncio")
    result.stdout.fnmatch_lines([f"bridgeio {bridgeio.__version__}: *bridgeio", "  asyncio *bridgeio_asyncio"])


def test_workers_tell_their_session(session: pytest.Pytester) -> None:
    """Under pytest-xdist it says the same: what was under test, how far sweeps reached, how to repeat a failure."""
    if find_spec("xdist") is None:
        absent("pytest-xdist")
    session.makepyfile(SWEEPING)
    result = run(session, "--numprocesses=2", "--backend", "asyncio")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"bridgeio {bridgeio.__version__}: *",
            "  asyncio Python *",
            "bridgeio: swept 2 waits in 1 operation on 1 backend",
            "pytest *test_fails*--backend asyncio",
        ]
    )


def test_a_session_without_bridges_is_left_alone(session: pytest.Pytester) -> None:
    """Somebody else's tests see no header, and a fixture of theirs called ``backend`` stays theirs."""
    session.makepyfile(
        """
        import pytest

        @pytest.fixture
        def backend():
            return "mine"

        def test_mine(backend):
            assert backend == "mine"
        """
    )
    result = run(session)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("bridgeio *")


@pytest.mark.parametrize("what", ["descriptor", "thread"])
def test_what_a_test_leaves_behind_fails_it(session: pytest.Pytester, what: str) -> None:
    """A test that leaves a descriptor or a thread is named, and not the innocent one after it."""
    session.makeconftest(
        """
        import bridgeio.testing.resources
        bridgeio.testing.resources.PATIENCE = 5
        """
    )
    leave = {
        "descriptor": "import os; os.dup(0)",
        "thread": "import _thread as t; t.start_new_thread(wait.acquire, ())",
    }
    session.makepyfile(
        f"""
        import _thread
        import os
        import threading
        import pytest

        pytestmark = pytest.mark.bridgeio
        wait = threading.Lock()
        wait.acquire()

        async def test_leaving():
            {leave[what]}

        async def test_innocent():
            pass
        """
    )
    result = run(session, "--backend", "asyncio")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*left behind by this test*", "FAILED *test_leaving*"])


def test_a_failing_test_of_a_patched_process_closes_its_host(
    session: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the hub outlives the run: what it had is gone before the next test begins, whatever this one's outcome."""
    if find_spec("gevent") is None:
        absent("gevent is not installed")
    monkeypatch.setenv("BRIDGEIO_PATCHED", "1")
    session.makepyfile(
        """
        import bridgeio
        import bridgeio_gevent
        import pytest
        from bridgeio.registry import current_host

        failed = []

        @pytest.mark.bridgeio
        async def test_fails():
            failed.append(current_host())
            bridgeio_gevent.spawn(bridgeio.sleep, 0).join()  # who enters like this shares the host with the hub
            assert False

        def test_next():
            assert failed[0].is_over
        """
    )
    run(session).assert_outcomes(failed=1, passed=1)


def test_the_fixture_wants_the_mark(session: pytest.Pytester) -> None:
    """A test that asks for ``backend`` and is not marked is told to be."""
    session.makepyfile("def test_unmarked(backend): pass")
    result = run(session, "--backend", "asyncio")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*for tests marked @pytest.mark.bridgeio: mark this one*"])


def test_a_test_that_hangs_is_ended(session: pytest.Pytester) -> None:
    """Without pytest-timeout too: the test fails where it waits, and the session goes on."""
    session.makepyfile(
        """
        import bridgeio
        import pytest

        pytestmark = pytest.mark.bridgeio

        async def test_hanging():
            await bridgeio.sleep_forever()

        async def test_other():
            pass
        """
    )
    result = run(session, "--backend", "trio", "--bridgeio-timeout", "0.2", "-p", "no:timeout")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*sleep_forever()*"])


def test_a_test_that_hangs_shows_its_tasks(session: pytest.Pytester) -> None:
    """When the plugin ends a test it says that it did, and what each of its tasks waited for before that."""
    session.makepyfile(
        """
        import bridgeio
        import pytest

        @pytest.mark.bridgeio
        async def test_hanging():
            async with bridgeio.create_task_group() as group:
                group.start_soon(bridgeio.Event().wait, name="forgotten")
        """
    )
    result = run(session, "--bridgeio-timeout", "0.2", "-p", "no:timeout")
    backends = bridgeio.available_backends()
    result.assert_outcomes(failed=len(backends))
    printed = [line for line in result.stdout.lines if line.strip().startswith("forgotten: ")]
    assert len(printed) == len(backends)
    assert all("waiting for an Event" in line for line in printed)
    result.stdout.fnmatch_lines(["*main: *waiting for its children: forgotten*"])
    result.stdout.fnmatch_lines(["*the test has not ended after 0.2 seconds (--bridgeio-timeout)*"])


def test_a_timeout_of_pytest_timeouts_shows_the_tasks(session: pytest.Pytester) -> None:
    """When pytest-timeout ends a test, which may have blocked its loop, the tasks are printed, too."""
    pytest.importorskip("pytest_timeout")
    session.makepyfile(
        """
        import threading
        import bridgeio
        import pytest

        @pytest.mark.bridgeio
        async def test_blocking():
            async with bridgeio.create_task_group() as group:
                group.start_soon(bridgeio.Event().wait, name="innocent")
                await bridgeio.lowlevel.checkpoint()
                threading.Event().wait()
        """
    )
    result = run(session, "--backend", "trio", "--backend", "asyncio", "--timeout", "1", "--timeout-method", "signal")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*main: *running*", "*threading.Event().wait()*", "*innocent: *"] * 2)


def test_a_process_that_hangs_is_ended(session: pytest.Pytester) -> None:
    """A test that blocks its whole loop ends the session with every thread's stack."""
    session.makepyfile(
        """
        import threading
        import pytest

        @pytest.mark.bridgeio
        async def test_blocking():
            threading.Event().wait()
        """
    )
    result = run(session, "--backend", "asyncio", "--bridgeio-timeout", "0.2", "-p", "no:timeout")
    assert result.ret != 0
    assert "test_blocking" in result.stderr.str()


def test_a_strangers_test_file_is_one_line(session: pytest.Pytester) -> None:
    """``from bridgeio.testing.suite import *`` is the whole suite, chapter for chapter what we run ourselves."""
    session.makepyfile(test_conformance="from bridgeio.testing.suite import *")
    collected = run(session, "--backend", "asyncio", "--collect-only", "-q").stdout.str()
    from bridgeio.testing import suite

    assert [name for name in suite.__all__ if name.startswith("test_") and f"::{name}" not in collected] == []
    chosen = run(session, "--backend", "asyncio", "-k", "test_lines and not (file or tasks) or test_what_cannot_be_run")
    chosen.assert_outcomes(passed=4)


def test_chapters_have_no_names_in_common() -> None:
    """In the one-line file no test hides another of the same name, and no chapter is left out."""
    from importlib import import_module
    from pkgutil import iter_modules

    from bridgeio.testing import suite

    chapters = [module.name for module in iter_modules(suite.__path__)]
    names = [
        name
        for chapter in chapters
        for name in import_module(f"bridgeio.testing.suite.{chapter}").__all__
        if name.startswith("test_")
    ]
    assert len(names) == len(set(names))
    assert set(names) <= set(suite.__all__)
