"""Ctrl-C in a call of `bridgeio.blocking`, at each line of ours: the call ends with it, and nothing stays half done."""

from __future__ import annotations

import pytest

from bridgeio.testing.programs import run_program

SWEEP = """
import signal, sys, threading

TRACING = '''
def interrupting(number):
    left = number
    def count(frame, event, arg):
        nonlocal left
        if event == "line":
            left -= 1
            if not left:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return count
    def begin(frame, event, arg):
        return count if frame.f_globals.get("__name__", "").startswith("bridgeio") else None
    return begin, lambda: left > 0
'''
# To the handler these frames are the standard library's, at work for whoever is traced.
tracing = {"__name__": "contextlib", "signal": signal, "sys": sys}
exec(TRACING, tracing)

async def work():
    await bridgeio.sleep(0.001)

def others_work():
    while not ended.is_set():
        bridgeio.blocking(bridgeio.sleep)(0.0005)

ended = threading.Event()
with_others = OPTIONS["with_others"]
call = bridgeio.blocking(work)
call()
if with_others:
    threading.Thread(target=others_work, daemon=True).start()

points = 0
while True:
    points += 1
    begin, was_early = tracing["interrupting"](points)
    sys.settrace(begin)
    try:
        call()
    except KeyboardInterrupt:
        sys.settrace(None)
    else:
        sys.settrace(None)
        assert was_early(), f"Ctrl-C at line {points} was lost"
        break
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), f"after Ctrl-C at line {points} nobody can call any more"
    call()  # and it is not told once more
ended.set()
print("interrupted" if points > 100 else f"only {points} lines of ours")
"""


@pytest.mark.parametrize("with_others", [False, True], ids=["alone", "with others"])
def test_ctrl_c_at_each_line_of_a_blocking_call(with_others: bool) -> None:
    """Wherever it falls: KeyboardInterrupt comes out of the call, and the next ones find everything in order."""
    assert run_program(SWEEP, "threads", with_others=with_others) == "interrupted\n"
