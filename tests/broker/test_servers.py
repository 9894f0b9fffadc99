"""Redis servers that cannot do what the broker needs: the errors say what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flask_redis_events.broker.redis import RedisBroker
from flask_redis_events.exceptions import BrokerError
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels
from tests.support.processes import free_port
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until


def open_one(server: RedisServer, url: str = "") -> RedisBroker:
    return RedisBroker(url or server.url, prefix="events:", history=10, history_ttl=300)


def each_use(broker: RedisBroker) -> list[Callable[[], object]]:
    return [
        lambda: broker.publish("a", encode("x")),
        lambda: broker.replay(channels("a", "b*"), last=1),
        broker.open,
    ]


@pytest.mark.parametrize("slots", [False, True], ids=["down", "serving"])
def test_a_node_of_a_cluster_is_named(tmp_path, slots):
    """A node of a Redis Cluster is refused, with the setting that is wrong."""
    arguments = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with RedisServer(tmp_path, arguments=arguments) as server:
        client = server.client()
        if slots:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
        broker = open_one(server)
        text = "REDIS_EVENTS_URL leads to a node of a Redis Cluster"

        for use in each_use(broker):
            with pytest.raises(BrokerError, match=text):
                use()
        broker.close()
        client.close()


@pytest.mark.redis(arguments=["--rename-command", "CLIENT", ""])
def test_the_command_client_is_not_needed(own_redis_server):
    """A server without the command CLIENT serves; only the connection has no name."""
    broker = open_one(own_redis_server)
    for use in each_use(broker):
        use()
    feed = broker.open()
    feed.subscribe(channels("a"))
    received: list[object] = []

    assert wait_until(lambda: received.__iadd__(feed.read(0.1)))
    feed.close()
    broker.close()


@pytest.mark.parametrize(
    "own_redis_server",
    [
        pytest.param(name, marks=pytest.mark.redis(arguments=["--rename-command", name, "other"]))
        for name in ("EVALSHA", "XADD")
    ],
    indirect=True,
)
def test_a_missing_command_is_named(own_redis_server):
    """A command that was renamed is told, with what to do."""
    broker = open_one(own_redis_server)

    for use in each_use(broker):
        with pytest.raises(BrokerError, match=r"must be Redis 6\.2 or later, and `rename-command`"):
            use()
    broker.close()
