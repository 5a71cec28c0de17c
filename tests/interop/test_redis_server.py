"""The small Redis server of the examples, on every backend: redis-benchmark, redis-cli, and a real server's answers."""

from __future__ import annotations

import signal
import socket
import uuid
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest

import bridgeio
import rediswire
from needs import program
from programs import EXAMPLES, PATIENCE, connected, listening, python, receive, talk
from redis_servers import RedisServer

pytestmark = pytest.mark.bridgeio

SERVER = EXAMPLES / "resp" / "resp_server.py"

# What both servers are asked through redis-cli. KEY stands for a key that nobody else uses.
CONVERSATION = """
PING
ECHO "hello world"
SET KEY 41
GET KEY
INCR KEY
DECRBY KEY 2
INCRBY KEY 9223372036854775807
APPEND KEY x
INCR KEY
STRLEN KEY
SET KEY other NX
SET KEY other XX EX 100
TTL KEY
PERSIST KEY
TTL KEY
SET KEY v EX 0
SET KEY v EX
SET KEY v NONSENSE
TYPE KEY
LPUSH KEY a
DEL KEY KEY
GET KEY
MSET KEY:1 one KEY:2 two
MGET KEY:1 KEY:2 KEY:3
MSET KEY:1
EXISTS KEY:1 KEY:2 KEY:3
KEYS KEY:?
EXPIRE KEY:1 100
TTL KEY:1
PEXPIRE KEY:1 0
EXISTS KEY:1
TTL KEY:1
EXPIRE KEY:3 1
RPUSH KEY:l a b c d
LPUSH KEY:l z
LRANGE KEY:l 0 -1
LRANGE KEY:l -2 -1
LRANGE KEY:l 2 1
LRANGE KEY:l 1 2
LRANGE KEY:l -100 100
LINDEX KEY:l -1
LINDEX KEY:l 9
LPOP KEY:l
RPOP KEY:l 2
LLEN KEY:l
LPOP KEY:l 9
LPOP KEY:l
LPOP KEY:l 1
EXISTS KEY:l
SADD KEY:s a
SADD KEY:s a b
SREM KEY:s b c
SMEMBERS KEY:s
SISMEMBER KEY:s a
SCARD KEY:s
SPOP KEY:s
SPOP KEY:s
HSET KEY:h a 1 b 2
HSET KEY:h a 3 c
HSET KEY:h a 3 c 4
HGET KEY:h a
HGETALL KEY:h
HDEL KEY:h a b x
HLEN KEY:h
ZADD KEY:z 1 one 2.5 two -inf none
ZADD KEY:z 0.1 one
ZADD KEY:z nonsense one
ZRANGE KEY:z 0 -1 WITHSCORES
ZSCORE KEY:z one
ZSCORE KEY:z nobody
ZREM KEY:z none
ZPOPMIN KEY:z
ZCARD KEY:z
ZPOPMIN KEY:z 5
TYPE KEY:z
SELECT 0
SELECT x
CLIENT SETNAME me
CONFIG GET appendonly
PUBLISH KEY nobody
GET
GET a b
NOSUCHCOMMAND a
QUIT
"""

# Sent as they are; the first bytes of the answer, where the rest differs in words.
ODDITIES = [
    (b"PING\r\n", b"+PONG\r\n"),
    (b"\r\n\nECHO 'a b'\n", b"$3\r\na b\r\n"),
    (b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    (b"*1\r\n+PING\r\n", b"-ERR Protocol error: expected '$', got '+'\r\n"),
    (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*99999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
    (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
    (b"PING\r\nECHO 'a\r\nPING\r\n", b"+PONG\r\n-ERR Protocol error: unbalanced quotes in request\r\n"),
]


@pytest.fixture
def port(servers: Any, backend: str) -> int:
    return int(servers(SERVER, ("--backend", backend)).port)


@pytest.mark.parametrize("pipeline", ["1", "16"])
def test_redis_benchmark(port: int, pipeline: str) -> None:
    """All of its default tests come to their end, without an error."""
    command = [program("redis-benchmark"), "-p", str(port), "-n", "320", "-c", "10", "-P", pipeline, "-e", "--csv"]
    lines = talk(command, b"").decode().splitlines()
    assert [line for line in lines if "rror" in line] == []
    tests = [line.split('"')[1].split(" ")[0] for line in lines[1:]]
    assert {"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD"} <= set(tests)
    assert {"HSET", "SPOP", "ZADD", "ZPOPMIN", "LRANGE_100", "LRANGE_600", "MSET"} <= set(tests)


def test_redis_cli_hears_what_a_real_server_says(port: int, redis: RedisServer) -> None:
    """Word for word, errors too, but for their details."""
    conversation = CONVERSATION.replace("KEY", uuid.uuid4().hex).encode()
    ours = talk([program("redis-cli"), "-p", str(port)], conversation).decode().splitlines()
    real = talk([program("redis-cli"), "-s", redis.path], conversation).decode().splitlines()
    assert list(map(without_details, ours)) == list(map(without_details, real))


def without_details(line: str) -> str:
    return line.partition(", with args")[0]


@pytest.mark.parametrize(("sent", "answer"), ODDITIES)
def test_lines_and_what_is_no_request(port: int, redis: RedisServer, sent: bytes, answer: bytes) -> None:
    """Inline commands are answered, and nonsense as by a real server: an error, and the end of the connection."""
    for address in (port, redis.path):
        with connected(address) as client:
            client.sendall(sent)
            assert receive(client, len(answer)) == answer
            if b"Protocol error" in answer:
                assert receive(client, 1) == b""


def test_in_any_pieces(port: int) -> None:
    """A request that comes byte by byte is one request, and two that come at once are two."""
    with connected(port) as client:
        for byte in rediswire.encode(["ECHO", b"a\r\nb"]):
            client.sendall(bytes([byte]))
        assert receive(client, 10) == b"$4\r\na\r\nb\r\n"
        client.sendall(rediswire.encode(["PING"]) * 1000)
        assert receive(client, 7000) == b"+PONG\r\n" * 1000


def test_what_is_too_large_is_refused(port: int) -> None:
    """Before it has come: the server's memory is not the client's to fill."""
    for sent in (b"*1\r\n$99999999\r\n", b"*2\r\n$4\r\nECHO\r\n$99999999\r\n", b"x" * 70_000):
        with connected(port) as client:
            client.sendall(sent)
            assert receive(client, 19).startswith(b"-ERR Protocol error")


async def until_gone(redis: rediswire.Redis, key: str) -> None:
    while await redis.execute("EXISTS", key):
        await bridgeio.sleep(0.001)


async def test_keys_expire(port: int) -> None:
    """By themselves, also when nobody asks for them; a new value has no deadline."""
    key = uuid.uuid4().hex
    async with rediswire.Redis("127.0.0.1", port) as client:
        for name in (key + "2", key):
            await client.execute("SET", name, 1, "PX", 1)
        await client.execute("SET", key + "3", 1, "EX", 9)
        await client.execute("SET", key + "3", 2)
        await until_gone(client, key)
        assert await client.execute("KEYS", key + "*") == [f"{key}3".encode()]
        assert await client.execute("TTL", key + "3") == -1


async def test_publish_and_subscribe(port: int) -> None:
    """By name and by pattern, to several at once, until they leave; a subscriber cannot do much else."""
    channel = uuid.uuid4().hex
    async with rediswire.Redis("127.0.0.1", port) as client:
        async with client.subscribe(channel) as by_name, client.subscribe(patterns=[f"{channel[:9]}*"]) as by_pattern:
            assert await client.execute("PUBLISH", channel, "hello") == 2
            assert (await anext(by_name)).data == (await anext(by_pattern)).data == b"hello"
            assert await client.execute("PUBSUB", "NUMSUB", channel) == [channel.encode(), 1]
            await by_name.unsubscribe(channel)
            while await client.execute("PUBLISH", channel, "again") == 2:
                pass
        async with client.subscribe(channel):
            assert await client.execute("PUBSUB", "NUMSUB", channel) == [channel.encode(), 1]
        while await client.execute("PUBSUB", "NUMSUB", channel, "other") != [channel.encode(), 0, b"other", 0]:
            pass
        assert await client.execute("PUBLISH", channel, "nobody") == 0
    with connected(port) as subscriber:
        subscriber.sendall(b"SUBSCRIBE a b\r\nGET a\r\nPING\r\nUNSUBSCRIBE\r\nGET no\r\n")
        decoder = rediswire.Decoder()
        received: list[rediswire.Reply] = []
        while len(received) < 7:
            decoder.feed(subscriber.recv(4096))
            received += decoder
    assert isinstance(received[2], rediswire.ReplyError)
    assert received[:2] == [[b"subscribe", b"a", 1], [b"subscribe", b"b", 2]]
    assert received[3:] == [[b"pong", b""], [b"unsubscribe", b"a", 1], [b"unsubscribe", b"b", 0], None]


def test_a_subscriber_that_does_not_read_is_disconnected(port: int) -> None:
    """The publisher is not stopped, and the server's memory is bounded."""
    channel = uuid.uuid4().bytes.hex().encode()
    with connected(port) as slow, connected(port) as publisher:
        slow.sendall(b"SUBSCRIBE %b\r\n" % channel)
        assert slow.recv(4096).startswith(b"*3\r\n$9\r\nsubscribe")
        message = rediswire.encode(["PUBLISH", channel, b"x" * 4_000_000])
        receivers = [publish(publisher, message) for _ in range(20)]
        assert receivers == sorted(receivers, reverse=True)
        assert receivers[0] == b":1\r\n"
        assert receivers[-1] == b":0\r\n"
        with pytest.raises(ConnectionResetError):
            discard(slow)


def discard(client: socket.socket) -> None:
    while client.recv(1 << 20):
        pass


def publish(publisher: socket.socket, message: bytes) -> bytes:
    publisher.sendall(message)
    return receive(publisher, 4)


def test_a_client_that_does_not_read_is_waited_for(port: int) -> None:
    """It can send no more when its answers are not taken; they come whole once it reads."""
    request = rediswire.encode(["ECHO", b"x" * 10_000])
    with connected(port) as slow:
        slow.settimeout(0.5)
        sent = send_until_stuck(slow, request, 200_000_000)
        slow.settimeout(PATIENCE)
        slow.shutdown(socket.SHUT_WR)
        received = b"".join(iter(partial(slow.recv, 1 << 20), b""))
    answer = b"$10000\r\n" + b"x" * 10_000 + b"\r\n"
    assert received == answer * (sent // len(request))


def send_until_stuck(client: socket.socket, request: bytes, most: int) -> int:
    sent = 0
    while sent < most:
        try:
            sent += client.send(request[sent % len(request) :])
        except TimeoutError:
            return sent
    raise AssertionError(f"{most} bytes were taken, and no answer was read")


def test_sigterm_ends_in_order(backend: str) -> None:
    """Under load: what was carried out was answered, the stream ends and is not cut, and the program ends well."""
    with listening(python(SERVER, "--backend", backend)) as server:
        with connected(server.port) as client, connected(server.port) as idle:
            enough = Event()
            sender = Thread(target=send_until, args=(client, rediswire.encode(["INCR", "n"]) * 100, enough))
            sender.start()
            try:
                assert receive(client, 4) == b":1\r\n"
                server.signal(signal.SIGTERM)
                rest = b"".join(iter(partial(client.recv, 65536), b""))
                assert idle.recv(1) == b""
            finally:
                enough.set()
                sender.join()
        numbers = [int(line[1:]) for line in rest.decode().splitlines()]
        assert numbers == list(range(2, len(numbers) + 2))
        assert rest.endswith(b"\r\n") or not rest
        assert (server.end(), server.rest()) == (0, "")


def send_until(client: socket.socket, data: bytes, enough: Event) -> None:
    """Without a pause, also when the server answers no more."""
    with suppress(OSError):
        while not enough.is_set():
            client.sendall(data)
