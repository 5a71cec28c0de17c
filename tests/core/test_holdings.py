"""What the kit counts as held: a thread of the kernel's own that works for io_uring is nobody's leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridgeio.testing import resources


def test_workers_of_io_uring_are_no_threads_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux lists them beside the threads; one that ends while they are counted is none."""
    for number, name in enumerate(["python3.11", "libuv-worker", "iou-wrk-7625", "iou-sqp-7625"]):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "comm").write_text(f"{name}\n")
    (tmp_path / "ended").mkdir()
    monkeypatch.setattr(resources, "TASKS", tmp_path)
    assert resources.threads() == 2
