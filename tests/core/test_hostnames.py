"""Host names in ASCII: what is asked of a name service, and what no host can be called."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from bridgeio.hostnames import ascii_name

NAMES = {
    "localhost": "localhost",
    "a.b.example.": "a.b.example.",
    "_srv._tcp.example": "_srv._tcp.example",
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example": "xn--bcher-kva.example",
    "bücher。example": "xn--bcher-kva.example",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "127.0.0.1": "127.0.0.1",
    "fe80::1%eth0": "fe80::1%eth0",
    "": "",
}

NO_NAMES: dict[str, tuple[str | bytes, str]] = {
    "an empty label": ("a..example", "label"),
    "a label that is too long": ("x" * 64 + ".example", "label"),
    "one that is too long once it is encoded": ("é" * 64 + ".example", "label"),
    "a null character": ("local\0host", "null"),
    "bytes that are no ASCII": ("bücher.example".encode(), "ordinal"),
}

# Of each of them IDNA 2003 makes another name than IDNA 2008.
AMBIGUOUS = ["straße.example", "STRAẞE.example", "βόλος.example", "two\u200cwords.example", "two\u200dwords.example"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_ascii(name: str) -> None:
    """IDNA 2003: labels with other letters are encoded, also after a full stop of another script; the rest stays."""
    assert ascii_name(name) == NAMES[name]


@pytest.mark.parametrize("why", NO_NAMES)
def test_what_is_no_name(why: str) -> None:
    """What cannot be a host's name is the error of a name that does not resolve, and says why."""
    name, reason = NO_NAMES[why]
    with pytest.raises(socket.gaierror, match=f"no valid host name: .*{reason}") as caught:
        ascii_name(name)
    assert caught.value.errno == socket.EAI_NONAME
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_a_name_that_would_be_two_hosts(name: str) -> None:
    """Where the two standards disagree nobody is asked: the answer could be somebody else's host."""
    with pytest.raises(socket.gaierror, match="IDNA 2008; write the name in ASCII"):
        ascii_name(name)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%2"])
def test_an_address_as_an_object(address: str) -> None:
    """The objects of `ipaddress` are hosts, too."""
    assert ascii_name(ip_address(address)) == address


def test_no_host_at_all() -> None:
    """``None`` stays what it is: the loopback, or any address. Bytes are ASCII already."""
    assert ascii_name(None) is None
    assert ascii_name(b"localhost") == "localhost"


@pytest.mark.parametrize("thing", [80, ("localhost", 80), bytearray(b"localhost")])
def test_what_is_no_host(thing: Any) -> None:
    """Neither text nor an address: the caller has made a mistake, and nobody is asked."""
    with pytest.raises(TypeError, match="a name or an address"):
        ascii_name(thing)
