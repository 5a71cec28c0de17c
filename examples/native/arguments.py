"""The command line that all servers in this folder share, so that each of them shows its framework only."""

from __future__ import annotations

import argparse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Echoes lines over TCP, with one framework's own means.")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: one that the system chooses")
    return parser.parse_args()


def announce(port: int) -> None:
    print(f"listening on port {port}", flush=True)
