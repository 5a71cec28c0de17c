"""Chapter: groups and hops. What a UDP socket hears beside its own address, and how far its datagrams go."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any

import pytest

import bridgeio
from bridgeio.testing.datagram_peers import RawDatagrams, multicast_interfaces
from bridgeio.testing.resources import unchanged

pytestmark = pytest.mark.bridgeio

GROUPS = {"ipv4": (socket.AF_INET, "239.192.7.8"), "ipv6": (socket.AF_INET6, "ff02::7778")}


def _group(family: str) -> tuple[socket.AddressFamily, str, list[str]]:
    """Family, group, and the interfaces that can be heard on."""
    number, group = GROUPS[family]
    interfaces = multicast_interfaces(number)
    if not interfaces:
        pytest.skip(f"this machine has no interface on which it hears itself in a group ({family})")
    return number, group, interfaces


@pytest.mark.parametrize("family", GROUPS)
async def test_a_group(family: str) -> None:
    """A socket hears what is sent to a group, on the interface on which it joined, from then on until it leaves."""
    number, group, interfaces = _group(family)
    loopback = "127.0.0.1" if family == "ipv4" else "::1"
    async with (
        unchanged(),
        await bridgeio.create_udp_socket(number) as member,
        await bridgeio.create_udp_socket(number) as speaker,
    ):
        port = member.get_extra_info("sockname")[1]
        for interface in interfaces:
            speaker.set_options(multicast_interface=interface)
            for joined in (False, True, False):
                if joined:
                    member.join_group(group, interface=interface)
                await speaker.sendto(b"to the group", group, port)
                await speaker.sendto(b"to the member", loopback, port)
                got = [(await member.receive())[0]]
                if joined:
                    got.append((await member.receive())[0])
                    member.leave_group(group, interface=interface)
                assert sorted(got) == [b"to the group", b"to the member"][not joined :], interface


async def test_ways_to_name_an_interface() -> None:
    """By its name, its index, or an address that it has."""
    _, group, [name, *_] = _group("ipv4")
    async with await bridgeio.create_udp_socket(socket.AF_INET) as member:
        port = member.get_extra_info("sockname")[1]
        async with await bridgeio.create_udp_socket(socket.AF_INET) as speaker:
            speaker.set_options(multicast_interface=name)
            await speaker.sendto(b"", "127.0.0.1", port)
            member.join_group(group, interface=name)
            await speaker.sendto(b"where am I?", group, port)
            await member.receive()
            _, (address, _) = await member.receive()
            member.leave_group(group, interface=name)
            for way in (name, socket.if_nametoindex(name), address):
                speaker.set_options(multicast_interface=way)
                member.join_group(group, interface=way)
                await speaker.sendto(b"heard", group, port)
                assert await member.receive() == (b"heard", (address, speaker.get_extra_info("sockname")[1]))
                member.leave_group(group, interface=way)


async def test_a_link_local_sender() -> None:
    """The scope of its address comes with it as ``%2``, and it can be answered there, by number or by name."""
    number, group, [interface, *_] = _group("ipv6")
    async with (
        await bridgeio.create_udp_socket(number) as member,
        await bridgeio.create_udp_socket(number) as speaker,
    ):
        member.join_group(group, interface=interface)
        await speaker.sendto(b"question", f"{group}%{interface}", member.get_extra_info("sockname")[1])
        data, (host, port) = await member.receive()
        if "%" not in host:
            pytest.skip("this machine has no link-local address on that interface")
        assert (data, host.rpartition("%")[2]) == (b"question", str(socket.if_nametoindex(interface)))
        await member.sendto(b"by number", host, port)
        assert (await speaker.receive())[0] == b"by number"
        apart = (host.partition("%")[0], port, 0, socket.if_nametoindex(interface))
        await member.send((b"as socket has it", apart))
        assert (await speaker.receive())[0] == b"as socket has it"
        await member.sendto(b"by name", f"{host.partition('%')[0]}%{interface}", port)
        assert (await speaker.receive())[0] == b"by name"


async def test_a_machine_that_does_not_hear_itself() -> None:
    """Without ``multicast_loop`` the members on this machine get nothing of what is sent here."""
    _, group, [interface, *_] = _group("ipv4")
    if interface.startswith("lo"):
        pytest.skip("this machine has the loopback alone, where everything comes back")
    async with await bridgeio.create_udp_socket(socket.AF_INET) as member:
        member.join_group(group, interface=interface)
        port = member.get_extra_info("sockname")[1]
        async with await bridgeio.create_udp_socket(socket.AF_INET) as speaker:
            speaker.set_options(multicast_interface=interface, multicast_loop=False)
            await speaker.sendto(b"not for me", group, port)
            speaker.set_options(multicast_loop=True)
            await speaker.sendto(b"for me, too", group, port)
            assert (await member.receive())[0] == b"for me, too"


async def test_hops() -> None:
    """``ttl`` and ``multicast_ttl`` are what a receiver sees, on sockets that are connected, too."""
    if sys.platform != "linux":
        pytest.skip("the raw peer reads the hops as Linux tells them")
    with RawDatagrams() as peer:
        peer.tell_hops()
        async with (
            await bridgeio.create_udp_socket(socket.AF_INET) as udp,
            await bridgeio.create_connected_udp_socket("127.0.0.1", peer.port) as connected,
        ):
            for hops in (7, 255):
                udp.set_options(ttl=hops)
                await udp.sendto(b"", "127.0.0.1", peer.port)
                assert await peer.receive_hops() == hops
                connected.set_options(ttl=hops - 1)
                await connected.send(b"")
                assert await peer.receive_hops() == hops - 1
            udp.set_options(multicast_ttl=3, multicast_loop=False)
            sock = udp.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 3
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 0
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 255


async def test_hops_of_ipv6() -> None:
    """The same names set IPv6's hop limits, and where datagrams to a group leave."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    async with await bridgeio.create_udp_socket(socket.AF_INET6) as udp:
        udp.set_options(ttl=7, multicast_ttl=3, multicast_loop=False)
        sock = udp.get_extra_info("socket")
        told = [
            sock.getsockopt(socket.IPPROTO_IPV6, option)
            for option in (socket.IPV6_UNICAST_HOPS, socket.IPV6_MULTICAST_HOPS, socket.IPV6_MULTICAST_LOOP)
        ]
        assert told == [7, 3, 0]
        for index, name in socket.if_nameindex():
            udp.set_options(multicast_interface=name)
            assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF) == index


async def test_a_broadcast() -> None:
    """Without the option it is an error that names the option; with it, it is sent."""
    with RawDatagrams(("0.0.0.0", 0)) as peer:
        async with await bridgeio.create_udp_socket(socket.AF_INET) as udp:
            with pytest.raises(PermissionError, match=r"set_options\(broadcast=True\)"):
                await udp.sendto(b"to all", "127.255.255.255", peer.port)
            udp.set_options(broadcast=True)
            await udp.sendto(b"to all", "127.255.255.255", peer.port)
            assert (await peer.receive())[0] == b"to all"
            udp.set_options(broadcast=False)
            with pytest.raises(PermissionError):
                await udp.sendto(b"to all", "127.255.255.255", peer.port)


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "an address that is no group": (lambda udp: udp.join_group("127.0.0.1"), ValueError, "no IPv4 multicast address"),
    "a group of the other family": (lambda udp: udp.join_group("ff02::1"), ValueError, "an IPv4 socket"),
    "a name for a group": (lambda udp: udp.join_group("group.example"), ValueError, "multicast address"),
    "no hops": (lambda udp: udp.set_options(ttl=0), ValueError, "from 1 to 255"),
    "too many hops": (lambda udp: udp.set_options(multicast_ttl=256), ValueError, "from 0 to 255"),
    "hops that are no number": (lambda udp: udp.set_options(ttl="64"), TypeError, "ttl must be an integer"),
    "an interface that is none": (
        lambda udp: udp.join_group("239.192.7.8", interface="nowhere0"),
        OSError,
        "no interface 'nowhere0'",
    ),
    "an index that cannot be": (lambda udp: udp.join_group("239.192.7.8", interface=1 << 40), ValueError, "index"),
    "a negative index": (lambda udp: udp.set_options(multicast_interface=-1), ValueError, "index"),
    "a group that was not joined": (lambda udp: udp.leave_group("239.192.7.8"), OSError, "leave the group 239.192.7.8"),
}


@pytest.mark.parametrize("what", WRONG)
async def test_wrong_options(what: str) -> None:
    """They are refused in words that help, and change nothing."""
    call, kind, words = WRONG[what]
    async with await bridgeio.create_udp_socket(local_host="127.0.0.1") as udp:
        with pytest.raises(kind, match=words):
            call(udp)


async def test_a_group_that_was_joined_twice() -> None:
    """The kernel's refusal keeps its number, and says which group it was."""
    _, group, [interface, *_] = _group("ipv4")
    async with await bridgeio.create_udp_socket(socket.AF_INET) as udp:
        udp.join_group(group, interface=interface)
        with pytest.raises(OSError, match=f"join the group {group} on interface '{interface}'") as caught:
            udp.join_group(group, interface=interface)
        assert caught.value.errno == errno.EADDRINUSE


__all__ = [name for name in dir() if name.startswith(("test_", "pytestmark"))]
