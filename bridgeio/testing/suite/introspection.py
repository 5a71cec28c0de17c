"""Looking at tasks: who runs, whose child it is, what it waits for."""

from __future__ import annotations

import pytest

import bridgeio
from bridgeio import Event, NoBackendError, TaskInfo, create_task_group, get_current_task, get_running_tasks

pytestmark = pytest.mark.bridgeio


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


def test_outside_of_any_framework_there_is_no_task(backend: str) -> None:
    """Asking for tasks where none can be is `NoBackendError`, and no empty answer."""
    for ask in (get_current_task, get_running_tasks):
        with pytest.raises(NoBackendError):
            ask()


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
