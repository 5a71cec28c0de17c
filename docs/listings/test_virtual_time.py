import pytest

import bridgeio
from bridgeio.testing import run_in_virtual_time


async def expire(cache, key):
    await bridgeio.sleep(3600)
    del cache[key]


async def two_hours_of_a_cache():
    cache = {"key": "value"}
    async with bridgeio.create_task_group() as group:
        group.start_soon(expire, cache, "key")
        await bridgeio.sleep(3599)
        assert "key" in cache
        await bridgeio.sleep(3601)
        assert "key" not in cache


@pytest.mark.bridgeio
def test_an_entry_lives_for_an_hour(backend, backend_options):
    run_in_virtual_time(two_hours_of_a_cache, backend=backend, backend_options=backend_options)
