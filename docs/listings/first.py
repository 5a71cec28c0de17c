import bridgeio


async def echo_client(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()


if __name__ == "__main__":
    bridgeio.run_server(echo_client, "localhost", 8888, backend="trio")
