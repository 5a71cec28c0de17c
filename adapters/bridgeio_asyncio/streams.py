"""A pair of asyncio's streams for `bridgeio.wrap`: their transport goes on, with a protocol of ours."""

from __future__ import annotations

import asyncio
from typing import Any

from bridgeio.contract import Feed
from bridgeio.errors import BusyError

__all__ = ["AsyncioStream"]

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]

AT_ONCE = 65536  # bytes


class AsyncioStream(asyncio.Protocol):
    """A `bridgeio.contract.NativeStream`.

    The protocol that was there before hears how the connection ends, and when it may write, because the owner of
    the pair may wait for that. The pair is kept, because a `asyncio.StreamWriter` that nobody has closes its transport.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._transport: Any = pair[1].transport
        self._feed: Feed
        self._before: Any = None
        self._paused = False
        self._is_full = False

    @property
    def peer(self) -> Any:
        return self._transport.get_extra_info("peername") or self._transport.get_extra_info("sockname")

    @property
    def can_end_write(self) -> bool:
        return bool(self._transport.can_write_eof())

    def start(self, feed: Feed) -> None:
        """:raises TypeError: if the reader gets its bytes elsewhere, as those of a process's pipes do."""
        reader = self._pair[0]
        if not _is_one_connection(reader, self._transport):
            raise TypeError(
                "the asyncio.StreamReader and the asyncio.StreamWriter belong to different transports: wrap() takes "
                "the pair of one connection"
            )
        self._feed = feed
        ended = _drained(reader, feed)  # which makes the reader resume a transport that it had paused
        if self._paused:
            self._paused = False
            self.pause()
        if ended:
            feed.ended()
        if self._transport.is_closing():  # its protocol has heard that, and nobody hears it twice
            error = reader.exception()
            feed.lost(error if isinstance(error, OSError) else None)
            return
        self._before = self._transport.get_protocol()
        self._transport.set_protocol(self)
        # bridgeio has its own marks, and its own buffer. With a mark of 0 asyncio's TLS pauses after every write, and
        # goes on after the next.
        self._transport.set_write_buffer_limits(high=1, low=0)

    def write(self, data: bytes) -> bool:
        self._transport.write(data)
        return not self._is_full

    def pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def end_write(self) -> None:
        self._transport.write_eof()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def extra(self, name: str, default: Any) -> Any:
        return self._transport.get_extra_info(name, default)

    # As a protocol

    def data_received(self, data: bytes) -> None:
        self._feed.received(bytes(data))

    def eof_received(self) -> bool:
        """Whether the transport stays open, which it does not under asyncio's TLS."""
        self._feed.ended()
        return bool(self._transport.get_extra_info("sslcontext") is None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)
        self._feed.lost(exc if isinstance(exc, OSError) or exc is None else _as_oserror(exc))

    def pause_writing(self) -> None:
        self._is_full = True
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._is_full = False
        self._before.resume_writing()
        self._feed.has_room()


def _is_one_connection(reader: asyncio.StreamReader, transport: Any) -> bool:
    """Nothing public says whose bytes a reader gets; after ``start_tls`` it still names the transport below."""
    reads_from = getattr(reader, "_transport", None)
    return reads_from in (None, transport) or transport.get_extra_info("sslcontext") is not None


def _drained(reader: asyncio.StreamReader, feed: Feed) -> bool:
    """Feeds what the reader has by now, through its public door; whether that was the end.

    :raises BusyError: if a task is waiting for more.
    """
    while reader.exception() is None:
        reading = reader.read(AT_ONCE)
        try:
            reading.send(None)
        except StopIteration as done:
            if not done.value:
                return True
            feed.received(done.value)
        except RuntimeError as error:
            raise BusyError("another task is already reading from the asyncio.StreamReader") from error
        else:
            reading.close()  # it would wait
            return False
    return False


def _as_oserror(error: Exception) -> OSError:
    made = ConnectionAbortedError(f"asyncio's transport failed: {error!r}")
    made.__cause__ = error
    return made
