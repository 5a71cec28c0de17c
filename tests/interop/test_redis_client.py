"""The Redis client of the examples, on every backend, and a real redis-server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import pytest

import bridgeio
import rediswire
from bridgeio.testing.resources import unchanged, until
from bridgeio.testing.tls_peers import client_context
from programs import EXAMPLES, listening, python, talk
from redis_servers import USER, RedisServer

pytestmark = pytest.mark.bridgeio


@pytest.fixture
def key() -> str:
    """A name that no other test uses."""
    return uuid.uuid4().hex


async def until_blocked(redis: rediswire.Redis, name: str) -> None:
    """Until the connection of that name waits in BLPOP."""
    while not any(client["name"] == name and "b" in client["flags"] for client in await clients_of(redis)):
        await bridgeio.sleep(0.002)


async def clients_of(redis: rediswire.Redis) -> list[dict[str, str]]:
    """What the server says about each of its connections."""
    lines = (await redis.execute("CLIENT", "LIST")).decode().splitlines()
    return [dict(field.split("=", 1) for field in line.split()) for line in lines]


async def test_commands_and_their_answers(redis: RedisServer, key: str) -> None:
    """Values come back byte for byte, numbers as numbers, nothing as None, and a large value whole."""
    large = bytes(range(256)) * 4096
    async with unchanged(), rediswire.Redis(path=redis.path) as client:
        assert await client.execute("SET", key, large, "EX", 100) == "OK"
        assert await client.execute("GET", key.encode()) == large
        assert await client.execute("SET", key, 1.5) == "OK"
        assert await client.execute("INCRBYFLOAT", key, 1) == b"2.5"
        assert await client.execute("GET", key + "nothing") is None
        assert await client.execute("RPUSH", key + "list", "a", "ü", "") == 3
        assert await client.execute("LRANGE", key + "list", 0, -1) == [b"a", "ü".encode(), b""]


async def test_an_error_of_the_server_is_raised_and_the_connection_lives_on(redis: RedisServer, key: str) -> None:
    """Its code can be asked for; what cannot be sent is refused before it is."""
    async with rediswire.Redis(path=redis.path) as client:
        number = await client.execute("CLIENT", "ID")
        await client.execute("SET", key, "text")
        with pytest.raises(rediswire.ReplyError, match="WRONGTYPE Operation") as raised:
            await client.execute("LPUSH", key, "a")
        assert raised.value.code == "WRONGTYPE"
        with pytest.raises(TypeError, match="not NoneType: say how it is to be stored"):
            await client.execute("SET", key, None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not bool: say how it is to be stored"):
            await client.execute("SET", key, True)
        assert await client.execute("CLIENT", "ID") == number


@pytest.mark.parametrize("command", ["SUBSCRIBE a", "select 1", "CLIENT REPLY OFF", "MULTI", "UNSUBSCRIBE"])
async def test_what_would_change_the_connection_is_refused(redis: RedisServer, command: str) -> None:
    """One task must not do to a shared connection what the others would not expect; the error says what to write."""
    async with rediswire.Redis(path=redis.path) as client:
        with pytest.raises(ValueError, match="would change the connection for every task: "):
            await client.execute(*command.split())
        assert await client.execute("PING") == "PONG"


async def test_many_tasks_share_one_connection(redis: RedisServer) -> None:
    """Each gets its own answer, whatever the others ask, and all go over one connection."""
    numbers: set[int] = set()

    async def ask(client: rediswire.Redis, word: str) -> None:
        assert await client.execute("ECHO", word) == word.encode()
        numbers.add(await client.execute("CLIENT", "ID"))

    async with unchanged(), rediswire.Redis(path=redis.path) as other:
        before = await connections_made(other)
        # With a user, connecting takes so long that all have asked before it is done.
        client = rediswire.Redis(path=redis.path, username=USER[0], password=USER[1], room=10)
        async with client, bridgeio.create_task_group() as group:
            for number in range(60):
                group.start_soon(ask, client, f"word {number}" * (number % 7 + 1))
        assert await connections_made(other) == before + 1
    assert len(numbers) == 1


async def connections_made(redis: rediswire.Redis) -> int:
    """Since the server started."""
    lines = (await redis.execute("INFO", "stats")).decode().splitlines()
    return int(dict(line.split(":") for line in lines if ":" in line)["total_connections_received"])


async def test_a_cancelled_command_shifts_nobodys_answer(redis: RedisServer, key: str) -> None:
    """It was sent, so its answer comes; it is thrown away, and the next tasks get theirs."""
    answers: dict[str, Any] = {}
    scope = bridgeio.CancelScope()

    async def wait_for_item(client: rediswire.Redis) -> None:
        with scope:
            answers["cancelled"] = await client.execute("BLPOP", key, 0)

    async def ask(client: rediswire.Redis, word: str) -> None:
        answers[word] = await client.execute("ECHO", word)

    async with rediswire.Redis(path=redis.path) as client, rediswire.Redis(path=redis.path) as other:
        await client.execute("CLIENT", "SETNAME", key)
        async with bridgeio.create_task_group() as group:
            group.start_soon(wait_for_item, client)
            await until_blocked(other, key)
            scope.cancel()
            group.start_soon(ask, client, "one")
            group.start_soon(ask, client, "two")
            await until(lambda: scope.cancelled_caught)
            assert answers == {}
            await other.execute("LPUSH", key, "item")
    assert answers == {"one": b"one", "two": b"two"}


async def test_a_pipeline_stays_together(redis: RedisServer, key: str) -> None:
    """Its answers come in order, an error stands in its place, and no other task's command is among a transaction."""

    async def increment(client: rediswire.Redis) -> None:
        replies = await client.pipeline([("MULTI",), *[("INCR", key)] * 5, ("EXEC",)])
        first = replies[-1][0]
        assert replies == ["OK", *["QUEUED"] * 5, list(range(first, first + 5))]

    async with rediswire.Redis(path=redis.path) as client:
        async with bridgeio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(increment, client)
        get, error, incremented = await client.pipeline([("GET", key), ("LPOP", key), ("INCR", key)])
        assert (get, incremented) == (b"50", 51)
        assert isinstance(error, rediswire.ReplyError)
        assert await client.pipeline([]) == []


async def test_user_and_database(redis: RedisServer, key: str) -> None:
    """Both are as asked for, also after the connection was lost; a wrong password says so."""
    name, password = USER
    async with (
        rediswire.Redis(path=redis.path, username=name, password=password, database=3) as client,
        rediswire.Redis(path=redis.path) as other,
    ):
        for value in ("before", "after"):
            await client.execute("SET", key, value)
            assert await client.execute("ACL", "WHOAMI") == name.encode()
            assert await other.execute("EXISTS", key) == 0
            assert await other.execute("CLIENT", "KILL", "ID", await client.execute("CLIENT", "ID")) == 1
            await until(lambda: client._pipe is not None and client._pipe.lost)
    async with rediswire.Redis(path=redis.path, username=name, password="wrong") as stranger:
        with pytest.raises(rediswire.NotConnectedError, match="WRONGPASS") as raised:
            await stranger.execute("PING")
        assert isinstance(raised.value.__cause__, rediswire.ReplyError)


async def test_what_was_under_way_is_lost_with_the_connection_and_never_repeated(redis: RedisServer, key: str) -> None:
    """Each waiting task is told; the next command connects anew, and finds that nothing was done twice."""
    told: list[str] = []

    async def wait_for_item(client: rediswire.Redis) -> None:
        with pytest.raises(rediswire.ConnectionLostError):
            await client.execute("BLPOP", key, 0)
        told.append("lost")

    async with unchanged(), rediswire.Redis(path=redis.path) as client, rediswire.Redis(path=redis.path) as other:
        await client.execute("CLIENT", "SETNAME", key)
        number = await client.execute("CLIENT", "ID")
        async with bridgeio.create_task_group() as group:
            group.start_soon(wait_for_item, client)
            group.start_soon(wait_for_item, client)
            await until_blocked(other, key)
            await other.execute("CLIENT", "KILL", "ID", number)
        assert told == ["lost"] * 2
        assert await client.execute("RPUSH", key, "item") == 1
        assert await client.execute("LLEN", key) == 1


async def test_leaving_the_block_tells_who_still_waits(redis: RedisServer, key: str) -> None:
    """A task outside of the block is told that the client was closed, and what the block raises comes out as it is."""
    told: list[str] = []

    async def wait_for_item(client: rediswire.Redis) -> None:
        with pytest.raises(rediswire.ConnectionLostError, match="the client was closed"):
            await client.execute("BLPOP", key, 0)
        told.append("closed")

    async def fail(client: rediswire.Redis, other: rediswire.Redis, group: bridgeio.TaskGroup) -> None:
        async with client:
            await client.execute("CLIENT", "SETNAME", key)
            group.start_soon(wait_for_item, client)
            await until_blocked(other, key)
            raise LookupError("of the block")

    client = rediswire.Redis(path=redis.path)
    async with bridgeio.create_task_group() as group, rediswire.Redis(path=redis.path) as other:
        with pytest.raises(LookupError, match="of the block"):
            await fail(client, other, group)
        await until(lambda: told)
    with pytest.raises(rediswire.NotConnectedError, match="outside of its block"):
        await client.execute("PING")


async def test_tls(redis: RedisServer, key: str) -> None:
    """Over TLS too, messages as well, and a certificate that is not trusted is no connection."""
    async with rediswire.Redis(port=redis.port, ssl=client_context()) as client:
        assert await client.execute("SET", key, b"x" * 100_000) == "OK"
        assert len(await client.execute("GET", key)) == 100_000
        async with client.subscribe(key) as messages:
            await client.execute("PUBLISH", key, "hello")
            assert (await anext(messages)).data == b"hello"
    async with rediswire.Redis(port=redis.port, ssl=True) as client:
        with pytest.raises(rediswire.NotConnectedError, match="certificate"):
            await client.execute("PING")


async def test_resp3(redis: RedisServer, key: str) -> None:
    """The newer protocol's maps, sets, floats and nulls are Python's, and messages come as well."""
    async with rediswire.Redis(path=redis.path, protocol=3) as client:
        await client.pipeline([("HSET", key, "a", 1), ("SADD", key + "s", "x"), ("ZADD", key + "z", 1.5, "y")])
        assert await client.execute("HGETALL", key) == {b"a": b"1"}
        assert await client.execute("SMEMBERS", key + "s") == {b"x"}
        assert await client.execute("ZSCORE", key + "z", "y") == 1.5
        assert await client.execute("GET", key + "nothing") is None
        async with client.subscribe(key) as messages:
            await client.execute("PUBLISH", key, "hello")
            assert await anext(messages) == rediswire.Message(key.encode(), b"hello")


async def test_messages(redis: RedisServer, key: str) -> None:
    """By channel and by pattern, in order; subscribing and unsubscribing go on meanwhile, and a cancelled wait has
    taken none."""
    name = key.encode()
    async with (
        unchanged(),
        rediswire.Redis(path=redis.path) as client,
        client.subscribe(key, patterns=[f"{key}.*"]) as messages,
    ):
        with bridgeio.move_on_after(0.002) as scope:
            await anext(messages)
        assert scope.cancelled_caught
        for number in range(3):
            await client.execute("PUBLISH", key, number)
        await client.execute("PUBLISH", f"{key}.a", "matched")
        assert [(await anext(messages)).data for _ in range(3)] == [b"0", b"1", b"2"]
        assert await anext(messages) == rediswire.Message(name + b".a", b"matched", name + b".*")
        await messages.subscribe(f"{key}-more")
        while not await client.execute("PUBLISH", f"{key}-more", "hello"):
            pass
        assert (await anext(messages)).channel == name + b"-more"
        await messages.unsubscribe(patterns=(f"{key}.*",))
        while await client.execute("PUBLISH", f"{key}.a", "too late"):
            pass


async def test_a_subscription_that_is_lost_says_so(redis: RedisServer, key: str) -> None:
    """It does not subscribe anew in silence: messages were missed."""
    async with rediswire.Redis(path=redis.path) as client, client.subscribe(key) as messages:
        for other in await clients_of(client):
            if other["sub"] == "1":
                await client.execute("CLIENT", "KILL", "ID", other["id"])
        with pytest.raises(rediswire.ConnectionLostError):
            await anext(messages)


class Mute:
    """Takes commands and says only what it is told to.

    :ivar asked: how many commands have come, from all clients.
    :ivar writers: one for each connection.
    :ivar gone: how many connections have ended.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.gone = 0
        self.writers: list[bridgeio.Writer] = []

    async def serve(self, reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        self.writers.append(writer)
        with suppress(ConnectionResetError):
            while data := await reader.read(65536):
                self.asked += data.count(b"*")
        self.gone += 1


@asynccontextmanager
async def mute() -> AsyncIterator[tuple[Mute, int]]:
    server = Mute()
    async with bridgeio.serve(server.serve, "127.0.0.1", grace=0) as listening:
        yield server, listening.port


async def test_leaving_the_block_while_it_connects() -> None:
    """The connection is closed as soon as there is one, and nothing is sent over it."""

    async def ask(client: rediswire.Redis) -> None:
        with pytest.raises(rediswire.NotConnectedError, match="outside of its block"):
            await client.execute("PING")

    async with mute() as (server, port), bridgeio.create_task_group() as group:
        async with rediswire.Redis("127.0.0.1", port, password="x", timeout=1000) as client:
            group.start_soon(ask, client)
            await until(lambda: server.asked)
        server.writers[0].write(b"+OK\r\n")
        await until(lambda: server.gone)
        assert server.asked == 1


async def test_a_silent_server_is_given_up() -> None:
    """One that owes an answer and says nothing counts as lost; one that owes none may be silent."""
    async with mute() as (server, port), rediswire.Redis("127.0.0.1", port, patience=0.05) as client:
        with pytest.raises(rediswire.ConnectionLostError, match=r"has said nothing for 0\.05 seconds"):
            await client.execute("PING")
        async with bridgeio.create_task_group() as group:
            client._patience = inf
            group.start_soon(partial(client.execute, "PING"))
            await until(lambda: server.asked == 2)
            server.writers[-1].write(b"+PONG\r\n")
        assert len(server.writers) == 2


async def test_a_silent_subscription_asks_for_a_sign_of_life(redis: RedisServer, key: str) -> None:
    """With one it lives on."""
    async with (
        rediswire.Redis(path=redis.path, timeout=1000) as client,
        client.subscribe(key, silence=0.01) as messages,
        bridgeio.create_task_group() as group,
    ):
        group.start_soon(publish_after_a_ping, client, key)
        assert (await anext(messages)).data == b"hello"


async def publish_after_a_ping(client: rediswire.Redis, channel: str) -> None:
    while not any(other["sub"] == "1" and other["cmd"] == "ping" for other in await clients_of(client)):
        await bridgeio.sleep(0.002)
    await client.execute("PUBLISH", channel, "hello")


async def test_a_dead_subscription_is_given_up() -> None:
    """Without a sign of life it is lost."""
    async with (
        mute() as (server, port),
        rediswire.Redis("127.0.0.1", port, timeout=1000) as client,
        bridgeio.create_task_group() as group,
    ):
        group.start_soon(confirm_one, server)
        async with client.subscribe("news", silence=0.05) as messages:
            messages._address = replace(client.address, timeout=0.05)
            with pytest.raises(rediswire.ConnectionLostError, match="does not answer a PING"):
                await anext(messages)
    assert server.asked == 2


async def confirm_one(server: Mute) -> None:
    await until(lambda: server.asked)
    server.writers[0].write(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")


async def test_nobody_knocks_twice_at_a_closed_door() -> None:
    """After a failure all commands fail at once for a while; what was to be sent was not sent."""
    knocks: list[bytes] = []

    async def refuse(reader: bridgeio.Reader, writer: bridgeio.Writer) -> None:
        knocks.append(await reader.read(65536))
        writer.write(b"-WRONGPASS go away\r\n")

    async with bridgeio.serve(refuse, "127.0.0.1") as server:
        async with rediswire.Redis("127.0.0.1", server.port, password="x", timeout=1000, pause=1000) as client:
            for _ in range(5):
                with pytest.raises(rediswire.NotConnectedError, match="cannot connect to Redis: WRONGPASS go away"):
                    await client.execute("PING")
        port = server.port
    assert len(knocks) == 1
    async with rediswire.Redis("127.0.0.1", port) as client:
        with pytest.raises(rediswire.NotConnectedError, match="Connection refused"):
            await client.execute("PING")


async def test_no_more_than_room_is_under_way() -> None:
    """Further calls wait, and have sent nothing by then; a cancelled one gives its turn to the next."""
    scope = bridgeio.CancelScope()

    async def cancelled(client: rediswire.Redis) -> None:
        with scope:
            await client.execute("PING")

    async with mute() as (server, port), rediswire.Redis("127.0.0.1", port, room=2) as client:
        async with bridgeio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(partial(client.execute, "PING"))
            await until(lambda: server.asked == 2)
            group.start_soon(cancelled, client)
            group.start_soon(partial(client.execute, "PING"))
            await until(lambda: client._pipe is not None and client._pipe._room.statistics().tasks_waiting == 2)
            scope.cancel()
            assert server.asked == 2
            server.writers[0].write(b"+PONG\r\n")
            await until(lambda: server.asked == 3)
            server.writers[0].write(b"+PONG\r\n+PONG\r\n")
        assert (server.asked, scope.cancelled_caught) == (3, True)


@pytest.mark.parametrize("nonsense", [b"HTTP/1.1 400 Bad Request\r\n", b"$9999999999\r\n", b"+PONG\r\n+PONG\r\n"])
async def test_what_is_no_answer_ends_the_connection(nonsense: bytes) -> None:
    """Nonsense, more than the limit, or an answer that nobody asked for: nothing behind it can be trusted."""
    async with mute() as (server, port), rediswire.Redis("127.0.0.1", port) as client:
        async with bridgeio.create_task_group() as group:
            group.start_soon(ask_in_vain, client, nonsense.startswith(b"+"))
            await until(lambda: server.asked)
            server.writers[0].write(nonsense)
        await until(lambda: client._pipe is not None and client._pipe.lost)


async def ask_in_vain(client: rediswire.Redis, has_answer: bool) -> None:
    if has_answer:
        assert await client.execute("PING") == "PONG"
    else:
        with pytest.raises(rediswire.ConnectionLostError, match="a reply"):
            await client.execute("PING")


def test_the_program(backend: str, servers: Any, key: str) -> None:
    """One command, the lines of its input, and messages; here it talks to the server of the examples."""
    port = servers(EXAMPLES / "resp" / "resp_server.py", ("--backend", backend)).where
    program = python(EXAMPLES / "resp" / "resp_client.py", "--backend", backend, "--host", "127.0.0.1", "--port", port)
    assert talk(program, f"INCR {key}\nGET {key}\nNO\n".encode()) == b"1\n1\n(error) ERR unknown command 'NO'\n"
    with listening([*program, "SUBSCRIBE", key]) as listener:
        assert talk([*program, "PUBLISH", key, "hello"], b"") == b"1\n"
        assert listener.line() == f"{key}: hello\n"


def test_from_synchronous_code(backend: str, redis: RedisServer, key: str) -> None:
    """The same client without a loop."""
    with bridgeio.blocking(rediswire.Redis)(path=redis.path) as client:
        assert bridgeio.blocking(client.execute)("SET", key, "value") == "OK"
        assert bridgeio.blocking(client.execute)("GET", key) == b"value"
