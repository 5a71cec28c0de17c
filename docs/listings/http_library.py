"""A server and a client on the HTTP library of the examples."""

import bridgeio
from http11 import Client, HttpError, Request, Response, handler


async def shout(request: Request) -> Response:
    if request.method != "POST":
        raise HttpError(405, "POST what is to be shouted")
    text = await request.read(limit=100_000)
    return Response(200, text.upper())


async def ask(url: str, text: bytes) -> bytes:
    async with Client() as client:
        with bridgeio.fail_after(10):
            response = await client.request("POST", url, body=text)
    if response.status != 200:
        raise ValueError(f"{url} answered {response.status}")
    return await response.read()


if __name__ == "__main__":
    bridgeio.run_server(handler(shout), "127.0.0.1", 8080, backend="trio")
