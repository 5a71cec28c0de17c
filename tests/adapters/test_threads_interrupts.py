"""Ctrl-C in a call of `bridgeio.blocking`, at each line of ours: the call ends with it, at once, and nothing stays half
done."""

from __future__ import annotations

import pytest

from bridgeio.testing.programs import run_program

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
begun, ended_by_themselves, begun_before = 0, 0, 0  # waits; those before Ctrl-C came may be over when it does

async def work():
    global begun, ended_by_themselves
    begun += 1
    if OPTIONS["waits"]:
        await bridgeio.sleep(0.002)
    ended_by_themselves = begun

def hears():
    global begun_before
    begun_before = begun

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
        in_time = ended_by_themselves <= begun_before or not OPTIONS["waits"]
        assert in_time, f"Ctrl-C at line {points} was told only after a wait"
    else:
        sys.settrace(None)
        assert was_early(), f"Ctrl-C at line {points} was lost"
        break
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
