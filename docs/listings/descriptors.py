from typing import Protocol

from bridgeio.lowlevel import wait_readable, wait_writable


class Driver(Protocol):
    """What many drivers have: calls that never block, and a descriptor to wait for in between."""

    wants_write: bool

    def fileno(self) -> int: ...
    def is_done(self) -> bool: ...


async def finish(driver: Driver) -> None:
    while not driver.is_done():
        await (wait_writable if driver.wants_write else wait_readable)(driver)
