"""What a program is allowed to do: an executable model of bridgeio's rules, which explores every order of tasks.

Rule 1: code between two waits is one step. At one moment of time any task that is ready may take its step; when
none is, time goes on to the next deadline or sleeper. So the model is a graph of states, and what the
programs may show are the logs of its last states.
Rule 2: a cancel takes parked tasks out of their waits at once; one that has been granted something keeps it.
Rule 3: where Trio's own rules differ from the kernel's, and `docs/concepts/cancellation.md` says so, there is a
`Rules` value and both are written down here, side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelling import programs as language
from modelling.programs import END, Body, Program, every_op
from modelling.queueing import QUEUE_STEPS, Queues
from modelling.state import CANCELLED, READY, Node, Raised, Result, Rules, State, Store, Strand, Tasks

__all__ = ["Outcome", "TooManyStatesError", "UndefinedInTrioError", "allowed_outcomes"]

Outcome = tuple[tuple[str, tuple[str, ...]], ...]
"""For each task, by name, its log."""


class TooManyStatesError(Exception):
    """The program has more orders than are worth looking at."""


class UndefinedInTrioError(Exception):
    """A shield was put over a task while Trio was about to raise a cancellation in it. Some of Trio's functions go on,
    others fail with an AssertionError ("this should never happen")."""


def allowed_outcomes(program: Program, rules: Rules, limit: int = 20_000) -> frozenset[Outcome]:
    """Every outcome that the rules allow.

    :raises TooManyStatesError: if there are more than ``limit`` states to look at.
    """
    model = _Model(program, rules)
    states, seen, outcomes = [model.first()], set[object](), set[Outcome]()
    while states:
        state = states.pop()
        key = state.key()
        if key in seen:
            continue
        seen.add(key)
        if len(seen) > limit:
            raise TooManyStatesError
        following = list(model.following(state))
        states += following
        if not following:
            outcomes.add(_outcome(state))
    return frozenset(outcomes)


def _outcome(state: State) -> Outcome:
    logs = {name: task.log if task.wait[0] == "over" else (*task.log, "hangs") for name, task in state.tasks.items()}
    return tuple(sorted(logs.items()))


class _Model(Queues):
    def __init__(self, program: Program, rules: Rules) -> None:
        self.root = language.Within("root", program.body, END)
        super().__init__(rules, {id(op): op for op in every_op((self.root,))})

    def first(self) -> State:
        state = State()
        for op in self.ops.values():
            if isinstance(op, language.Within):
                state.nodes[op.scope] = Node(shield=op.shield, deadline=op.deadline)
            elif isinstance(op, language.Group):
                state.nodes[op.group] = Node()
                state.groups[op.group] = Tasks()
            elif isinstance(op, language.Hold):
                state.holders[op.lock] = ()
            elif isinstance(op, language.Send | language.Receive):
                state.stores[op.channel] = Store()
            elif isinstance(op, QUEUE_STEPS):
                state.stores[op.queue] = Store()
        state.nodes["main"] = Node(stage="open")
        state.tasks["main"] = Strand("main", (self._sequence((self.root,)),), (READY, "ok"))
        return state

    def following(self, state: State) -> Iterator[State]:
        ready = state.ready()
        if not ready:
            yield from self._later(state)
        for name in ready:
            for result in self._ways_on(state, name):
                after = state.copy()
                after.wait(name, "running")
                self._run(after, name, result)
                yield after

    def _ways_on(self, state: State, name: str) -> list[Result]:
        task = state.tasks[name]
        how = task.wait[1]
        if how == "refused" and not state.cancelled(task.node):
            raise UndefinedInTrioError
        if isinstance(how, Raised):
            return [how]
        if how in ("cancelled", "refused"):
            return [CANCELLED]
        if how == "either":
            return [None, CANCELLED]
        if how == "soft" and self.rules is not Rules.KERNEL and state.cancelled(task.node):
            return [None, CANCELLED]
        return [None]

    # Time

    def _later(self, state: State) -> Iterator[State]:
        """The next moment. All that is due then is due in no order: a sleeper that is cancelled in the moment
        in which it wakes may go either way."""
        sleeping = {name: task.wait[1] for name, task in state.tasks.items() if task.wait[0] == "sleep"}
        due = {name: node.deadline for name, node in state.nodes.items() if node.stage == "open" and not node.called}
        moment = min([*sleeping.values(), *due.values()], default=float("inf"))
        if moment == float("inf"):
            return
        after = state.copy()
        after.now = moment
        woken = [name for name, when in sleeping.items() if when <= moment]
        for name in woken:
            after.wake(name, "soft")
        for name, when in due.items():
            if when <= moment:
                after.call(name, by_hand=False)
        for name in woken:
            if after.cancelled(after.tasks[name].node):
                after.wake(name, "either")
        yield after

    # One step of one task

    def _run(self, state: State, name: str, result: Result) -> None:
        """Until the task waits or ends."""
        while True:
            task = state.tasks[name]
            if not task.frames:
                self._end(state, name, result)
            elif task.frames[-1][0] == "sequence" and result is None:
                result = self._next_op(state, name)
            else:
                frame = task.frames[-1]
                state.tasks[name] = task._replace(frames=task.frames[:-1])
                result = getattr(self, f"_leave_{frame[0]}")(state, name, frame, result)
            wait = state.tasks[name].wait
            if wait == ("refused",) and self.rules is Rules.KERNEL:
                state.wait(name, "running")
                result = CANCELLED
            elif wait == ("refused",):
                state.wake(name, "refused")
                return
            elif wait != ("running",):
                return

    def _next_op(self, state: State, name: str) -> Result:
        task = state.tasks[name]
        _, body, index = task.frames[-1]
        ops = self.bodies[body]
        if index == len(ops):
            state.tasks[name] = task._replace(frames=task.frames[:-1])
            return None
        state.tasks[name] = task._replace(frames=(*task.frames[:-1], ("sequence", body, index + 1)))
        op = ops[index]
        return getattr(self, f"_do_{type(op).__name__}")(state, name, op)  # type: ignore[no-any-return]

    def _leave_sequence(self, state: State, name: str, frame: Any, result: Result) -> Result:
        return result

    def _end(self, state: State, name: str, result: Result) -> None:
        state.log(name, f"ends {result or 'well'}")
        task = state.tasks[name]
        state.tasks[name] = task._replace(wait=("over",))
        if task.starting is not None:
            self._ended_before_started(state, task, result)
        elif task.group is not None:
            self._child_ended(state, name, task.group, result)

    # Scopes

    def _do_Cancel(self, state: State, name: str, op: language.Cancel) -> Result:
        state.log(name, f"cancels {op.scope}")
        state.call(op.scope, by_hand=True)
        return None

    def _do_MoveDeadline(self, state: State, name: str, op: language.MoveDeadline) -> Result:
        state.log(name, f"moves {op.scope}")
        state.nodes[op.scope] = state.nodes[op.scope]._replace(deadline=op.to)
        self._expire_if_due(state, op.scope)
        return None

    def _expire_if_due(self, state: State, scope: str) -> None:
        node = state.nodes[scope]
        if node.stage == "open" and node.deadline <= state.now:
            state.call(scope, by_hand=node.by_hand)

    def _do_SetShield(self, state: State, name: str, op: language.SetShield) -> Result:
        state.log(name, f"shield of {op.scope}: {op.value}")
        state.nodes[op.scope] = state.nodes[op.scope]._replace(shield=op.value)
        state.deliver()
        return None

    def _do_Within(self, state: State, name: str, op: language.Within) -> Result:
        self._enter(state, name, op.scope)
        self._expire_if_due(state, op.scope)
        state.push(name, "within", id(op))
        state.push(name, *self._sequence(op.body))
        return None

    def _enter(self, state: State, name: str, scope: str) -> None:
        task = state.tasks[name]
        state.nodes[scope] = state.nodes[scope]._replace(parent=task.node, stage="open")
        state.tasks[name] = task._replace(node=scope)

    def _leave_within(self, state: State, name: str, frame: Any, result: Result) -> Result:
        op = self._op(frame, language.Within)
        node = state.nodes[op.scope]
        caught = result is not None and result.is_cancelled and self._absorbs(state, op.scope)
        self._exit(state, name, op.scope)
        state.log(name, f"left {op.scope}, called {node.called}, caught {caught}")
        if not caught:
            return result
        return Raised(("TimeoutError",)) if op.fails and not node.by_hand else None

    def _absorbs(self, state: State, scope: str) -> bool:
        node = state.nodes[scope]
        return state.cancelled(scope) and (node.shield or not state.cancelled(node.parent))

    def _exit(self, state: State, name: str, scope: str) -> None:
        node = state.nodes[scope]
        assert node.parent is not None
        state.nodes[scope] = node._replace(stage="left")
        state.tasks[name] = state.tasks[name]._replace(node=node.parent)

    # Groups

    def _do_Group(self, state: State, name: str, op: language.Group) -> Result:
        state.push(name, "opening", id(op))
        self._may_wait(state, name)
        return None

    def _leave_opening(self, state: State, name: str, frame: Any, result: Result) -> Result:
        if result is None:
            op = self._op(frame, language.Group)
            self._enter(state, name, op.group)
            state.push(name, "group", frame[1])
            state.push(name, *self._sequence(op.body))
        return result

    def _do_Spawn(self, state: State, name: str, op: language.Spawn) -> Result:
        self._add_task(state, op.task, op.body, op.group)
        state.tasks[op.task] = state.tasks[op.task]._replace(group=op.group)
        group = state.groups[op.group]
        state.groups[op.group] = group._replace(children=group.children | {op.task})
        return None

    def _add_task(self, state: State, name: str, body: Body, parent: str) -> None:
        state.nodes[name] = Node(parent=parent, stage="open")
        state.tasks[name] = Strand(name, (self._sequence(body),), (READY, "ok"))

    def _child_ended(self, state: State, name: str, group_name: str, result: Result) -> None:
        group = state.groups[group_name]
        children = group.children - {name}
        if result is not None and result.is_cancelled:
            group = group._replace(cancelled=True)
        elif result is not None:
            group = group._replace(failures=tuple(sorted(group.failures + result.failures)))
        state.groups[group_name] = group._replace(children=children)
        if result is not None:
            state.call(group_name, by_hand=True)
        if not children:
            for other, task in list(state.tasks.items()):
                if task.wait == ("join", group_name):
                    state.wake(other)

    def _leave_group(self, state: State, name: str, frame: Any, result: Result) -> Result:
        group = self._op(frame, language.Group).group
        if result is not None:
            self._child_ended(state, "", group, result)
        blocks_by = result is not None and result.is_cancelled
        state.push(name, "joining", frame[1], blocks_by)
        if state.groups[group].children:
            state.wait(name, "join", group)
        else:
            state.wait(name, READY, "ok")  # it may give way
        return None

    def _leave_joining(self, state: State, name: str, frame: Any, result: Result) -> Result:
        name_of_group = self._op(frame, language.Group).group
        group = state.groups[name_of_group]
        absorbs = self._absorbs(state, name_of_group)
        self._exit(state, name, name_of_group)
        caught = group.cancelled and absorbs
        state.log(name, f"left {name_of_group}, caught {caught}")
        if group.failures:
            return Raised(group.failures)
        if group.cancelled and not absorbs:
            return CANCELLED
        if result is None and not frame[2]:
            self._may_wait(state, name)
        return None

    # Starting

    def _do_Start(self, state: State, name: str, op: language.Start) -> Result:
        state.push(name, "starting", op.task)
        if self._may_wait(state, name):
            self._add_task(state, op.task, op.body, state.tasks[name].node)
            state.tasks[op.task] = state.tasks[op.task]._replace(starting=name, group=op.group)
            state.wait(name, "start", op.task)
        return None

    def _do_Started(self, state: State, name: str, op: language.Started) -> Result:
        task = state.tasks[name]
        if task.starting is None or ("started",) in state.tasks[task.starting].frames:
            return None
        state.log(name, "has started")
        caller = task.starting
        if state.cancelled(state.nodes[name].parent):
            state.push(caller, "started")  # it is the caller's, for good
            return None
        assert task.group is not None
        state.tasks[name] = task._replace(starting=None, log=state.tasks[name].log)
        group = state.groups[task.group]
        state.groups[task.group] = group._replace(children=group.children | {name})
        state.nodes[name] = state.nodes[name]._replace(parent=task.group)
        state.wake(caller)
        state.deliver()
        return None

    def _ended_before_started(self, state: State, task: Strand, result: Result) -> None:
        caller = task.starting
        assert caller is not None
        says_nothing = result is None and ("started",) not in state.tasks[caller].frames
        state.push(caller, "child", Raised(("RuntimeError",)) if says_nothing else result, says_nothing)
        state.wake(caller)

    def _leave_started(self, state: State, name: str, frame: Any, result: Result) -> Result:
        return result

    def _leave_child(self, state: State, name: str, frame: Any, result: Result) -> Result:
        """The child was the caller's to the end; a caller that is cancelled has a better reason to raise."""
        if frame[2] and not self._may_wait(state, name):
            return None
        outcome: Result = frame[1]
        return outcome

    def _leave_starting(self, state: State, name: str, frame: Any, result: Result) -> Result:
        if result is None:
            state.log(name, f"started {frame[1]}")
        return result

    # Errors

    def _do_Fail(self, state: State, name: str, op: language.Fail) -> Result:
        return Raised((op.name,))

    def _do_CatchFailures(self, state: State, name: str, op: language.CatchFailures) -> Result:
        state.push(name, "catching")
        state.push(name, *self._sequence(op.body))
        return None

    def _leave_catching(self, state: State, name: str, frame: Any, result: Result) -> Result:
        if result is None or result.is_cancelled:
            return result
        state.log(name, f"caught {' '.join(result.failures)}")
        return None

    def _do_GuardCancel(self, state: State, name: str, op: language.GuardCancel) -> Result:
        state.push(name, "guarding", id(op))
        state.push(name, *self._sequence(op.body))
        return None

    def _leave_guarding(self, state: State, name: str, frame: Any, result: Result) -> Result:
        if result is None or not result.is_cancelled:
            return result
        op = self._op(frame, language.GuardCancel)
        state.log(name, "is cancelled")
        state.push(name, "cleaning", op.swallows)
        state.push(name, *self._sequence(op.cleanup))
        return None

    def _leave_cleaning(self, state: State, name: str, frame: Any, result: Result) -> Result:
        return CANCELLED if result is None and not frame[1] else result
