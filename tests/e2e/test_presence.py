"""Who is there, over all workers, whatever happens to them and to Redis."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.relay import Relay
from tests.support.servers import RedisServer
from tests.support.sse_client import EventSource
from tests.support.travel import TravellingRedis
from tests.support.waiting import wait_until

from .conftest import Start
from .crowd import APP, FAULTS, LEASE, Crowd, present, staged

#: Seconds within which `present` is true: a lease, and what a busy machine needs to ask.
TRUE = 15 + 2
#: Seconds until nothing is left of an identity that was lost with its worker.
GONE = 32 + 2


@pytest.mark.parametrize("kind", ["gevent", "generator", "gthread"])
def test_streams_are_counted_by_identity(start: Start, kind: str):
    """`present` counts streams of the channel, and `clients` those of everywhere."""
    app = start(kind, app=APP)
    clients = [app.ready(f"/room/a?who={who}") for who in ("ada", "ada", "bob")]
    clients += [app.ready("/room/b?who=ada"), app.ready("/own?who=eve"), app.ready("/room/a")]
    clients.append(app.stream("/poll?who=eve"))

    wait_until(lambda: present(app) == {"ada": 2, "bob": 1})
    wait_until(lambda: app.request("GET", "/clients")[2] == {"ada": 3, "bob": 1, "eve": 2})
    assert present(app, "b") == {"ada": 1}
    clients[2].close()
    wait_until(lambda: present(app).get("bob") == 0)
    wait_until(lambda: present(app) == {"ada": 2}, 10)
    for client in clients:
        client.close()


def told(client: EventSource) -> list[tuple[str, str]]:
    """Return who came and went, as a client was told it."""
    return [
        (event.event, json.loads(event.data)["identity"])
        for event in client.events
        if event.event in ("join", "leave")
    ]


@pytest.mark.parametrize("query", ["", "&callback"])
def test_a_stream_may_hear_who_comes_and_goes(start: Start, query: str):
    """One `join` for each identity, and one `leave` when it has stayed away long enough."""
    app = start(app=APP, workers=2)
    watcher = EventSource(f"{app.url}/seen/a?who=ada{query}")
    wait_until(lambda: told(watcher) == [("join", "ada")])
    bob = [app.ready("/seen/a?who=bob") for _ in range(3)]
    wait_until(lambda: ("join", "bob") in told(watcher))
    for client in bob:
        client.close()
    # A page that is loaded again.
    back = app.ready("/seen/a?who=bob")
    time.sleep(2)
    assert told(watcher) == [("join", "ada"), ("join", "bob")]
    app.emit("room:a", 7)
    watcher.wait_for(lambda events: any(e.event == "message" for e in events))
    back.close()

    wait_until(lambda: told(watcher)[2:] == [("leave", "bob")], 10)
    watcher.close()


def test_an_identity_is_text(start: Start):
    """Anything else is an error of the view; presence of nobody is no presence."""
    app = start(app=APP)

    assert app.request("GET", "/own?who=%00")[0] == 500
    assert "identity= must return a str" in app.server.log


@pytest.mark.timeout(240)
def test_presence_survives_every_fault(
    start: Start, travelling_redis: TravellingRedis, tmp_path: Path
):
    """`present` is true within a lease of each fault, once the clients have their streams again."""
    with staged(start, travelling_redis, tmp_path) as scene:
        app, crowd = scene.app, Crowd(scene.app, 200)
        wait_until(lambda: crowd.is_seen, 20)
        scene.sources, scene.freeze = crowd.sources, LEASE + 1
        for name, fault in FAULTS.items():
            with fault(scene):
                pass
            # Until it has had its effects; before, all may still look right.
            time.sleep(0.5)
            at = time.monotonic()
            wait_until(lambda: crowd.is_back, 30, crowd.shown)
            back_at = time.monotonic()
            wait_until(lambda: crowd.is_seen, LEASE + 2, crowd.shown)
            seconds = time.monotonic() - back_at
            print(
                f"{name}: all were back after {back_at - at:.1f} s, and seen after {seconds:.1f} s"
            )
        crowd.close()
        wait_until(lambda: present(app, "a") == present(app, "b") == {}, GONE)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("dies", [False, True], ids=["all live", "a worker dies"])
def test_presence_survives_a_failover(
    start: Start, own_redis_server: RedisServer, tmp_path: Path, dies: bool
):
    """A replica that lags by some who came and some who went: within a lease all of it is true."""
    (tmp_path / "replica").mkdir()
    with (
        RedisServer(tmp_path / "replica") as replica,
        Relay(own_redis_server.port) as relay,
        ExitStack() as opened,
    ):
        own_redis_server.client().config_set("repl-diskless-sync-delay", 0)
        replica.client().replicaof("127.0.0.1", str(own_redis_server.port))
        app = start(app=APP, workers=2, redis=own_redis_server, env={"URL": relay.url})
        stay, go = Crowd(app, 20), Crowd(app, 20, "gone")
        opened.callback(stay.close)
        opened.callback(go.close)
        wait_until(lambda: Crowd.are_seen(app, stay, go), 20)
        assert own_redis_server.client().wait(1, 5000) == 1
        replica.client().replicaof("NO", "ONE")
        # The new master knows nothing of what follows.
        go.close()
        come = Crowd(app, 20, "new")
        opened.callback(come.close)
        wait_until(lambda: Crowd.are_seen(app, stay, come), 20)
        # So that nobody who has left is in the time of grace.
        wait_until(lambda: len(present(app)) == 10, 10)
        if dies:
            app.server.kill_worker(app.server.worker_pids()[0])
        relay.lead_to(replica.port)

        wait_until(lambda: Crowd.are_seen(app, stay, come), TRUE, lambda: str(present(app)))
        wait_until(lambda: len(present(app)) == 10, GONE)
        come.close()
        wait_until(lambda: Crowd.are_seen(app, stay), TRUE)


def test_a_dead_worker_leaves_nothing_behind(start: Start, own_redis_server):
    """After kill -9 of all workers, only what the living have noted is on Redis."""
    app = start(app=APP, workers=2, redis=own_redis_server)
    clients = [app.ready(f"/room/a?who=user{number}") for number in range(20)]
    wait_until(lambda: len(present(app)) == 20)
    for pid in app.server.worker_pids():
        app.server.kill_worker(pid)
    for client in clients:
        client.close()
    wait_until(lambda: app.request("GET", "/present/a")[0] == 200, 10)
    # A new worker holds a lease from its first stream on.
    own = app.ready("/own?who=eve")
    wait_until(lambda: present(app) == {}, GONE)
    [lease] = app.request("GET", "/workers")[2]

    assert lease["pid"] in app.server.worker_pids()
    redis, prefix = own_redis_server.client(), app.prefix
    assert not redis.exists(prefix + "present:room:a", prefix + "leaving")
    assert redis.zrange(prefix + "workers", 0, -1) == [lease["worker"].encode()]
    own.close()


def test_a_lease_describes_its_worker(start: Start):
    """What an operator wants to see: where it runs, since when, and what it serves."""
    app = start(app=APP)
    clients = [app.ready(f"/room/{number}?who=ada") for number in range(3)]
    wait_until(lambda: app.request("GET", "/workers")[2], 10)
    [lease] = app.request("GET", "/workers")[2]

    assert lease["pid"] in app.server.worker_pids()
    assert set(lease) >= {"worker", "host", "version", "started", "draining", "streams"}
    wait_until(lambda: app.request("GET", "/workers")[2][0]["channels"] == {"room:{room}": 3}, TRUE)
    for client in clients:
        client.close()
