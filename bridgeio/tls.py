"""TLS (RFC 8446, RFC 5246) over any stream, by the standard library's `ssl.SSLObject` and two `ssl.MemoryBIO`.

A layer stands between a reader and its source, and between a writer and its buffer. It waits for nothing by
itself and keeps no ciphertext that is to be sent: that is the writer's, with its bounds and its linger.

Rule 1: ciphertext is asked of the source below only when somebody reads and none is left here, so a peer
that sends to a reader that does not read is stopped, as without TLS.
Rule 2: a cancelled read has lost no record: what was decrypted is returned, or was never taken.
Rule 3: ``close_notify`` may only be made when no application data waits here, or OpenSSL refuses to decrypt
what comes later: what waits is decrypted first, and kept.
Rule 4: bytes that came before the handshake was asked for go into the handshake. If they are the peer's first
TLS message they are where they belong, and anything else ends the connection; nothing of it is ever delivered.
"""

from __future__ import annotations

import errno
import ssl
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from functools import partial
from typing import Any

from bridgeio.buffers import Bytes, Receive
from bridgeio.checkpoints import spend
from bridgeio.contract import Task
from bridgeio.ends import ByteSource
from bridgeio.errors import TruncatedStreamError, describe, show_address
from bridgeio.limits import CHUNK_MAX, CHUNK_MIN, check_seconds
from bridgeio.registry import current_task
from bridgeio.scopes import move_on_after

__all__ = ["TlsLayer", "check_arguments", "default_context", "new_layer"]

_ANSWERS = {
    "sslcontext": lambda tls: tls.context,
    "ssl_object": lambda tls: tls,
    "peercert": lambda tls: tls.getpeercert(),
    "cipher": lambda tls: tls.cipher(),
    "compression": lambda tls: tls.compression(),
}


class TlsLayer:
    """One TLS connection. To a reader it is a source, to a writer it is what seals its bytes.

    :ivar recv: as a non-blocking socket's, in plaintext.
    :ivar readable: as a source's; what comes below meanwhile is found by `wait_readable`.
    :ivar exhaust: whether the last ``recv`` has left something here or below.
    :ivar emit: sends what the protocol itself has to say; the writer sets it, and takes it back at the end.
    :ivar can_end_write: not in TLS 1.2, whose peers answer ``close_notify`` by their own (RFC 5246, 7.2.1).
    :ivar strict: whether an end of the stream without ``close_notify`` is an error.
    """

    recv: Receive

    __slots__ = (
        "_below",
        "_chunk",
        "_decrypted",
        "_incoming",
        "_inside",
        "_object",
        "_outgoing",
        "below",
        "can_end_write",
        "emit",
        "exhaust",
        "peer",
        "readable",
        "recv",
        "strict",
    )

    def __init__(self, source: ByteSource, below: TlsLayer | None, strict: bool) -> None:
        self._below = source
        self.below = below
        self.peer = source.peer
        self.strict = strict
        self.can_end_write = False
        self.readable = True  # the peer's last message of the handshake and its first data may come in one piece
        self.exhaust = False
        self.emit: Callable[[bytes], None] | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object: ssl.SSLObject
        self._decrypted: deque[bytes] = deque()
        self._chunk = CHUNK_MIN
        self._inside = False  # whether OpenSSL may have a part of a record, encrypted or not

    def wrap(
        self, context: ssl.SSLContext, server_side: bool, server_hostname: str | None, session: ssl.SSLSession | None
    ) -> None:
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname, session)
        if type(context).__module__ == "gevent.ssl":  # patched: its callbacks for SNI know sockets alone, and ask them
            vars(self._object)["_sslsock"] = weakref.ref(self._object)
        self.recv = self._receive

    # The handshake

    async def shake_hands(self, early: bytes, patience: float) -> None:
        """
        :param early: what has been read already; see rule 4.
        :raises ConnectionAbortedError: if it takes longer than ``patience`` seconds.
        :raises ssl.SSLError: if the peer is not who it should be, or does not speak TLS.
        """
        if early:
            self._incoming.write(early)
        with move_on_after(patience):
            try:
                await self._shake_hands(current_task())
                self.can_end_write = self._object.version() == "TLSv1.3"
            except OSError as error:
                raise describe(error, "TLS handshake with", self.peer) from error
            return
        late = f"the TLS handshake with {show_address(self.peer)} took longer than handshake_timeout={patience} s"
        raise ConnectionAbortedError(errno.ECONNABORTED, late)

    async def _shake_hands(self, task: Task) -> None:
        while True:
            try:
                self._object.do_handshake()
                return
            except ssl.SSLWantReadError:
                pass
            finally:
                self._speak()
            await self._wait_for_more(task)

    async def _wait_for_more(self, task: Task) -> None:
        below = self._below
        while not below.readable or not self._pull():
            if task.scope.cancelled:  # since it was woken
                await task.checkpoint_if_cancelled()
            await below.wait_readable(task)
        await spend(task)

    # As a source

    def nothing_now(self) -> None:
        self.readable = False

    def wait_readable(self, task: Task) -> Awaitable[Any]:
        self.readable = True  # who waits again looks again
        below = self._below
        return _AT_ONCE if below.readable else below.wait_readable(task)

    def _receive(self, most: int) -> bytes:
        if self._decrypted:
            return self._take_decrypted(most)
        incoming = self._incoming
        below = self._below
        while True:
            # The rest of a record comes before what is below, be that an error.
            if (
                not incoming.pending
                and below.readable
                and not (self._inside and self._object.pending())
                and not self._pull()
            ):
                raise BlockingIOError
            waiting = incoming.pending
            # A small buffer costs less, and decrypted it cannot be more than what is here.
            size = waiting if waiting < most and waiting and not self._inside else most
            try:
                data = self._object.read(size)
            except ssl.SSLError as error:
                self._inside = True
                if self._is_over(error):
                    return b""
            else:
                self._inside = len(data) == size
                self.exhaust = incoming.pending > 0 or below.readable
                if self._outgoing.pending:
                    self._speak()
                return data

    def _is_over(self, error: ssl.SSLError) -> bool:
        """Why nothing was decrypted: ``True`` at the end, ``False`` if more has to be taken from below, which has it.

        :raises BlockingIOError: if it has not.
        """
        self._speak()  # an answer, or an alert that says why
        if isinstance(error, ssl.SSLWantReadError):
            if not self._below.readable:
                raise BlockingIOError from None
            return False
        if isinstance(error, ssl.SSLZeroReturnError):
            return True
        if isinstance(error, ssl.SSLEOFError):
            self._check_cut_off()
            return True
        raise error

    def _pull(self) -> bool:
        """Takes ciphertext from below; ``False`` if there is none now."""
        below = self._below
        most = self._chunk
        try:
            data = below.recv(most)
        except BlockingIOError:
            below.nothing_now()
            return False
        if not data:
            self._incoming.write_eof()
            return True
        if len(data) < most:
            below.readable = below.exhaust
        elif most < CHUNK_MAX:
            self._chunk *= 2
        self._incoming.write(data)
        return True

    def _check_cut_off(self) -> None:
        if self.strict:
            raise TruncatedStreamError(
                f"{show_address(self.peer)} ended the connection without TLS's closing message, so what came may "
                "not be all (standard_compatible=False accepts that, for protocols that know their own end)"
            )

    def _take_decrypted(self, most: int) -> bytes:
        first = self._decrypted.popleft()
        if len(first) > most:
            self._decrypted.appendleft(first[most:])
        self.exhaust = bool(self._decrypted) or self._incoming.pending > 0 or self._below.readable
        return first[:most]

    # For a writer

    def seal(self, data: Bytes) -> bytes:
        """Plaintext as it goes out below every layer."""
        try:
            self._object.write(data)
        except ssl.SSLWantReadError:  # TLS 1.2 only, and OpenSSL 3 does not by itself
            raise ssl.SSLError(errno.EPROTO, "the peer renegotiates, which is not supported") from None
        sealed = self._outgoing.read()
        return sealed if self.below is None else self.below.seal(sealed)

    def say_goodbye(self) -> None:
        """Sends ``close_notify``, unless it was sent before."""
        self._inside = True
        try:
            self._decrypt_all()
            self._object.unwrap()
        except ssl.SSLError:
            pass  # it wants the peer's, too, which a reader will see
        self._speak()

    def say_all_goodbyes(self) -> None:
        """From the innermost layer out."""
        layer: TlsLayer | None = self
        while layer is not None:
            layer.say_goodbye()
            layer = layer.below

    def end(self) -> None:
        """The stream is being closed: what is still asked, the source below answers. Ends two cycles, too."""
        below = self._below
        self.emit = None
        self.recv = partial(_receive_from, below)  # its own recv is replaced when it is closed
        self.readable = True

    def end_all(self) -> None:
        """Takes what has come by now, too: session tickets that nobody has read would make the system reset
        the connection, and the peer might lose the last that it was sent."""
        layer: TlsLayer | None = self
        while layer is not None:
            below, layer.below = layer.below, None
            layer.end()
            layer = below
        with suppress(OSError):
            self.recv(CHUNK_MAX)

    def extra(self, name: str) -> Any:
        """What asyncio's transports answer."""
        answer = _ANSWERS.get(name)
        return None if answer is None else answer(self._object)

    def _decrypt_all(self) -> None:
        with suppress(ssl.SSLWantReadError):  # of the last record only a part has come
            while self._incoming.pending or self._object.pending():
                data = self._object.read(CHUNK_MAX)
                if not data:
                    return
                self._decrypted.append(data)
                self.readable = True

    def _speak(self) -> None:
        """Alerts, answers to key updates and the handshake itself: nobody has written these."""
        if self._outgoing.pending and self.emit is not None:
            said = self._outgoing.read()
            with suppress(OSError):  # nobody is there to hear it, as the next read or write will find
                self.emit(said if self.below is None else self.below.seal(said))


class _AtOnce:
    """Awaited where nothing has to be waited for."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


_AT_ONCE = _AtOnce()


def _receive_from(below: ByteSource, most: int) -> bytes:
    return below.recv(most)


def new_layer(
    source: ByteSource,
    below: TlsLayer | None,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None,
    session: ssl.SSLSession | None,
    strict: bool,
) -> TlsLayer:
    """What it is given has been looked at by `check_arguments`.

    :raises ValueError: if a server is given a name or a session, or the session is another context's.
    """
    layer = TlsLayer(source, below, strict)
    layer.wrap(context, server_side, server_hostname or None, session)
    return layer


def check_arguments(
    context: Any, server_side: bool, server_hostname: str | None, handshake_timeout: object, session: object = None
) -> None:
    """Before anything is connected, listened to or changed.

    :raises TypeError: for what is no context, no number of seconds, or no session.
    :raises ValueError: for a context of the other side's, for one that checks host names and is given none, and for
        a time that is over already.
    """
    check_seconds("handshake_timeout", handshake_timeout, positive=True)
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"TLS takes an ssl.SSLContext, such as ssl.create_default_context() makes, not {context!r}")
    if session is not None and not isinstance(session, ssl.SSLSession):
        raise TypeError(f"session is the ssl.SSLSession of an earlier connection, not {session!r}")
    if context.protocol == (ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER):
        here, other, purpose = _SIDES[server_side]
        raise ValueError(
            f"this is the {here}'s side of TLS, and the SSLContext is for a {other}'s: "
            f"ssl.create_default_context(ssl.Purpose.{purpose}) makes one for it"
        )
    if not server_side and context.check_hostname and not server_hostname:
        raise ValueError("the SSLContext checks the peer's name: say whose certificate it must be, by server_hostname=")


_SIDES = {True: ("server", "client", "CLIENT_AUTH"), False: ("client", "server", "SERVER_AUTH")}


def default_context() -> ssl.SSLContext:
    """What a client that says ``ssl=True`` gets: the system's authorities, and host names checked."""
    return ssl.create_default_context()
