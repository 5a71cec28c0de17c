"""Runs a program in a world, and notes for each task what it went through."""

from __future__ import annotations

from typing import Any

from modelling import programs as language
from modelling.programs import END, Body, Program, every_op
from modelling.queueing import room_of
from modelling.semantics import Outcome
from modelling.worlds import World

__all__ = ["StepError", "outcome_in"]


class StepError(Exception):
    """What `Fail` raises."""


def outcome_in(world: World, program: Program) -> Outcome:
    """What the program does there: the log of each task."""
    run = _Run(world, language.Within("root", program.body, END))
    world.run(run.main)
    return tuple(sorted((name, tuple(log)) for name, log in run.logs.items()))


def _failures(error: BaseException) -> tuple[str, ...]:
    """The names of what went wrong, sorted; a group is flattened."""
    if isinstance(error, BaseExceptionGroup):
        return tuple(sorted(name for inner in error.exceptions for name in _failures(inner)))
    return (str(error) if isinstance(error, StepError) else type(error).__name__,)


class _Task:
    """The steps of one task.

    :ivar status: the ``task_status`` of one that was started with `Start`, until it has said so.
    """

    def __init__(self, run: _Run, name: str, status: Any = None) -> None:
        self.run = run
        self.world = run.world
        self.name = name
        self.status = status

    async def live(self, body: Body) -> None:
        ending = "well"
        try:
            await self.steps(body)
        except self.world.cancelled():
            ending = "cancelled"
            raise
        except (Exception, BaseExceptionGroup) as error:
            ending = "failed with " + " ".join(_failures(error))
            raise
        finally:
            self.log(f"ends {ending}")

    async def steps(self, body: Body) -> None:
        for op in body:
            await getattr(self, f"do_{type(op).__name__}")(op)

    def log(self, what: str) -> None:
        self.run.logs.setdefault(self.name, []).append(f"{self.world.now() - self.run.start:g}: {what}")

    async def do_Sleep(self, op: language.Sleep) -> None:
        await self.world.sleep(op.seconds)
        self.log("slept")

    async def do_Checkpoint(self, op: language.Checkpoint) -> None:
        await self.world.checkpoint()
        self.log("passed")

    async def do_WaitEvent(self, op: language.WaitEvent) -> None:
        await self.run.events[op.event].wait()
        self.log(f"saw {op.event}")

    async def do_SetEvent(self, op: language.SetEvent) -> None:
        self.log(f"sets {op.event}")
        self.run.events[op.event].set()

    async def do_Hold(self, op: language.Hold) -> None:
        async with self.run.locks[op.lock]:
            self.log(f"has {op.lock}")
            try:
                await self.steps(op.body)
            finally:
                self.log(f"leaves {op.lock}")

    async def do_WaitNotice(self, op: language.WaitNotice) -> None:
        await self.world.wait_for_notice(self.run.locks[op.condition])
        self.log(f"noticed {op.condition}")

    async def do_Notify(self, op: language.Notify) -> None:
        self.log(f"notifies of {op.condition}")
        condition = self.run.locks[op.condition]
        if op.count is None:
            condition.notify_all()
        else:
            condition.notify(op.count)

    async def do_Meet(self, op: language.Meet) -> None:
        number = await self.run.barriers[op.barrier].wait()
        self.log(f"meets at {op.barrier} as {number}")

    async def do_Send(self, op: language.Send) -> None:
        await self.run.channels[op.channel][0].send(op.item)
        self.log(f"sent {op.item}")

    async def do_Receive(self, op: language.Receive) -> None:
        self.log(f"received {await self.run.channels[op.channel][1].receive()}")

    async def do_Put(self, op: language.Put) -> None:
        await self.run.queues[op.queue].put(op.item)
        self.log(f"put {op.item}")

    async def do_Get(self, op: language.Get) -> None:
        self.log(f"got {await self.run.queues[op.queue].get()}")

    async def do_TaskDone(self, op: language.TaskDone) -> None:
        try:
            self.run.queues[op.queue].task_done()
        except ValueError:
            self.log(f"has nothing to finish of {op.queue}")
        else:
            self.log(f"finishes one of {op.queue}")

    async def do_JoinQueue(self, op: language.JoinQueue) -> None:
        await self.run.queues[op.queue].join()
        self.log(f"joined {op.queue}")

    async def do_ShutDown(self, op: language.ShutDown) -> None:
        self.log(f"shuts {op.queue} down")
        self.run.queues[op.queue].shutdown(op.immediate)

    async def do_Cancel(self, op: language.Cancel) -> None:
        self.log(f"cancels {op.scope}")
        self.run.scope(op.scope).cancel()

    async def do_MoveDeadline(self, op: language.MoveDeadline) -> None:
        self.log(f"moves {op.scope}")
        scope = self.run.scope(op.scope)
        scope.deadline = self.run.start + op.to
        if op.scope in self.run.open:
            _ = scope.cancel_called  # Trio looks at the clock when it is asked, and else at the task's next turn

    async def do_SetShield(self, op: language.SetShield) -> None:
        self.log(f"shield of {op.scope}: {op.value}")
        self.run.scope(op.scope).shield = op.value

    async def do_Within(self, op: language.Within) -> None:
        scope = self.run.scopes[op.scope]
        called = False
        try:
            with self.world.entered(scope):
                self.run.open.add(op.scope)
                try:
                    await self.steps(op.body)
                finally:
                    self.run.open.discard(op.scope)
                    called = scope.cancel_called
        finally:
            self.log(f"left {op.scope}, called {called}, caught {scope.cancelled_caught}")

    async def do_Group(self, op: language.Group) -> None:
        group = self.run.groups[op.group]
        entered = False
        try:
            async with self.world.entered_group(group):
                entered = True
                await self.steps(op.body)
        finally:
            if entered:
                self.log(f"left {op.group}, caught {self.world.scope_of(group).cancelled_caught}")

    async def do_Spawn(self, op: language.Spawn) -> None:
        self.run.groups[op.group].start_soon(_Task(self.run, op.task).live, op.body)

    async def do_Start(self, op: language.Start) -> None:
        async def child(*, task_status: Any) -> None:
            await _Task(self.run, op.task, task_status).live(op.body)

        await self.run.groups[op.group].start(child)
        self.log(f"started {op.task}")

    async def do_Started(self, op: language.Started) -> None:
        status, self.status = self.status, None
        if status is not None:
            self.log("has started")
            status.started()

    async def do_Fail(self, op: language.Fail) -> None:
        raise StepError(op.name)

    async def do_CatchFailures(self, op: language.CatchFailures) -> None:
        try:
            await self.steps(op.body)
        except (self.world.cancelled(), KeyboardInterrupt):
            raise
        except (Exception, BaseExceptionGroup) as error:
            self.log(f"caught {' '.join(_failures(error))}")

    async def do_GuardCancel(self, op: language.GuardCancel) -> None:
        try:
            await self.steps(op.body)
        except self.world.cancelled():
            self.log("is cancelled")
            await self.steps(op.cleanup)
            if not op.swallows:
                raise


class _Run:
    """One run of a program: what its tasks share."""

    def __init__(self, world: World, root: language.Within) -> None:
        self.world = world
        self.root = root
        self.logs: dict[str, list[str]] = {}
        self.scopes: dict[str, Any] = {}
        self.groups: dict[str, Any] = {}
        self.events: dict[str, Any] = {}
        self.locks: dict[str, Any] = {}
        self.barriers: dict[str, Any] = {}
        self.channels: dict[str, Any] = {}
        self.queues: dict[str, Any] = {}
        self.open: set[str] = set()
        self.start = 0.0

    async def main(self) -> None:
        self.start = self.world.now()
        for op in every_op((self.root,)):
            self._make(op)
        try:
            await _Task(self, "main").live((self.root,))
        except (Exception, BaseExceptionGroup):
            pass  # it is in the log
        finally:
            for end in [end for channel in self.channels.values() for end in channel]:
                end.close()

    def scope(self, name: str) -> Any:
        return self.scopes[name] if name in self.scopes else self.world.scope_of(self.groups[name])

    def _make(self, op: object) -> None:
        world = self.world
        match op:
            case language.Within():
                self.scopes[op.scope] = world.new_scope(self.start + op.deadline, op.shield, op.fails)
            case language.Group():
                self.groups[op.group] = world.new_group()
            case language.SetEvent() | language.WaitEvent():
                self.events.setdefault(op.event, world.new_event())
            case language.Hold() if op.lock not in self.locks:
                self.locks[op.lock] = world.new_lock(op.lock[0])
            case language.Meet() if op.barrier not in self.barriers:
                self.barriers[op.barrier] = world.new_barrier()
            case language.Send() | language.Receive() if op.channel not in self.channels:
                self.channels[op.channel] = world.new_channel(room_of(op.channel))
            case language.Put() | language.Get() | language.TaskDone() | language.JoinQueue() | language.ShutDown():
                if op.queue not in self.queues:
                    self.queues[op.queue] = world.new_queue(room_of(op.queue))
