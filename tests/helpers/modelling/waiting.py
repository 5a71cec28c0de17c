"""What tasks wait for in the model: the time, events, locks, notices of conditions, each other."""

from __future__ import annotations

from typing import Any

from modelling import programs as language
from modelling.programs import Body, Op
from modelling.state import READY, Result, Rules, State

__all__ = ["Waits", "capacity_of"]


def capacity_of(lock: str) -> int:
    return 2 if lock.startswith("s") else 1


class Waits:
    """One method for each step that waits (``_do_``) and one for each frame that such a step leaves behind
    (``_leave_``).

    :ivar ops: the steps of the program by identity: frames name them so, which is cheap to compare.
    """

    def __init__(self, rules: Rules, ops: dict[int, Op]) -> None:
        self.rules = rules
        self.ops = ops
        self.bodies: dict[int, Body] = {}

    def _sequence(self, body: Body) -> tuple[Any, ...]:
        self.bodies[id(body)] = body
        return ("sequence", id(body), 0)

    def _op(self, frame: Any, kind: type[Any]) -> Any:
        op = self.ops[frame[1]]
        assert isinstance(op, kind)
        return op

    # Waits

    def _may_wait(self, state: State, name: str) -> bool:
        """Whether the task is not cancelled; if it is, it will raise."""
        if not state.cancelled(state.tasks[name].node):
            return True
        state.wait(name, "refused")
        return False

    def _do_Sleep(self, state: State, name: str, op: language.Sleep) -> Result:
        state.push(name, "told", "slept")
        if self._may_wait(state, name):
            if op.seconds > 0:
                state.wait(name, "sleep", state.now + op.seconds)
            else:
                state.wait(name, READY, "soft")
        return None

    def _do_Checkpoint(self, state: State, name: str, op: language.Checkpoint) -> Result:
        state.push(name, "told", "passed")
        if self._may_wait(state, name):
            state.wait(name, READY, "soft")
        return None

    def _do_WaitEvent(self, state: State, name: str, op: language.WaitEvent) -> Result:
        state.push(name, "told", f"saw {op.event}")
        if self._may_wait(state, name):
            if op.event in state.events:
                state.wait(name, READY, "soft")
            else:
                state.stand(name, "event", op.event)
        return None

    def _do_SetEvent(self, state: State, name: str, op: language.SetEvent) -> Result:
        state.log(name, f"sets {op.event}")
        state.events |= {op.event}
        state.wake_all("event", op.event)
        return None

    def _leave_told(self, state: State, name: str, frame: Any, result: Result) -> Result:
        """The end of a wait."""
        if result is None:
            state.log(name, frame[1])
        return result

    # Locks

    def _do_Hold(self, state: State, name: str, op: language.Hold) -> Result:
        state.push(name, "acquiring", id(op))
        if self._may_wait(state, name):
            self._acquire(state, name, op.lock)
        return None

    def _acquire(self, state: State, name: str, lock: str, stays: bool = False) -> None:
        holders = state.holders[lock]
        if len(holders) < capacity_of(lock):
            state.holders[lock] = (*holders, name)
            state.wait(name, READY, "ok")
        else:
            state.stand(name, "hold", lock, stays=stays)

    def _leave_acquiring(self, state: State, name: str, frame: Any, result: Result) -> Result:
        if result is None:
            op = self._op(frame, language.Hold)
            state.log(name, f"has {op.lock}")
            state.push(name, "holding", frame[1])
            state.push(name, *self._sequence(op.body))
        return result

    def _leave_holding(self, state: State, name: str, frame: Any, result: Result) -> Result:
        lock = self._op(frame, language.Hold).lock
        self._hand_over(state, name, lock)
        state.log(name, f"leaves {lock}")
        return result

    def _hand_over(self, state: State, name: str, lock: str) -> None:
        holders = tuple(other for other in state.holders[lock] if other != name)
        first = state.first("hold", lock)
        if first is not None:
            state.wake(first.task)
            holders = (*holders, first.task)
        state.holders[lock] = holders

    # Barriers

    def _do_Meet(self, state: State, name: str, op: language.Meet) -> Result:
        if not self._may_wait(state, name):
            return None
        other = state.first("meeting", op.barrier)
        state.push(name, "told", f"meets at {op.barrier} as {1 if other else 0}")
        if other is None:
            state.stand(name, "meeting", op.barrier)
        else:
            state.wake(other.task)
            state.wait(name, READY, "ok")
        return None

    # Conditions

    def _do_WaitNotice(self, state: State, name: str, op: language.WaitNotice) -> Result:
        state.push(name, "told", f"noticed {op.condition}")
        if self._may_wait(state, name):
            state.push(name, "regaining", op.condition)
            self._hand_over(state, name, op.condition)
            state.stand(name, "notice", op.condition)
        return None

    def _leave_regaining(self, state: State, name: str, frame: Any, result: Result) -> Result:
        """However the wait has ended, the lock is the task's again before it goes on."""
        condition = frame[1]
        if name in state.holders[condition]:
            return result
        state.push(name, "regained", result)
        self._acquire(state, name, condition, stays=True)
        return None

    def _leave_regained(self, state: State, name: str, frame: Any, result: Result) -> Result:
        before: Result = frame[1]
        return before

    def _do_Notify(self, state: State, name: str, op: language.Notify) -> Result:
        state.log(name, f"notifies of {op.condition}")
        line = state.lines.get(("notice", op.condition), ())
        for _ in line[: op.count]:
            first = state.first("notice", op.condition)
            assert first is not None
            if self.rules is Rules.PLAIN_TRIO:
                state.stand(first.task, "hold", op.condition)
            else:
                state.wake(first.task)
        return None
