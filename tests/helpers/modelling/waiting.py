"""What tasks wait for in the model: the time, events, locks, channels."""

from __future__ import annotations

from typing import Any

from modelling.programs import Body, Checkpoint, Hold, Op, Receive, Send, SetEvent, Sleep, WaitEvent
from modelling.state import READY, Lot, Result, Rules, State, without

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

    def _do_Sleep(self, state: State, name: str, op: Sleep) -> Result:
        state.push(name, "told", "slept")
        if self._may_wait(state, name):
            if op.seconds > 0:
                state.wait(name, "sleep", state.now + op.seconds)
            else:
                state.wait(name, READY, "soft")
        return None

    def _do_Checkpoint(self, state: State, name: str, op: Checkpoint) -> Result:
        state.push(name, "told", "passed")
        if self._may_wait(state, name):
            state.wait(name, READY, "soft")
        return None

    def _do_WaitEvent(self, state: State, name: str, op: WaitEvent) -> Result:
        state.push(name, "told", f"saw {op.event}")
        if self._may_wait(state, name):
            if op.event in state.events:
                state.wait(name, READY, "soft")
            else:
                state.wait(name, "event", op.event)
        return None

    def _do_SetEvent(self, state: State, name: str, op: SetEvent) -> Result:
        state.log(name, f"sets {op.event}")
        state.events |= {op.event}
        for other, task in list(state.tasks.items()):
            if task.wait == ("event", op.event):
                state.wake(other)
        return None

    def _leave_told(self, state: State, name: str, frame: Any, result: Result) -> Result:
        """The end of a wait."""
        if result is None:
            state.log(name, frame[1])
        return result

    # Locks and channels

    def _do_Hold(self, state: State, name: str, op: Hold) -> Result:
        state.push(name, "acquiring", id(op))
        if self._may_wait(state, name):
            lot = state.lots[op.lock]
            if len(lot.holders) < capacity_of(op.lock):
                state.lots[op.lock] = lot._replace(holders=(*lot.holders, name))
                state.wait(name, READY, "ok")
            else:
                state.lots[op.lock] = lot._replace(waiting=(*lot.waiting, name))
                state.wait(name, "hold", op.lock)
        return None

    def _leave_acquiring(self, state: State, name: str, frame: Any, result: Result) -> Result:
        if result is None:
            op = self._op(frame, Hold)
            state.log(name, f"has {op.lock}")
            state.push(name, "holding", frame[1])
            state.push(name, *self._sequence(op.body))
        return result

    def _leave_holding(self, state: State, name: str, frame: Any, result: Result) -> Result:
        lock = self._op(frame, Hold).lock
        lot = state.lots[lock]
        holders, waiting = without(lot.holders, name), lot.waiting
        if waiting:
            state.wake(waiting[0])
            holders, waiting = (*holders, waiting[0]), waiting[1:]
        state.lots[lock] = Lot(holders, waiting)
        state.log(name, f"leaves {lock}")
        return result

    def _do_Send(self, state: State, name: str, op: Send) -> Result:
        state.push(name, "told", f"sent {op.item}")
        if self._may_wait(state, name):
            channel = state.channels[op.channel]
            if channel.receivers:
                self._give(state, channel.receivers[0], op.item)
                state.channels[op.channel] = channel._replace(receivers=channel.receivers[1:])
                state.wait(name, READY, "ok")
            elif not channel.items:
                state.channels[op.channel] = channel._replace(items=(op.item,))
                state.wait(name, READY, "ok")
            else:
                state.channels[op.channel] = channel._replace(senders=(*channel.senders, (name, op.item)))
                state.wait(name, "send", op.channel)
        return None

    def _do_Receive(self, state: State, name: str, op: Receive) -> Result:
        state.push(name, "receiving")
        if self._may_wait(state, name):
            channel = state.channels[op.channel]
            if channel.items:
                item, items, senders = channel.items[0], channel.items[1:], channel.senders
                if senders:
                    state.wake(senders[0][0])
                    items, senders = (*items, senders[0][1]), senders[1:]
                state.channels[op.channel] = channel._replace(items=items, senders=senders)
                self._give(state, name, item)
            else:
                state.channels[op.channel] = channel._replace(receivers=(*channel.receivers, name))
                state.wait(name, "receive", op.channel)
        return None

    def _give(self, state: State, name: str, item: str) -> None:
        """The frame of the wait is exchanged for one that knows the item."""
        task = state.tasks[name]
        frames = (*task.frames[:-1], ("told", f"received {item}"))
        state.tasks[name] = task._replace(frames=frames, wait=(READY, "ok"))

    def _leave_receiving(self, state: State, name: str, frame: Any, result: Result) -> Result:
        return result
