"""Lending connections for commands, on a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis

from flask_redis_events import BrokerError
from flask_redis_events.broker import command_pool
from flask_redis_events.broker.command_pool import CONNECTIONS, CommandPool
from flask_redis_events.broker.versions import is_connected


@pytest.fixture
def pool(redis_server) -> Iterator[CommandPool]:
    pool = CommandPool(lambda: redis.Connection(port=redis_server.port), patience=0.05)
    yield pool
    pool.disconnect()


def ping(connection: redis.Connection) -> bytes:
    connection.send_command("PING")
    return connection.read_response()


def test_one_connection_does_for_calls_one_after_another(pool):
    lent = []
    for _ in range(3):
        with pool.lend() as connection:
            assert ping(connection) == b"PONG"
            lent.append(connection)

    assert len(set(map(id, lent))) == 1


def test_calls_at_once_have_connections_of_their_own(pool):
    with pool.lend() as one, pool.lend() as other:
        assert one is not other


def test_a_call_that_gets_no_connection_raises(pool):
    """And finds one as soon as another call has ended."""
    with ExitStack() as lent:
        for _ in range(CONNECTIONS):
            lent.enter_context(pool.lend())
        with pytest.raises(BrokerError, match="All 16 connections to Redis were in use"):
            lent.enter_context(pool.lend())
    with pool.lend() as connection:
        assert ping(connection) == b"PONG"


def test_a_call_waits_for_a_connection(redis_server):
    pool = CommandPool(lambda: redis.Connection(port=redis_server.port), patience=10)
    got: list[bytes] = []

    def call() -> None:
        with pool.lend() as connection:
            got.append(ping(connection))

    with ExitStack() as lent:
        for _ in range(CONNECTIONS):
            lent.enter_context(pool.lend())
        waiting = threading.Thread(target=call)
        waiting.start()
    waiting.join(5)
    pool.disconnect()

    assert got == [b"PONG"]


@pytest.mark.parametrize("sure", [False, True], ids=["after a pause", "for a call of one attempt"])
def test_a_connection_that_redis_closed_is_replaced(pool, redis_server, monkeypatch, sure):
    """Redis closes idle connections (`timeout`), and whoever emits next does not notice."""
    if not sure:
        monkeypatch.setattr(command_pool, "IDLE", 0.0)
    with pool.lend() as connection:
        ping(connection)
    redis_server.client().client_kill_filter(_type="normal", skipme=True)

    with pool.lend(sure=sure) as connection:
        assert ping(connection) == b"PONG"


def test_a_reply_that_nobody_read_is_not_the_next_calls(pool):
    with pytest.raises(KeyError), pool.lend() as connection:
        connection.send_command("ECHO", "unread")
        raise KeyError

    with pool.lend() as connection:
        assert ping(connection) == b"PONG"


def test_connections_are_disconnected_when_their_calls_have_ended(pool):
    """A command under way is not cut off, and its connection is not lent again."""
    with pool.lend() as used:
        with pool.lend() as idle:
            ping(idle)
        pool.disconnect()

        assert not is_connected(idle)
        assert ping(used) == b"PONG"

    assert not is_connected(used)
