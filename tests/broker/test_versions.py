"""What must hold with every version of redis-py that is supported; `tox -e min` runs the oldest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from flask_redis_events.broker.versions import (
    disconnect_idle,
    is_connected,
    read_reply,
    take_connection,
)


@pytest.fixture
def pool(redis_server) -> Iterator[Any]:
    pool = redis.BlockingConnectionPool.from_url(redis_server.url)
    yield pool
    pool.disconnect()


@pytest.fixture
def connection(pool) -> Any:
    return take_connection(pool)


def test_a_pool_gives_connected_connections(pool):
    """And no warning, which would fail this test."""
    assert is_connected(take_connection(pool))


def test_idle_connections_are_disconnected_and_no_others(pool):
    """A command under way on another connection is not cut off."""
    used, idle = take_connection(pool), take_connection(pool)
    pool.release(idle)
    disconnect_idle(pool)

    assert is_connected(used)
    assert not is_connected(idle)


def test_a_reply_is_read_at_once(connection):
    """Two replies that came together are read one after the other, the second without a wait."""
    connection.send_packed_command(connection.pack_commands([["ECHO", "a"], ["ECHO", "b"]]))

    assert read_reply(connection, 5) == b"a"
    assert read_reply(connection, 0) == b"b"


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_reading_waits_no_longer_than_asked(connection, timeout):
    """A reading without a reply raises, and leaves the connection up."""
    with pytest.raises(RedisTimeoutError):
        read_reply(connection, timeout)

    assert is_connected(connection)


def test_a_reading_does_not_connect_again(connection):
    """A lost connection raises, because a new one would be subscribed to nothing."""
    connection.disconnect()
    with pytest.raises((redis.ConnectionError, OSError)):
        read_reply(connection, 0)

    assert not is_connected(connection)
