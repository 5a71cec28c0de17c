"""Other programs: one that is run to its end, one that is talked to, one with a deadline."""

from __future__ import annotations

import bridgeio


async def count_words(text: bytes) -> int:
    done = await bridgeio.run_process(["wc", "-w"], input=text)
    return int(done.stdout)


async def upper(lines: list[bytes]) -> list[bytes]:
    answers = []
    async with await bridgeio.open_process(["sed", "-u", "y/abc/ABC/"], stderr=None) as sed:
        assert sed.stdin is not None
        assert sed.stdout is not None
        for line in lines:
            sed.stdin.write(line)
            await sed.stdin.drain()
            answers.append(await sed.stdout.readline())
    return answers  # here sed has ended, and its code is sed.returncode


async def impatient(command: list[str], seconds: float) -> bytes | None:
    with bridgeio.move_on_after(seconds):
        return (await bridgeio.run_process(command, grace=1)).stdout
    return None  # it has been ended, and has left nothing behind
