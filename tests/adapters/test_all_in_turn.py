"""All backends in one process, in turn, again and again: none spoils the next, and the process ends by itself."""

from __future__ import annotations

import subprocess
import sys

import bridgeio

PROGRAM = """
import os, random, sys, threading
import bridgeio

async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()

async def main(backend):
    assert bridgeio.current_backend() == backend
    async with bridgeio.serve(echo, "127.0.0.1") as server:
        reader, writer = await bridgeio.open_connection("127.0.0.1", server.port)
        async with writer:
            writer.write(b"round\\n")
            assert await reader.readline() == b"round\\n"

backends = sys.argv[1:] * 10
random.Random(7).shuffle(backends)
held = []
for number, backend in enumerate(backends):
    bridgeio.run(main, backend, backend=backend)
    held.append((len(os.listdir("/dev/fd")), threading.active_count()))
half = len(held) // 2
print(len(backends), "runs;", "grew" if max(held[half:]) > max(held[:half]) else "steady", held[0], held[-1])
"""


def test_seventy_runs_in_turn_leave_nothing_and_the_process_ends() -> None:
    """Ten runs on each installed backend, in a fixed random order: no descriptor, no thread, no hanging exit."""
    backends = bridgeio.available_backends()
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, *backends], capture_output=True, text=True, timeout=50, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"{10 * len(backends)} runs; steady"), finished.stdout + finished.stderr
