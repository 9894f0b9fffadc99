"""What must hold with every version of redis-py that is supported; `tox -e min` runs the oldest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from flask_redis_events.broker.versions import is_connected, read_reply


@pytest.fixture
def connection(redis_server) -> Iterator[Any]:
    connection = redis.Connection(port=redis_server.port)
    connection.connect()
    yield connection
    connection.disconnect()


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
