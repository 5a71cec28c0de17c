"""One table of all goals, from whatever runs a folder has records of."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.report import Measured
from benchmarks.works import WORKS, Sample, Work

__all__ = ["write_summary"]

HEAD = "| work | | against | ratio | goal | | bare loop |\n|---|---|---|---|---|---|---|"
LOOP = "epoll in Python"  # no library, and so nothing that a library could leave out


def write_summary(folder: Path) -> None:
    """``summary.md``, of all the records that are there, this run's and older ones."""
    rows = [row for name, work in WORKS.items() for row in _rows(folder / f"{name}.json", work)]
    text = "\n".join(["### All goals", "", HEAD, *rows])
    (folder / "summary.md").write_text(f"{text}\n")


def _rows(record: Path, work: Work) -> list[str]:
    if not record.exists():
        return []
    measured = Measured(work, 0, 0)
    for subject, taken in json.loads(record.read_text())["samples"].items():
        for sample in taken:
            measured.add(subject, Sample(**sample))
    goals = {pair: goal for pair, goal in work.goals.items() if set(filter(None, pair)) <= set(measured.samples)}
    return [_row(measured, ours, twin, goal) for (ours, twin), goal in goals.items()]


def _row(measured: Measured, ours: str, twin: str, goal: float) -> str:
    ratio = round(_figure(measured, ours, twin), 2)
    reached = ratio >= goal if measured.work.more_is_better else ratio <= goal
    loop = f"{_figure(measured, LOOP, twin):.2f}" if LOOP in measured.samples else ""
    doubtful = "*" if measured.starved(ours) or (twin and measured.starved(twin)) else ""
    return (
        f"| {measured.work.title} | {ours.removeprefix('bridgeio on ')} | {twin or 'the figure itself'} "
        f"| {ratio:.2f}{doubtful} | {goal:.2f} | {'' if reached else 'missed'} | {loop} |"
    )


def _figure(measured: Measured, subject: str, twin: str) -> float:
    """What a goal is about: the ratio to the twin, or without one the subject's own."""
    return measured.ratio(subject, twin) if twin else measured.median_of(subject)
