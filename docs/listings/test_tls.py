"""A test that makes its own authority: nothing is switched off, and the names are checked as in earnest."""

import ssl

import pytest
import trustme

import bridgeio

pytestmark = pytest.mark.bridgeio


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def server_context(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def greet(reader, writer):
    writer.write(b"hello\n")


async def test_who_trusts_the_authority_gets_in(server_context, client_context):
    async with bridgeio.serve(greet, "localhost", ssl=server_context) as server:
        reader, writer = await bridgeio.open_connection("localhost", server.port, ssl=client_context)
        async with writer:
            assert await reader.readline() == b"hello\n"


async def test_who_does_not_stays_out(server_context):
    failures = []

    def on_error(error, peer):
        failures.append(error)

    async with bridgeio.serve(greet, "localhost", ssl=server_context, on_error=on_error) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await bridgeio.open_connection("localhost", server.port, ssl=True)
    assert isinstance(failures[0], ssl.SSLError)
