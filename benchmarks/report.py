"""What a run has found: tables to read, and a record with every sample."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.sampling import PARTS
from benchmarks.works import Sample, Work
from bridgeio.registry import available_backends, backend

__all__ = ["Measured", "Run"]

DETAILS = {
    "per_second": "a second",
    "p50_us": "p50 us",
    "p99_us": "p99 us",
    "events": "ready",
    **{part: part for part in PARTS},
}
NOTES = (
    "ratio: ours to this one's, the median over the rounds; * the load, not the server, was the limit\n"
    "ready: connections that had an answer when the load looked"
)


class Measured:
    """One piece of work, and its samples.

    :ivar samples: of each subject, one for each round.
    """

    def __init__(self, work: Work, rounds: int, seconds: float) -> None:
        self.work = work
        self.samples: dict[str, list[Sample]] = {}
        self._how = f"{rounds} rounds, {seconds:g} s"

    def add(self, subject: str, sample: Sample) -> None:
        self.samples.setdefault(subject, []).append(sample)

    def ratio(self, ours: str, twin: str) -> float:
        """The median of the rounds' ratios: what drifts between rounds drifts for both."""
        pairs = zip(self.samples[ours], self.samples[twin], strict=True)
        return median(mine.value / theirs.value for mine, theirs in pairs)

    def median_of(self, subject: str) -> float:
        return median(sample.value for sample in self.samples[subject])

    def starved(self, subject: str) -> bool:
        """Whether the load was the limit, in most rounds."""
        taken = self.samples[subject]
        return sum(sample.starved for sample in taken) * 2 > len(taken)

    def table(self) -> str:
        """The subjects of ours, each with its twins below it."""
        details = [name for name in DETAILS if any(name in s.details for some in self.samples.values() for s in some)]
        heads = "".join(f"{DETAILS[name]:>10}" for name in details)
        lines = [
            f"{self.work.title}, {self._how}",
            f"{self.work.unit}, median [least, most]",
            f"{'':<32}{'median':>9}  {'[least, most]':<20}{'ratio':>6}{'goal':>7}{heads}",
        ]
        for ours, twins in self.work.twins.items():
            if ours in self.samples:
                lines.append(self._row(ours, None, self.work.goals.get((ours, "")), details))
                lines += [
                    self._row(twin, self.ratio(ours, twin), self.work.goals.get((ours, twin)), details)
                    for twin in twins
                ]
        return "\n".join([*lines, NOTES])

    def _row(self, subject: str, ratio: float | None, goal: float | None, details: list[str]) -> str:
        taken = self.samples[subject]
        values = [sample.value for sample in taken]
        starved = "*" if self.starved(subject) else " "
        told = "".join(_column(median(sample.details[name] for sample in taken)) for name in details)
        name = subject if ratio is None else f"  {subject}"
        return (
            f"{name:<32}{median(values):>9,.2f}{starved} {f'[{min(values):,.2f}, {max(values):,.2f}]':<20}"
            f"{'' if ratio is None else f'{ratio:.2f}':>6}{'' if goal is None else f'{goal:.2f}':>7}{told}"
        ).rstrip()


def _column(figure: float) -> str:
    return f"{figure:>10,.0f}" if figure >= 100 else f"{figure:>10.1f}"


class Run:
    """Everything that was measured in one run."""

    def __init__(self, rounds: int, seconds: float) -> None:
        self._rounds = rounds
        self._seconds = seconds
        self._measured: dict[str, Measured] = {}

    def begin(self, name: str, work: Work) -> Measured:
        measured = self._measured[name] = Measured(work, self._rounds, self._seconds)
        return measured

    def record(self, folder: Path) -> None:
        """For each piece of work a page with its table, all samples, and a plot where there is what draws it."""
        folder.mkdir(parents=True, exist_ok=True)
        about = self._about()
        can_plot = find_spec("matplotlib") is not None
        for name, measured in self._measured.items():
            if measured.samples:
                samples = {subject: [asdict(s) for s in taken] for subject, taken in measured.samples.items()}
                everything = {**about, "work": name, "title": measured.work.title, "samples": samples}
                (folder / f"{name}.json").write_text(json.dumps(everything, indent=1) + "\n")
                (folder / f"{name}.md").write_text(_page(name, measured, about, can_plot))
                if can_plot:
                    from benchmarks.plots import plot

                    (folder / f"{name}.svg").write_text(plot(measured))

    def _about(self) -> dict[str, object]:
        git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "commit": git.stdout.strip() or "unknown",
            "python": platform.python_version(),
            "system": platform.system(),
            "cpus": os.cpu_count(),
            "congestion": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
            "versions": dict(sorted(v for name in available_backends() for v in backend(name).versions().items())),
        }


def _page(name: str, measured: Measured, about: dict[str, object], plotted: bool) -> str:
    versions = about["versions"]
    assert isinstance(versions, dict)
    told = ", ".join(f"{what} {version}" for what, version in versions.items())
    image = f"```{{image}} performance/{name}.svg\n```\n\n" if plotted else ""
    return (
        f"### {measured.work.title}\n\n"
        f"`python -m benchmarks {name}` of {about['date']} at {about['commit']}: CPython {about['python']}, "
        f"{about['system']} (TCP by {about['congestion']}), {about['cpus']} cores; {told}.\n\n"
        f"{image}```text\n{measured.table()}\n```\n"
    )
