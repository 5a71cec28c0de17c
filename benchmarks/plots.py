"""A bar for each subject, as SVG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.report import Measured

__all__ = ["plot"]

OURS, THEIRS = "#2563a8", "#b8bfc8"


def plot(measured: Measured) -> str:
    """Medians as bars, with the least and the most of the rounds."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "bridgeio"  # the same figures give the same file
    from matplotlib import pyplot as plt

    subjects = list(reversed(measured.samples))
    medians = [measured.median_of(subject) for subject in subjects]
    values = [[sample.value for sample in measured.samples[subject]] for subject in subjects]
    spread = [
        [middle - min(taken) for middle, taken in zip(medians, values, strict=True)],
        [max(taken) - middle for middle, taken in zip(medians, values, strict=True)],
    ]
    colours = [OURS if subject.startswith("bridgeio") else THEIRS for subject in subjects]
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.28 * len(subjects)))
    axes.barh(subjects, medians, xerr=spread, color=colours, error_kw={"elinewidth": 0.8})
    axes.set_title(measured.work.title, fontsize=10)
    axes.set_xlabel(measured.work.unit, fontsize=9)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()
