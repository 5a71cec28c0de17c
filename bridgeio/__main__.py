"""``python -m bridgeio``."""

from __future__ import annotations

import sys

from bridgeio.cli import main

__all__: list[str] = []

sys.exit(main())
