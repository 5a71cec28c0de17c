"""A service that is asked by datagrams, and a client that asks again when no answer comes."""

import bridgeio


async def serve_upper(udp):
    async for data, (host, port) in udp:
        await udp.sendto(data.upper(), host, port)


async def ask(host, port, question, attempts=3, patience=1.0):
    async with await bridgeio.create_connected_udp_socket(host, port) as udp:
        for _ in range(attempts):
            try:
                await udp.send(question)
                with bridgeio.move_on_after(patience):
                    return await udp.receive()
            except ConnectionRefusedError:  # nobody listens: yet, or any more
                await bridgeio.sleep(patience)
    raise TimeoutError(f"no answer from {host}:{port}")
