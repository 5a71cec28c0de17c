"""Channels and queues in the model: items that go from task to task."""

from __future__ import annotations

from typing import Any

from modelling import programs as language
from modelling.state import READY, Raised, Result, State
from modelling.waiting import Waits

__all__ = ["QUEUE_STEPS", "Queues", "room_of"]

QUEUE_STEPS = (language.Put, language.Get, language.TaskDone, language.JoinQueue, language.ShutDown)
SHUT_DOWN = Raised(("QueueShutDown",))


def room_of(store: str) -> int:
    """By the number in its name."""
    return int(store[1:])


class Queues(Waits):
    """A queue is a channel that knows what became of its items, and that has an end."""

    def _do_Send(self, state: State, name: str, op: language.Send) -> Result:
        return self._give(state, name, op.channel, op.item, "sent")

    def _do_Receive(self, state: State, name: str, op: language.Receive) -> Result:
        return self._take(state, name, op.channel, "received")

    def _do_Put(self, state: State, name: str, op: language.Put) -> Result:
        return self._give(state, name, op.queue, op.item, "put")

    def _do_Get(self, state: State, name: str, op: language.Get) -> Result:
        return self._take(state, name, op.queue, "got")

    # Both ends

    def _give(self, state: State, name: str, where: str, item: str, told: str) -> Result:
        state.push(name, "told", f"{told} {item}")
        if not self._may_wait(state, name):
            return None
        store = state.stores[where]
        if store.shut_down:
            return SHUT_DOWN
        taker = state.first("take", where)
        if taker is None and len(store.items) >= room_of(where):
            state.stand(name, "give", where, item)
            return None
        if taker is not None:
            self._hand(state, taker.task, item)
        else:
            store = store._replace(items=(*store.items, item))
        state.stores[where] = store._replace(accepted=store.accepted + 1)
        state.wait(name, READY, "ok")
        return None

    def _take(self, state: State, name: str, where: str, told: str) -> Result:
        state.push(name, "taking", told)
        if not self._may_wait(state, name):
            return None
        store = state.stores[where]
        if store.items:
            self._hand(state, name, self._oldest(state, where))
        elif store.shut_down:
            return SHUT_DOWN
        else:
            state.stand(name, "take", where)
        return None

    def _oldest(self, state: State, where: str) -> str:
        """Its room goes to the first who waits for it."""
        store = state.stores[where]
        giver = state.first("give", where)
        if giver is not None:
            state.wake(giver.task)
            store = store._replace(items=(*store.items, giver.item), accepted=store.accepted + 1)
        state.stores[where] = store._replace(items=store.items[1:])
        return store.items[0]

    def _hand(self, state: State, name: str, item: str) -> None:
        """The frame of the wait is exchanged for one that knows the item."""
        task = state.tasks[name]
        frames = (*task.frames[:-1], ("told", f"{task.frames[-1][1]} {item}"))
        state.tasks[name] = task._replace(frames=frames, wait=(READY, "ok"))

    def _leave_taking(self, state: State, name: str, frame: Any, result: Result) -> Result:
        return result

    # Queues alone

    def _do_TaskDone(self, state: State, name: str, op: language.TaskDone) -> Result:
        store = state.stores[op.queue]
        if store.accepted == store.finished:
            state.log(name, f"has nothing to finish of {op.queue}")
        else:
            state.log(name, f"finishes one of {op.queue}")
            self._finish(state, op.queue, 1)
        return None

    def _finish(self, state: State, queue: str, count: int) -> None:
        store = state.stores[queue]
        store = state.stores[queue] = store._replace(finished=store.finished + count)
        if store.accepted == store.finished:
            state.wake_all("end of tasks", queue)

    def _do_JoinQueue(self, state: State, name: str, op: language.JoinQueue) -> Result:
        state.push(name, "told", f"joined {op.queue}")
        if self._may_wait(state, name):
            store = state.stores[op.queue]
            if store.accepted == store.finished:
                state.wait(name, READY, "ok")
            else:
                state.stand(name, "end of tasks", op.queue)
        return None

    def _do_ShutDown(self, state: State, name: str, op: language.ShutDown) -> Result:
        state.log(name, f"shuts {op.queue} down")
        store = state.stores[op.queue]
        state.stores[op.queue] = store._replace(shut_down=True)
        if op.immediate:
            state.stores[op.queue] = store._replace(shut_down=True, items=())
            self._finish(state, op.queue, min(len(store.items), store.accepted - store.finished))
        state.wake_all("give", op.queue, SHUT_DOWN)
        state.wake_all("take", op.queue, SHUT_DOWN)
        return None
