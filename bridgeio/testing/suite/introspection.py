"""Who runs, whose child it is, and what belongs to the whole run."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import Any

import pytest

import bridgeio
from bridgeio import Event, NoBackendError, TaskInfo, create_task_group, get_current_task, get_running_tasks
from bridgeio.lowlevel import EventLoopToken, RunVar, RunvarToken, current_token
from bridgeio.unpatched import original

pytestmark = pytest.mark.bridgeio


class Value:
    """Something whose end can be seen."""


def known() -> dict[str, TaskInfo]:
    return {info.name: info for info in get_running_tasks()}


async def test_the_current_task_is_known_by_id_name_and_coroutine() -> None:
    """A task sees itself as its group named it, the same at each call, with the coroutine that it runs."""
    seen: list[TaskInfo] = []

    async def child() -> None:
        seen.extend([get_current_task(), get_current_task()])

    async with create_task_group() as group:
        group.start_soon(child, name="Emma")
    first, second = seen
    assert first == second
    assert hash(first) == hash(second)
    assert first != get_current_task()
    assert (first.name, first.coro.__name__) == ("Emma", "child")
    assert "Emma" in repr(first)


class _Greeter:
    """Something to be called that has no name of its own."""

    async def __call__(self, names: list[str]) -> None:
        names.append(bridgeio.get_current_task().name)


async def _say_name(names: list[str], *_: object) -> None:
    names.append(bridgeio.get_current_task().name)


async def test_a_child_without_a_name_is_called_as_its_function() -> None:
    """By what is inside a ``functools.partial``, or by the class of an object: no addresses, no arguments."""
    names: list[str] = []
    async with bridgeio.create_task_group() as group:
        group.start_soon(_say_name, names)
        group.start_soon(partial(partial(_say_name, names), 1), 2)
        group.start_soon(_Greeter(), names)
    assert sorted(names) == [f"{__name__}._Greeter", f"{__name__}._say_name", f"{__name__}._say_name"]


async def test_a_child_names_the_task_of_its_group_as_its_parent() -> None:
    """``parent_id`` is the id of the task that entered the group, also for a task that another child starts."""
    parents: list[int | None] = []

    async def note_parent() -> None:
        parents.append(get_current_task().parent_id)

    async def start_sibling() -> None:
        group.start_soon(note_parent)

    async with create_task_group() as group:
        group.start_soon(note_parent)
        group.start_soon(start_sibling)
    assert parents == [get_current_task().id] * 2


async def test_running_tasks_are_those_that_have_not_ended() -> None:
    """`get_running_tasks` has every task of the run, from its start to its end, and the caller too."""
    release = Event()
    async with create_task_group() as group:
        group.start_soon(release.wait, name="waits")
        group.start_soon(release.wait, name="waits, too")
        assert {"waits", "waits, too", get_current_task().name} <= known().keys()
        await bridgeio.lowlevel.checkpoint()
        assert {"waits", "waits, too", get_current_task().name} <= known().keys()
        assert known()["waits"].parent_id == get_current_task().id
        release.set()
    assert not {"waits", "waits, too"} & known().keys()
    assert get_current_task() in get_running_tasks()


async def test_a_pending_cancellation_shows_until_the_scope_is_left() -> None:
    """`TaskInfo.has_pending_cancellation` is true as long as the task's next wait will be cancelled, and
    what has ended has none."""
    me = get_current_task()
    assert not me.has_pending_cancellation()
    with bridgeio.CancelScope() as scope:
        scope.cancel()
        assert me.has_pending_cancellation()
        with bridgeio.CancelScope(shield=True):
            assert not me.has_pending_cancellation()
        assert me.has_pending_cancellation()
    assert not me.has_pending_cancellation()


async def test_a_task_that_has_ended_has_no_cancellation_pending() -> None:
    """What was said of a task in a cancelled group is not said of it after its end."""
    ended: list[TaskInfo] = []

    async def child() -> None:
        info = get_current_task()
        try:
            await bridgeio.sleep_forever()
        finally:
            assert info.has_pending_cancellation()
            ended.append(info)

    async with create_task_group() as group:
        group.start_soon(child)
        await bridgeio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert [info.has_pending_cancellation() for info in ended] == [False]


async def test_a_run_variable_is_the_same_for_all_tasks() -> None:
    """What one task sets, every task of the run gets, in whatever context it runs."""
    variable = RunVar[str]("variable")

    async def child() -> None:
        seen.append(variable.get())
        variable.set("the child's")

    seen: list[str] = []
    variable.set("the parent's")
    async with create_task_group() as group:
        group.start_soon(child)
    assert [*seen, variable.get()] == ["the parent's", "the child's"]


async def test_a_run_variable_without_a_value() -> None:
    """The default given to ``get`` comes first, then the variable's own; without any it is a LookupError."""
    bare, full = RunVar[int]("bare"), RunVar("full", 1)
    assert (bare.get(2), full.get(), full.get(2)) == (2, 1, 2)
    with pytest.raises(LookupError, match="bare"):
        bare.get()


async def test_a_run_variable_is_reset_by_its_token() -> None:
    """``reset`` brings back what was before the ``set``, nothing too, and each token does so once."""
    variable = RunVar[int]("variable")
    first = variable.set(1)
    with variable.set(2):
        assert variable.get() == 2
    assert variable.get() == 1
    with pytest.raises(ValueError, match="not of"):
        RunVar[int]("another").reset(first)
    variable.reset(first)
    assert variable.get(0) == 0
    with pytest.raises(ValueError, match="used before"):
        variable.reset(first)


def test_a_run_variable_is_forgotten_with_its_run(backend: str, backend_options: dict[str, Any]) -> None:
    """The next run starts without a value, what was set is freed, and an old token resets nothing."""

    async def set_it(value: list[Value]) -> RunvarToken[Value]:
        return variable.set(value.pop())

    async def reset_it(token: RunvarToken[Value]) -> None:
        assert variable.get(None) is None
        with pytest.raises(ValueError, match="another run"):
            variable.reset(token)

    variable = RunVar[Value]("variable")
    value = [Value()]
    alive = weakref.ref(value[0])
    token = bridgeio.run(set_it, value, backend=backend, backend_options=backend_options)
    bridgeio.run(reset_it, token, backend=backend, backend_options=backend_options)
    gc.collect()
    assert alive() is None


async def test_a_run_variable_that_nobody_has_is_freed() -> None:
    """A run does not keep variables, or their values, that were made in passing."""
    value = Value()
    alive = weakref.ref(value)
    RunVar[Value]("in passing").set(value)
    del value
    gc.collect()
    assert alive() is None


def test_a_token_stands_for_its_run(backend: str, backend_options: dict[str, Any]) -> None:
    """Tokens are equal, and have one hash, in all tasks of a run, and differ from those of the next run."""

    async def main() -> EventLoopToken:
        async def child() -> None:
            seen.append(current_token())

        async with create_task_group() as group:
            group.start_soon(child)
        return current_token()

    seen: list[EventLoopToken] = []
    first, second = (bridgeio.run(main, backend=backend, backend_options=backend_options) for _ in range(2))
    assert seen == [first, second]
    assert len({*seen, first, second}) == 2
    assert backend in repr(first)


def test_outside_of_any_framework_there_is_no_task(backend: str) -> None:
    """Asking for tasks and variables of a run where none can be is `NoBackendError`, and no empty answer."""

    def ask_all() -> None:
        for ask in (get_current_task, get_running_tasks, current_token, RunVar("variable", 1).get):
            try:
                ask()
            except NoBackendError as error:
                refusals.append(error)
        over.release()

    refusals: list[NoBackendError] = []
    over = original("_thread", "allocate_lock")()
    over.acquire()
    original("_thread", "start_new_thread")(ask_all, ())  # in a patched process the main thread is gevent's
    over.acquire()
    assert len(refusals) == 4


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
