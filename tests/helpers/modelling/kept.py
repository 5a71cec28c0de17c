"""Programs that are worth being run each time: those with which the model test found something, and one for each
mistake that others have made before."""

from __future__ import annotations

from modelling.programs import (
    Body,
    Cancel,
    CatchFailures,
    Checkpoint,
    Fail,
    Get,
    Group,
    GuardCancel,
    Hold,
    JoinQueue,
    Meet,
    MoveDeadline,
    Notify,
    Program,
    Put,
    Receive,
    Send,
    SetEvent,
    SetShield,
    ShutDown,
    Sleep,
    Spawn,
    Start,
    Started,
    TaskDone,
    WaitEvent,
    WaitNotice,
    Within,
)

__all__ = ["FOUND", "KNOWN"]

FOUND = {
    # A group that fails ends a child by its scope, and has caught that; it told of its block only.
    "a group catches what ended its children": Program((Group("g1", (Spawn("g1", "t1", (Sleep(1.0),)), Fail("f1"))),)),
    "a group without failures, too": Program((Group("g1", (Spawn("g1", "t1", (Sleep(1.0),)), Cancel("g1"))),)),
    # The child was cancelled with its caller, said so, and went on in a group that nobody had cancelled.
    "a child that starts too late stays with its caller": Program(
        (
            Group(
                "g1",
                (
                    Within(
                        "s1",
                        (
                            Start(
                                "g1",
                                "t1",
                                (GuardCancel((Sleep(5.0),), (Started(), Sleep(2.0)), swallows=True), Sleep(3.0)),
                            ),
                        ),
                        deadline=1.5,
                    ),
                    Sleep(1.0),
                ),
            ),
        )
    ),
    "and so does one whose group is cancelled": Program(
        (
            Group(
                "g1",
                (
                    Spawn("g1", "t1", (Start("g1", "t2", (Cancel("g1"), Started(), Sleep(1.0))),)),
                    Sleep(4.0),
                ),
            ),
        )
    ),
    # The model was wrong: who is cancelled before its child's silent end reaches it raises the cancellation.
    "a child that never starts, and a caller that is cancelled in that moment": Program(
        (Group("g1", (Spawn("g1", "t1", (Start("g1", "t2", ()),)), Checkpoint(), Fail("f1"))),)
    ),
    # The model was wrong: a shield may come between a cancellation and the wait that is about to hear of it.
    "a shield between a cancel and the next wait": Program(
        (
            Group(
                "g1",
                (
                    Spawn("g1", "t1", (SetShield("s2", True),)),
                    Within("s1", (Cancel("s1"), Within("s2", (Checkpoint(), Sleep(1.0)), deadline=1.5))),
                ),
            ),
        )
    ),
}


def _tasks(*bodies: Body) -> Program:
    """One task for each body, in one group."""
    return Program((Group("g1", tuple(Spawn("g1", f"t{number}", body) for number, body in enumerate(bodies, 1))),))


KNOWN = {
    "a deadline that has passed": Program((Sleep(2.0), Within("s1", (Sleep(0.0), Fail("f1")), deadline=1.5))),
    "a cancel before the scope is entered": Program((Cancel("s1"), Within("s1", (Checkpoint(), Fail("f1"))))),
    "a cancel before a task has run": Program(
        (Group("g1", (Spawn("g1", "t1", (SetEvent("e1"), Checkpoint(), Fail("f1"))), Cancel("g1"))),)
    ),
    "an older cancellation leaves nothing behind": Program(
        (Within("s1", (Sleep(5.0),), deadline=1.5), Within("s2", (Sleep(1.0), Checkpoint()), deadline=9.5))
    ),
    "a cancelled group waits for its children": Program(
        (
            Group(
                "g1",
                (
                    Spawn(
                        "g1",
                        "t1",
                        (GuardCancel((Sleep(9.0),), (Within("s1", (Sleep(3.0),), deadline=9.5, shield=True),)),),
                    ),
                    Sleep(1.0),
                    Cancel("g1"),
                ),
            ),
            Sleep(1.0),
        )
    ),
    "leaving a group in a cancelled scope raises": Program(
        (
            Within(
                "s1",
                (
                    Group("g1", (Spawn("g1", "t1", (Within("s2", (Sleep(3.0),), deadline=9.5, shield=True),)),)),
                    SetEvent("e1"),
                ),
                deadline=1.5,
            ),
        )
    ),
    "cancellations alone are no group": Program(
        (Within("s1", (Group("g1", (Spawn("g1", "t1", (Sleep(9.0),)), Sleep(9.0))),), deadline=1.5), Sleep(1.0))
    ),
    "all failures come out": Program(
        (
            Group(
                "g1",
                (
                    Spawn("g1", "t1", (GuardCancel((Sleep(5.0),), (Fail("f1"),)),)),
                    Spawn("g1", "t2", (GuardCancel((Sleep(5.0),), (Fail("f2"),)),)),
                    Sleep(1.0),
                    Fail("f3"),
                ),
            ),
        )
    ),
    "a failure beside a cancellation from outside": Program(
        (
            CatchFailures(
                (
                    Within(
                        "s1",
                        (
                            Group(
                                "g1",
                                (Spawn("g1", "t1", (GuardCancel((Sleep(5.0),), (Fail("f1"),)),)), Sleep(9.0)),
                            ),
                        ),
                        deadline=1.5,
                    ),
                )
            ),
            Sleep(1.0),
        )
    ),
    "the outer cancellation goes on behind a shield": Program(
        (
            Within(
                "s1",
                (Within("s2", (Sleep(3.0), Checkpoint()), deadline=9.5, shield=True), Checkpoint(), Fail("f1")),
                deadline=1.5,
            ),
        )
    ),
    "a shield in the block is none for the siblings": _tasks(
        (Within("s1", (Sleep(3.0),), deadline=9.5, shield=True), Sleep(3.0)), (Sleep(1.0), Cancel("g1")), (Sleep(9.0),)
    ),
    "a shield that is taken away": _tasks(
        (Within("s1", (Sleep(9.0),), deadline=9.5, shield=True),),
        (Sleep(1.0), Cancel("g1"), Within("s2", (Sleep(1.0), SetShield("s1", False)), deadline=9.5, shield=True)),
    ),
    "an inner scope does not swallow what the outer one is due": Program(
        (Within("s1", (Within("s2", (Cancel("s2"), Cancel("s1"), Checkpoint())), Fail("f1"))),)
    ),
    "a block that was cancelled by hand before its deadline": _tasks(
        (Within("s1", (GuardCancel((Sleep(9.0),), (Checkpoint(),)),), deadline=1.5, fails=True),),
        (Sleep(1.0), Cancel("s1")),
    ),
    "a deadline that is an error": Program((CatchFailures((Within("s1", (Sleep(9.0),), deadline=1.5, fails=True),)),)),
    "a deadline that is moved away": Program((Within("s1", (MoveDeadline("s1", 5.5), Sleep(3.0)), deadline=1.5),)),
    "a deadline that is moved to the past": _tasks(
        (Within("s1", (Sleep(9.0),), deadline=9.5),), (Sleep(2.0), MoveDeadline("s1", 0.5), MoveDeadline("s1", 7.5))
    ),
    "a lock is handed over in order": _tasks(
        (Hold("l1", (Sleep(4.0),)),),
        (Sleep(1.0), Hold("l1", (Sleep(1.0),))),
        (Sleep(2.0), Hold("l1", (Sleep(1.0),))),
        (Sleep(3.0), Hold("l1", (Sleep(1.0),))),
    ),
    "a lock that was granted is not lost by a cancel": _tasks(
        (Hold("l1", (Sleep(2.0),)), Cancel("s1")),
        (Sleep(1.0), Within("s1", (Hold("l1", (SetEvent("e1"), Sleep(1.0))),))),
        (Sleep(2.0), Hold("l1", (Sleep(1.0),))),
    ),
    "who is cancelled leaves the line": _tasks(
        (Hold("l1", (Sleep(3.0),)),),
        (Within("s1", (Sleep(1.0), Hold("l1", ())), deadline=1.5),),
        (Sleep(2.0), Hold("l1", (Sleep(1.0),))),
    ),
    "a semaphore has room for two": _tasks(
        (Hold("s1", (Sleep(3.0),)),), (Hold("s1", (Sleep(2.0),)),), (Sleep(1.0), Hold("s1", (Sleep(1.0),)))
    ),
    "a limiter's token that was granted is not lost by a cancel": _tasks(
        (Hold("n1", (Sleep(2.0),)), Cancel("s1")),
        (Sleep(1.0), Within("s1", (Hold("n1", (Checkpoint(),)),))),
        (Sleep(2.0), Hold("n1", (Sleep(1.0),))),
    ),
    "a cancelled wait for a notice ends with the lock": _tasks(
        (Within("s1", (Hold("c1", (GuardCancel((WaitNotice("c1"),), ()), Sleep(1.0))),), deadline=1.5),),
        (Sleep(1.0), Hold("c1", (Sleep(2.0),)), Sleep(1.0)),
    ),
    "the notice for which a cancelled task waited is the next one's": _tasks(
        (Within("s1", (Hold("c1", (WaitNotice("c1"),)),), deadline=1.5),),
        (Sleep(1.0), Hold("c1", (WaitNotice("c1"), Sleep(1.0)))),
        (Sleep(2.0), Hold("c1", (Notify("c1"),))),
    ),
    "a shielded wait for the lock comes after a notice": _tasks(
        (Within("s1", (Hold("c1", (WaitNotice("c1"), Checkpoint())),)),),
        (Sleep(1.0), Hold("c1", (Notify("c1"), Sleep(2.0)))),
        (Sleep(2.0), Cancel("s1")),
    ),
    "those who came first are notified first": _tasks(
        (Hold("c1", (WaitNotice("c1"),)),),
        (Sleep(1.0), Hold("c1", (WaitNotice("c1"),))),
        (Sleep(2.0), Hold("c1", (WaitNotice("c1"),))),
        (Sleep(3.0), Hold("c1", (Notify("c1"),)), Sleep(1.0), Hold("c1", (Notify("c1", None),))),
    ),
    "who is cancelled at a barrier counts no more": _tasks(
        (Within("s1", (Meet("b1"),), deadline=1.5),), (Sleep(2.0), Meet("b1")), (Sleep(3.0), Meet("b1"))
    ),
    "who was met at a barrier has been met, also if he is cancelled": _tasks(
        (Within("s1", (Meet("b1"), Sleep(1.0))),), (Sleep(1.0), Meet("b1"), Cancel("s1")), (Sleep(1.0), Cancel("s1"))
    ),
    "an item that was handed over is not lost by a cancel": _tasks(
        (Within("s1", (Receive("c1"), Sleep(1.0))), Sleep(1.0)), (Sleep(1.0), Send("c1", "i1"), Cancel("s1"))
    ),
    "an item of a cancelled sender is not sent": _tasks(
        (Send("c1", "i1"), Within("s1", (Send("c1", "i2"),), deadline=1.5)),
        (Sleep(2.0), Receive("c1"), Within("s2", (Receive("c1"),), deadline=3.5)),
    ),
    "items come in order": _tasks(
        (Send("c1", "i1"), Send("c1", "i2"), Send("c1", "i3")),
        (Sleep(1.0), Receive("c1"), Receive("c1"), Receive("c1")),
    ),
    "an item that was given to a getter is not lost by a cancel": _tasks(
        (Within("s1", (Get("q1"), Sleep(1.0))), Sleep(1.0)),
        (Sleep(1.0), Put("q1", "i1"), Cancel("s1"), Within("s2", (Get("q1"),), deadline=2.5)),
    ),
    "an item of a cancelled putter is not put": _tasks(
        (Put("q1", "i1"), Within("s1", (Put("q1", "i2"),), deadline=1.5)),
        (Sleep(2.0), Get("q1"), TaskDone("q1"), JoinQueue("q1"), Within("s2", (Get("q1"),), deadline=3.5)),
    ),
    "an item that has its room is put, also if its putter is cancelled": _tasks(
        (Put("q1", "i1"), Within("s1", (Put("q1", "i2"), Sleep(1.0)))),
        (Sleep(1.0), Get("q1"), Cancel("s1"), Get("q1")),
    ),
    "who joined a queue is not called back": _tasks(
        (Put("q1", "i1"), JoinQueue("q1"), Sleep(1.0)), (Sleep(1.0), TaskDone("q1"), Put("q2", "i2"), Get("q1"))
    ),
    "an item of which somebody waits to be rid is no task yet": _tasks(
        (Put("q1", "i1"), Put("q1", "i2")), (Sleep(1.0), TaskDone("q1"), TaskDone("q1"), JoinQueue("q1"), Get("q1"))
    ),
    "it is one as soon as there is room for it": _tasks(
        (Put("q1", "i1"), Put("q1", "i2")), (Sleep(1.0), Get("q1"), TaskDone("q1"), TaskDone("q1"), TaskDone("q1"))
    ),
    "who joins a queue waits for the last task": _tasks(
        (Put("q2", "i1"), Put("q2", "i2"), JoinQueue("q2")), (Sleep(1.0), TaskDone("q2"), Sleep(1.0), TaskDone("q2"))
    ),
    "a queue that is shut down is emptied": _tasks(
        (Put("q1", "i1"), CatchFailures((Put("q1", "i2"),)), CatchFailures((Put("q1", "i3"),))),
        (Sleep(1.0), ShutDown("q1"), Get("q1"), CatchFailures((Get("q1"),))),
    ),
    "a shutdown that drops items ends their tasks": _tasks(
        (Put("q2", "i1"), Put("q2", "i2"), JoinQueue("q2"), CatchFailures((Get("q2"),))),
        (CatchFailures((Sleep(1.0), Get("q1"))),),
        (Sleep(2.0), ShutDown("q2", immediate=True), ShutDown("q1")),
    ),
    "who is sent away by a shutdown is not cancelled as well": _tasks(
        (Within("s1", (CatchFailures((Get("q1"),)), Sleep(1.0))),), (Sleep(1.0), ShutDown("q1"), Cancel("s1"))
    ),
    "an event that comes with a cancel": _tasks(
        (Within("s1", (WaitEvent("e1"), Sleep(1.0))),), (Sleep(1.0), SetEvent("e1"), Cancel("s1"))
    ),
    "a child that has started is the group's": Program(
        (
            Group(
                "g1",
                (
                    Within("s1", (Start("g1", "t1", (Sleep(1.0), Started(), Sleep(9.0))), Sleep(9.0)), deadline=2.5),
                    Sleep(2.0),
                    Cancel("g1"),
                ),
            ),
        )
    ),
    "a child that fails before it has started fails its caller": Program(
        (Group("g1", (CatchFailures((Start("g1", "t1", (Sleep(1.0), Fail("f1"))),)), Sleep(1.0))),)
    ),
    "a cancelled start waits for the child": Program(
        (
            Group(
                "g1",
                (
                    Within(
                        "s1",
                        (
                            Start(
                                "g1",
                                "t1",
                                (GuardCancel((Sleep(9.0),), (Within("s2", (Sleep(3.0),), 9.5, shield=True),)),),
                            ),
                        ),
                        deadline=1.5,
                    ),
                    Sleep(1.0),
                ),
            ),
        )
    ),
    "a swallowed cancellation comes again": Program(
        (Within("s1", (GuardCancel((Sleep(9.0),), (), swallows=True), Checkpoint(), Fail("f1")), deadline=1.5),)
    ),
}
