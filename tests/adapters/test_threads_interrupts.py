"""Ctrl-C on threads, at each line of ours: the call or the run ends with it, at once, and nothing stays half done."""

from __future__ import annotations

import pytest

import bridgeio
from bridgeio.registry import current_task
from bridgeio.testing.programs import run_program
from bridgeio_threads.task import ThreadTask
from on_threads import run

TRACING = """
import signal, sys, threading

INTERRUPTING = '''
def interrupting(number, hears):
    left = number
    def count(frame, event, arg):
        nonlocal left
        if event == "line":
            left -= 1
            if not left:
                sys.settrace(None)
                hears()
                signal.raise_signal(signal.SIGINT)
        return count
    def begin(frame, event, arg):
        return count if frame.f_globals.get("__name__", "").startswith("bridgeio") else None
    return begin, lambda: left > 0
'''
# To the handler these frames are the standard library's, at work for whoever is traced.
tracing = {"__name__": "contextlib", "signal": signal, "sys": sys}
exec(INTERRUPTING, tracing)
"""

SWEEP = """
heard = False
ended_though_heard = False

async def work():
    global ended_though_heard
    if OPTIONS["waits"]:
        had_heard = heard
        await bridgeio.sleep(10 if had_heard else 0.002)  # the short one may be over before Ctrl-C comes, or just then
        ended_though_heard = had_heard

def hears():
    global heard
    heard = True

def others_work():
    while not all_over.is_set():
        bridgeio.blocking(bridgeio.sleep)(0.0005)

all_over = threading.Event()
with_others = OPTIONS["with_others"]
call = bridgeio.blocking(work)
call()
if with_others:
    threading.Thread(target=others_work, daemon=True).start()

points = 0
while True:
    points += 1
    begin, was_early = tracing["interrupting"](points, hears)
    sys.settrace(begin)
    try:
        call()
    except KeyboardInterrupt:
        sys.settrace(None)
        assert not ended_though_heard, f"Ctrl-C at line {points} was told only after a wait"
    else:
        sys.settrace(None)
        assert was_early(), f"Ctrl-C at line {points} was lost"
        break
    heard = False
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), f"after Ctrl-C at line {points} nobody can call any more"
    call()  # and it is not told once more
all_over.set()
print("interrupted" if points > 50 else f"only {points} lines of ours")
"""


@pytest.mark.parametrize("waits", [True, False], ids=["one that waits", "one that never waits"])
@pytest.mark.parametrize("with_others", [False, True], ids=["alone", "with others"])
def test_ctrl_c_at_each_line_of_a_blocking_call(with_others: bool, waits: bool) -> None:
    """Wherever it falls: KeyboardInterrupt comes out of the call, and the next ones find everything in order."""
    assert run_program(TRACING + SWEEP, "threads", with_others=with_others, waits=waits) == "interrupted\n"


CAUGHT = """
async def work():
    try:
        await bridgeio.sleep(0.002)
    except KeyboardInterrupt:
        return "caught"
    return "came to its end"

call = bridgeio.blocking(work)
outcomes = {"caught": 0, "came to its end": 0, "raised": 0}
points = 0
while True:
    points += 1
    begin, was_early = tracing["interrupting"](points, lambda: None)
    sys.settrace(begin)
    try:
        outcome = call()
    except KeyboardInterrupt:
        outcome = "raised"
    finally:
        sys.settrace(None)
    if was_early():
        break
    outcomes[outcome] += 1
    assert call() == "came to its end", f"Ctrl-C at line {points} was told once more"
print(outcomes["came to its end"], outcomes["caught"] > 50, outcomes["raised"] > 20)
"""


def test_ctrl_c_that_a_blocking_call_has_caught() -> None:
    """It is over with that, as anywhere in Python: the call goes on, and returns what it has to say. What comes too
    early or too late for the call's own waits comes out of it, and none is lost."""
    assert run_program(TRACING + CAUGHT, "threads") == "0 True True\n"


WAITING = """
import os, signal, sys, threading, time

def interrupt_its_wait():
    main = threading.main_thread().ident
    waits = ("bridgeio_threads.gate", "bridgeio_threads.lookout", "selectors", "bridgeio_app")
    while sys._current_frames()[main].f_globals["__name__"] not in waits:
        os.sched_yield()
    os.kill(os.getpid(), signal.SIGINT)

async def wait():
    threading.Thread(target=interrupt_its_wait, daemon=True).start()
    await bridgeio.sleep(20)
"""

INSIDE = """
import contextlib
section = bridgeio.lowlevel.blocking_section if OPTIONS["section"] else contextlib.nullcontext

async def main():
    with section():
        try:
            if OPTIONS["inner"] == "blocking":
                bridgeio.blocking(wait)()
            else:
                bridgeio.run(wait, backend=OPTIONS["inner"])
        except KeyboardInterrupt:
            print("interrupted")
    await bridgeio.sleep(0)
    print("goes on")

if OPTIONS["outer"] == "blocking":
    bridgeio.blocking(main)()
else:
    bridgeio.run(main, backend=OPTIONS["outer"])
"""


@pytest.mark.parametrize(
    ("inner", "section"), [("blocking", True), ("threads", True), ("asyncio", True), ("asyncio", False)]
)
@pytest.mark.parametrize("outer", ["blocking", "threads"])
def test_ctrl_c_in_what_a_task_runs(outer: str, inner: str, section: bool) -> None:
    """It is for the call or the run that waits there, and at once; the task around hears nothing of it."""
    printed = run_program(WAITING + INSIDE, "threads", outer=outer, inner=inner, section=section)
    assert printed == "interrupted\ngoes on\n"


COMPUTING = """
app = {"__name__": "bridgeio_app", "time": time}
exec("def compute(until):\\n    while time.monotonic() < until: pass", app)

async def compute():
    threading.Thread(target=interrupt_its_wait, daemon=True).start()
    app["compute"](time.monotonic() + 20)

try:
    bridgeio.blocking(compute)()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_in_an_application_that_is_called_after_bridgeio() -> None:
    """Its code is its own, whatever its name begins with, and is interrupted where it is."""
    assert run_program(WAITING + COMPUTING, "threads") == "interrupted\n"


AT_THE_END = """
closing = bridgeio.Event()

async def numbers():
    try:
        yield 1
    finally:
        closing.set()
        await bridgeio.sleep(20)

async def main():
    async for number in numbers():
        break
    await closing.wait()  # in a task of its own, as nobody else closes it
    threading.Thread(target=interrupt_its_wait, daemon=True).start()

try:
    bridgeio.run(main, backend="threads")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_while_a_run_waits_for_its_last_tasks() -> None:
    """A generator that was left behind and takes long to end is cancelled, and not waited for any longer."""
    assert run_program(WAITING + AT_THE_END, "threads") == "interrupted\n"


PUT_BACK = """
saved = None

async def save():
    global saved
    saved = signal.signal(signal.SIGINT, signal.SIG_IGN)

async def put_back():
    signal.signal(signal.SIGINT, saved)

bridgeio.blocking(save)()
bridgeio.blocking(put_back)()
for attempt in (bridgeio.blocking(wait), lambda: signal.raise_signal(signal.SIGINT)):
    try:
        attempt()
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_a_handler_that_is_put_back_later() -> None:
    """One that a program found in a call interrupts the calls to come, and what is outside of them."""
    assert run_program(WAITING + PUT_BACK, "threads") == "interrupted\ninterrupted\n"


def test_ctrl_c_between_two_waits_of_one_operation() -> None:
    """It comes when the first wait is over and its task has not gone on yet: the second begins, and raises it."""
    seen: list[str] = []

    async def operation(task_status: bridgeio.TaskStatus[ThreadTask]) -> None:
        task = current_task()
        assert isinstance(task, ThreadTask)
        task_status.started(task)
        await task.park(lambda: False)
        seen.append("first")
        try:
            await task.park(lambda: True)
        except KeyboardInterrupt:
            seen.append("interrupted")

    async def main() -> None:
        async with bridgeio.create_task_group() as group:
            task = await group.start(operation)
            while task.abort is None:
                await bridgeio.sleep(0)
            task.wake()
            task.strike(KeyboardInterrupt())

    run(main)
    assert seen == ["first", "interrupted"]
