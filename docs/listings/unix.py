from first import echo_client

import bridgeio


async def main(path):
    async with bridgeio.serve_unix(echo_client, path) as server:
        await server.serve_forever()
