"""Measures bridgeio beside each framework's own way: subjects take turns, A B A B, over several rounds.

The figure that counts is the server process's CPU time (user and system), as a ratio to the framework's own way in
the same run: throughput and latency depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.report import Run
from benchmarks.server import OURS
from benchmarks.summary import write_summary
from benchmarks.works import QUICK, WORKS, Work
from bridgeio.registry import available_backends

EVERYTHING = "all"


def main() -> None:
    options = options_of(sys.argv[1:])
    names = list(WORKS) if EVERYTHING in options.work else options.work
    run = Run(options.rounds, options.seconds)
    for name in names:
        work = WORKS[name]
        measured = run.begin(name, work)
        subjects = subjects_of(work, options.backend or available_backends())
        for number in range(options.rounds):
            for subject in subjects:
                _progress(f"{name}, round {number + 1} of {options.rounds}: {subject}")
                measured.add(subject, work.measure(subject, options.seconds))
        _progress("")
        if subjects:
            print(measured.table(), end="\n\n", flush=True)
    if options.record:
        run.record(options.record)
        write_summary(options.record)


def subjects_of(work: Work, backends: list[str] | tuple[str, ...]) -> list[str]:
    """Ours of these backends, and after each its twins; each once."""
    chosen: dict[str, None] = {}
    for ours, twins in work.twins.items():
        if not ours.startswith(OURS) or ours.removeprefix(OURS) in backends:
            chosen |= dict.fromkeys((ours, *twins))
    return list(chosen)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<78}\r", end="", file=sys.stderr, flush=True)


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    told = f"{', '.join([*WORKS, EVERYTHING])}; by default {', '.join(QUICK)}"
    parser.add_argument("work", nargs="*", type=_work, default=list(QUICK), metavar="WORK", help=told)
    backends = available_backends()
    only = f"only this one, of {', '.join(backends)}; may be given again"
    parser.add_argument("--backend", action="append", choices=backends, metavar="NAME", help=only)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of load, for each subject in each round")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="writes tables, plots and every sample there")
    return parser.parse_args(arguments)


def _work(name: str) -> str:
    """Not by ``choices``: Python 3.11 would look for the default among them, the whole list at once."""
    if name not in WORKS and name != EVERYTHING:
        raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {', '.join([*WORKS, EVERYTHING])}")
    return name


if __name__ == "__main__":
    main()
