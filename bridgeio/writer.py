"""The sending half of a stream, with asyncio's names."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bridgeio.buffers import Bytes, SealedBuffer, SendBuffer, flat, send_in_pieces
from bridgeio.checkpoints import begin
from bridgeio.contract import get_current
from bridgeio.corks import Cork
from bridgeio.drains import Drainers
from bridgeio.ends import ByteSink
from bridgeio.errors import BusyError, StreamClosedError, WriteBufferFullError, again, describe, show_address
from bridgeio.limits import HANDSHAKE_TIMEOUT, HIGH_WATER, LINGER, LOW_WATER, SEND_FIRST, WRITE_LIMIT, water_marks
from bridgeio.reader import Reader
from bridgeio.registry import current_task
from bridgeio.timers import Timer
from bridgeio.unpatched import get_ident

if TYPE_CHECKING:
    import ssl

    from bridgeio.tls import TlsLayer

__all__ = ["Writer"]


class Writer:
    """Bytes to the peer, in order. `open_connection` and servers make it; it belongs to their run.

    ``write`` hands them to the kernel at once, and keeps what it does not take; that is flushed in
    the background whatever the caller does next. Answers to a peer that has sent more by then go
    together: they are held back until its reader has nothing unread, or at the latest until the run's
    turn ends, which it does when all tasks wait. ``await drain()`` is the backpressure. Several tasks
    may write and drain; the bytes of one ``write`` stay together. A cancelled ``drain`` has not taken
    anything back. A flush that fails in the background is raised by the next ``write``, ``drain`` or
    ``wait_closed``.

    :ivar linger: seconds that ``close`` may go on flushing before it aborts (10).
    :ivar write_limit: bytes that may wait to be sent (64 MiB); both may be changed at any time.
    """

    __slots__ = (
        "_closing",
        "_cork",
        "_drainers",
        "_eof",
        "_error",
        "_high",
        "_layer",
        "_linger_timer",
        "_low",
        "_open",
        "_pending",
        "_reader",
        "_securing",
        "_send",
        "_source",
        "_untold",
        "linger",
        "write_limit",
    )

    def __init__(
        self,
        source: ByteSink,
        reader: Reader | None = None,
        *,
        write_limit: int = WRITE_LIMIT,
        linger: float = LINGER,
    ) -> None:
        self._source = source
        self._reader = reader
        self._cork = Cork(reader if source.joins_answers else None)
        self._layer: TlsLayer | None = None
        self._securing = False
        self._send = source.send
        self._pending = SendBuffer()
        self._drainers = Drainers(source)
        self._error: OSError | None = None
        self._open = True
        self._closing = False
        self._eof = False
        self._untold = False  # that somebody else's transport has lost what it had taken
        self._linger_timer: Timer | None = None
        self._high, self._low = HIGH_WATER, LOW_WATER
        self.write_limit = write_limit
        self.linger = linger

    def write(self, data: Bytes) -> None:  # noqa: C901 (the hot path: a call costs more)
        """Takes all of the bytes or none, and never waits. The caller may reuse a mutable buffer.

        More bytes than ``write_limit`` in one call are refused whole, whatever the kernel would take.

        :raises TypeError: for what is no bytes.
        :raises StreamClosedError: after ``close``, ``abort`` or ``write_eof``.
        :raises WriteBufferFullError: if more than ``write_limit`` bytes would wait.
        :raises OSError: if the connection is broken (`ConnectionResetError`, `BrokenPipeError`).
        """
        if type(data) is not bytes:
            data = flat(data)
        if not (self._open and self._source.usable):
            raise self._refusal()
        size = len(data)
        waiting = self._pending.size
        if waiting + size > self.write_limit:
            raise self._overflow(size)
        cork = self._cork
        if waiting:
            self._pending.append(cork.take(data) if cork.held else data)  # a TLS layer had something to say meanwhile
            return
        if cork.unread.size and cork.hold(data, min(self._high, self.write_limit), self, self._source.host.corked):
            return
        if cork.held:
            if len(cork.held) + size > self.write_limit or size > SEND_FIRST:  # many bytes are not copied
                self.uncork()
                self.write(data)
                return
            data = cork.take(data)
            size = len(data)
        send = self._send
        try:
            if size <= SEND_FIRST or self._layer is not None:
                sent = send(data) if size else 0
            else:
                sent = send_in_pieces(send, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._fail(error) from error
        if sent < size:
            self._pending.append(data, sent)
            self._source.call_when_writable(self._flush)

    def writelines(self, data: Iterable[Bytes]) -> None:
        """Writes the joined pieces as one ``write``, with its errors."""
        self.write(b"".join(data))

    async def drain(self) -> None:
        """Waits while more bytes are waiting than the high-water mark, until the low-water mark.

        Any number of tasks may wait. A cancel leaves the bytes with the writer, which flushes them.

        :raises StreamClosedError: if the stream was aborted meanwhile, and what waited was dropped.
        :raises OSError: if the connection broke, also when a flush in the background found that out.
        """
        task = get_current()
        if task is None or task.thread != get_ident():
            task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if self._error is not None:
            raise self._refusal()
        if self._pending.size > self._high:
            await self._drainers.wait(task, self._below_low, "draining")
            if self._error is not None:
                raise self._refusal()
        task.budget -= 1
        if task.budget <= 0:
            await task.give_way()

    def write_eof(self) -> None:
        """Ends this direction once everything is flushed; the peer reads ``b""``, and may go on writing.

        Returns at once. May be called again.

        :raises StreamClosedError: after ``close`` or ``abort``.
        :raises OSError: if the connection is broken; with ``EOPNOTSUPP`` under TLS 1.2, which has no such thing.
        """
        if self._closing or self._securing or self._error is not None or not self._source.usable:
            raise self._refusal()
        if not self.can_write_eof():
            raise OSError(errno.EOPNOTSUPP, f"the stream to {self._peer} cannot end one direction alone: close() it")
        if not self._eof:
            self.uncork()
            self._eof = True
            self._open = False
            if self._layer is not None:
                self._layer.say_goodbye()
            elif not self._pending.size:
                self._shut_down()

    def can_write_eof(self) -> bool:
        """Whether the two directions can be ended apart; TCP and UNIX sockets can, and TLS since 1.3."""
        return self._source.can_end_write if self._layer is None else self._layer.can_end_write

    def close(self) -> None:
        """Flushes in the background for ``linger`` seconds at most, then closes; returns at once.

        Nothing can be written from now on, and nothing read but what is buffered. What is not flushed
        in time is dropped, and `wait_closed` raises `ConnectionAbortedError`. May be called again.
        """
        if self._closing:
            return
        self.uncork()
        self._closing = True
        self._open = False
        if self._layer is not None and self._error is None and self._source.usable:
            self._layer.say_all_goodbyes()
        if not self._pending.size or self._error is not None or not self._source.usable:
            self._finish()  # after an error nobody would take the rest
        if not self._source.closed:
            host = self._source.host
            host.lingering.add(self)
            self._linger_timer = host.timers.add(host.now() + self.linger, self._linger_over)

    def abort(self) -> None:
        """Drops what is waiting and closes at once; a TCP peer sees a reset.

        A read or a ``drain`` that waits raises `StreamClosedError`.
        May be called at any time.
        """
        self._closing = True
        self._open = False
        unsent = self.get_write_buffer_size()
        if unsent and self._error is None:
            lost = f"the stream to {self._peer} was aborted by this side, with {unsent} bytes unsent"
            self._error = StreamClosedError(lost)
        self._cork.take()
        self._pending.clear()
        self._source.reset()
        self._finish()

    def is_closing(self) -> bool:
        """Whether ``close`` or ``abort`` was called."""
        return self._closing

    async def wait_closed(self) -> None:
        """Waits until the stream is closed; calls nothing by itself.

        A cancel leaves the closing to the background.

        :raises OSError: if a flush failed and nobody was told yet.
        """
        task = current_task()
        if task.scope.cancelled or task.kept:
            await task.checkpoint_if_cancelled()
        if not self._source.closed:
            await self._drainers.wait(task, self._is_closed, "closing the stream")
        self.check_flushed()
        task.budget -= 1
        if task.budget <= 0:
            await task.give_way()

    def check_flushed(self) -> None:
        """:raises OSError: if a flush failed and nobody was told yet."""
        if self._error is not None and (self._pending.size or self._untold):
            raise self._refusal()

    async def wait_flushed(self) -> None:
        """`wait_closed` for the end of a run: a failed flush is nobody's any more."""
        await self._drainers.wait(current_task(), self._is_closed, "closing the stream")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The marks, in bytes, that `drain` goes by; ``low`` defaults to a quarter of ``high``.

        No more than ``high`` is held back for answers to come: with 0 each ``write`` is handed on at once.

        :raises TypeError, ValueError: unless they are integers, and ``high >= low >= 0``.
        """
        self._high, self._low = water_marks(high, low)

    def get_write_buffer_size(self) -> int:
        """How many bytes are waiting."""
        return self._pending.size + len(self._cork.held)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``"socket"``, ``"peername"`` or ``"sockname"``; ``default`` for anything else. ``"native"`` is what carries
        the bytes: what was given to `wrap`, or the socket.

        Under TLS also ``"ssl_object"``, ``"sslcontext"``, ``"peercert"``, ``"cipher"`` and ``"compression"``,
        as of asyncio's transports. The socket is for options; reading, writing or closing it confuses the
        stream.
        """
        if self._layer is not None:
            answer = self._layer.extra(name)
            if answer is not None:
                return answer
        return self._source.extra(name, default)

    async def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        standard_compatible: bool = True,
    ) -> None:
        """From now on everything is encrypted, for this writer and its reader. A stream that is may be again.

        Whatever has come from the peer and was not read yet goes into the handshake: a first TLS message
        that came early is not lost, and plaintext that somebody has slipped in (CVE-2011-0411) ends the
        connection, and is never read as if it had come encrypted. What was written before and still waits
        is sent first. Meanwhile reads and writes of other tasks raise `BusyError`.

        If it fails, or is cancelled, the stream is closed.

        :param context: says what is verified, as `ssl.create_default_context` makes it.
        :param server_side: whether this is the end that has accepted, and shows its certificate.
        :param server_hostname: the name in the peer's certificate, also sent to it (SNI).
        :param session: one to resume, from ``get_extra_info("ssl_object").session`` of an earlier stream.
        :param handshake_timeout: seconds.
        :param standard_compatible: whether an end of the stream without TLS's closing message, which anybody
            on the way could bring about, is a `TruncatedStreamError`; ``False`` for protocols such as HTTP
            whose peers leave it out, and which know themselves whether all has come.
        :raises ssl.SSLCertVerificationError: if the peer cannot be trusted.
        :raises ssl.SSLError: if it does not speak TLS.
        :raises ConnectionAbortedError: if it does not finish in time.
        :raises BusyError: if a task is reading.
        :raises ValueError: if the context is for the other side of TLS, or checks host names and ``server_hostname`` is
            missing.
        """
        from bridgeio.tls import check_arguments, new_layer

        check_arguments(context, server_side, server_hostname, handshake_timeout, session)
        await begin()
        reader = self._reader
        if reader is None:
            raise TypeError(f"{self._peer} is a pipe, and TLS needs both directions")
        if not (self._open and self._source.usable):
            raise self._refusal()
        self.uncork()
        with reader.handing_over():
            layer = new_layer(
                reader.source,
                self._layer,
                context,
                server_side=server_side,
                server_hostname=server_hostname,
                session=session,
                strict=standard_compatible,
            )
            await self._secure(layer, reader.take_buffered(), handshake_timeout)
            reader.source = layer

    async def __aenter__(self) -> Writer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes, and waits for that unless the block failed: then the error has the word."""
        self.close()
        if error is None:
            await self.wait_closed()

    def uncork(self) -> None:
        """Sends what was held back. An error is the next call's."""
        if self._cork.held and self._source.usable:
            try:
                self._pending.append(self._cork.take())
            except OSError as error:  # TLS has failed since
                self._fail(error)
                self._untold = True
            self._flush()
            if self._pending.size and self._error is None:
                self._source.call_when_writable(self._flush)

    async def _secure(self, layer: TlsLayer, early: bytes, patience: float) -> None:
        self._securing = True
        self._open = False
        layer.emit = self.send_raw
        try:
            await layer.shake_hands(early, patience)
        except BaseException as error:
            layer.end()
            was_told = isinstance(error, OSError) and not isinstance(error, ConnectionError)
            (self.close if was_told else self.abort)()  # the peer is to hear why, and no reset
            raise
        finally:
            self._securing = False
        if not self._closing:
            self._open = True
        self._layer = layer
        self._send = self._send_sealed
        self._pending = SealedBuffer(layer.seal, self._pending)

    def send_raw(self, data: bytes) -> None:
        """Bytes that no layer has to seal: what one has sealed, or says itself."""
        if self._pending.size:
            self._pending.keep(data)
            return
        try:
            send = self._source.send
            sent = send(data) if len(data) <= SEND_FIRST else send_in_pieces(send, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._source.broke(error)
            raise
        if sent < len(data):
            self._pending.keep(data, sent)
            self._source.call_when_writable(self._flush)

    def _send_sealed(self, data: Bytes) -> int:
        assert self._layer is not None
        self.send_raw(self._layer.seal(data))
        return len(data)

    @property
    def _peer(self) -> str:
        return show_address(self._source.peer)

    def _overflow(self, size: int) -> WriteBufferFullError:
        return WriteBufferFullError(
            f"{self._pending.size} bytes to {self._peer} are waiting, {size} more would exceed "
            f"write_limit={self.write_limit}: await drain() between writes"
        )

    def _fail(self, error: OSError) -> OSError:
        """Remembers what broke the connection; from now on everything is refused with it."""
        self._remember(error, "write to")
        return describe(error, "write to", self._source.peer)

    def _remember(self, error: OSError, operation: str) -> None:
        """A copy: what is raised has a traceback, which holds this writer."""
        self._open = False
        self._source.broke(error)
        self._error = describe(again(error), operation, self._source.peer)

    def _flush(self) -> None:
        """Called at each writability."""
        try:
            if not self._pending.send_by(self._source.gather):
                if self._pending.size <= self._low:
                    self._drainers.wake_all()
                return
        except OSError as error:
            self._fail(error)
        self._flushed()

    def _flushed(self) -> None:
        self._source.call_when_writable(None)
        if self._closing:
            self._finish()
        elif self._eof and self._error is None:
            self._shut_down()
        self._drainers.wake_all()

    def _linger_over(self) -> None:
        last = f"the last {self._pending.size} bytes" if self._pending.size else "what was written last"
        reason = f"the peer did not take {last} within linger={self.linger} s"
        self._remember(ConnectionAbortedError(errno.ECONNABORTED, reason), "write to")
        self._untold = True
        self._source.call_when_writable(None)  # a transport that is lost at once must not be flushed into
        self._source.reset()
        self._finish()

    def _shut_down(self) -> None:
        if self._layer is not None:
            return  # its closing message is the end of this direction
        try:
            self._source.end_write()
        except OSError as error:
            self._remember(error, "end the stream to")

    def _finish(self) -> None:
        source = self._source
        if self._layer is not None:
            self._layer.end_all()
        source.close()
        self._send = source.send  # not ours any more: that would be a cycle
        if source.closed:
            self._closed()
        else:  # somebody else's transport, which still flushes
            source.call_when_writable(self._finish)
            source.host.lingering.add(self)
        self._drainers.wake_all()

    def _closed(self) -> None:
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        self._source.call_when_writable(None)
        self._source.host.lingering.discard(self)

    def _below_low(self) -> bool:
        return self._pending.size <= self._low or self._error is not None or not self._source.usable

    def _is_closed(self) -> bool:
        return self._source.closed

    def _refusal(self) -> Exception:
        if self._error is not None:
            self._pending.clear()  # what was lost has been told, and wait_closed() need not tell it again
            self._untold = False
            if isinstance(self._error, StreamClosedError):
                return StreamClosedError(*self._error.args)
            return again(self._error)
        if not self._source.closed and not self._source.usable:
            return self._source.why_unusable()
        if self._securing:
            return BusyError(f"the TLS handshake of the stream to {self._peer} is under way")
        how = "was ended by write_eof()" if self._eof and not self._closing else "was closed by this side"
        return StreamClosedError(f"the stream to {self._peer} {how}")
