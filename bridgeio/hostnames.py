"""A host's name as the name service is asked for it: in ASCII, by IDNA 2003 (RFC 3490).

The standard library's codec does it, on every backend and whatever else is installed: the same name is the
same host everywhere, and it is the one that `ssl` looks for in a certificate. A few characters stand for one
host by IDNA 2003, and for another by IDNA 2008, which browsers follow. A name with one of them is refused,
because both answers would be right and one of them would be somebody else's.
"""

from __future__ import annotations

import socket
from typing import Protocol

__all__ = ["HostName", "IPAddress", "ascii_name"]

# IDNA 2003 writes these in another way, or leaves them out; IDNA 2008 keeps them (RFC 5894, section 7.2).
_AMBIGUOUS = "ßẞς\u200c\u200d"


class IPAddress(Protocol):
    """`ipaddress.IPv4Address` or `ipaddress.IPv6Address`, whose module need not be imported for this."""

    @property
    def compressed(self) -> str: ...


HostName = str | IPAddress


def ascii_name(host: HostName | bytes | None) -> str | None:
    """What to ask the name service for; an address stays as it is.

    :raises socket.gaierror: for what cannot be a host's name, with the reason.
    :raises TypeError: for what is neither text nor an address.
    """
    if host is None:
        return None
    try:
        name = host.decode("ascii") if isinstance(host, bytes) else _encoded(_text(host))
    except UnicodeError as error:
        raise _refused(host, str(error.__cause__ or getattr(error, "reason", error))) from error
    if "\0" in name:
        raise _refused(host, "it has a null character in it")
    return name


def _text(host: HostName) -> str:
    if isinstance(host, str):
        return host
    text = getattr(host, "compressed", None)
    if not isinstance(text, str):
        raise TypeError(f"a host is a name or an address, not {host!r}")
    return text


def _encoded(name: str) -> str:
    for character in _AMBIGUOUS:
        if character in name:
            raise _refused(
                name,
                f"{character!r} stands for one host in IDNA 2003 and for another in IDNA 2008; "
                'write the name in ASCII, as "xn--..."',
            )
    return name.encode("idna").decode("ascii")


def _refused(host: object, why: str) -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, f"{host!r} is no valid host name: {why}")
