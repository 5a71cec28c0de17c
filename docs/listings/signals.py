from collections.abc import Callable
from signal import SIGHUP, SIGINT, SIGTERM

import bridgeio


async def watch_signals(reload: Callable[[], object], scope: bridgeio.CancelScope) -> None:
    with bridgeio.open_signal_receiver(SIGHUP, SIGINT, SIGTERM) as signals:
        async for number in signals:
            if number == SIGHUP:
                reload()
            else:
                scope.cancel(f"the program was told to end by {number.name}")
