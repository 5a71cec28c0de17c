"""What several tests of the house share: a clean copy of the checkout, and what is built from it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from checkout import ROOT
from fresh import Distributions, run


@pytest.fixture(scope="session")
def clean_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as a clone would have it: building writes into the tree, and an old build leaks into a new one."""
    copy = tmp_path_factory.mktemp("clean") / "bridgeio"
    leftovers = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "_build", "venv")
    shutil.copytree(ROOT, copy, ignore=leftovers)
    return copy


@pytest.fixture(scope="session")
def distributions(clean_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """An sdist, and the wheel that is built from that sdist alone."""
    output = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", output, clean_copy, cwd=output)
    return Distributions(wheel=next(output.glob("*.whl")), sdist=next(output.glob("*.tar.gz")))
