"""Who is there? Each member of a group answers who asks it, on the local network."""

import socket

import bridgeio

GROUP, PORT = "239.192.55.55", 5555


async def answer(name, port=PORT, interface=None):
    async with await bridgeio.create_udp_socket(socket.AF_INET, local_port=port, reuse_port=True) as udp:
        udp.join_group(GROUP, interface=interface)
        async for question, address in udp:
            if question == b"who is there?":
                await udp.send((name, address))


async def find(port=PORT, interface=None, patience=1.0):
    found = {}
    async with await bridgeio.create_udp_socket(socket.AF_INET) as udp:
        udp.set_options(multicast_interface=interface)
        await udp.sendto(b"who is there?", GROUP, port)
        with bridgeio.move_on_after(patience):
            async for name, (host, _) in udp:
                found[name] = host
    return found
