"""Streams that others end: by identity, by channel, or because a right was taken away."""

from __future__ import annotations

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import pytest

from flask_redis_events import BrokerError
from tests.support.relay import Relay
from tests.support.servers import RedisServer
from tests.support.sse_client import EventSource, SSEClient
from tests.support.travel import TravellingRedis
from tests.support.waiting import wait_until

from .conftest import App, Start
from .crowd import APP, FAULTS, Crowd, Fault, Scene, staged

KINDS = ["gevent", "generator", "gthread"]


def disconnect(app: App, **what: object) -> None:
    assert app.request("POST", "/disconnect", what)[0] == 200


def last(client: SSEClient) -> tuple[str, str]:
    return client.events[-1].event, client.events[-1].last_event_id


@pytest.mark.parametrize("kind", KINDS)
def test_an_identity_goes_for_good(start: Start, kind: str):
    """All its streams in all workers get `end` within a second; others go on; a return gets 204."""
    app = start(kind, app=APP, workers=1 if kind == "gthread" else 2)
    paths = ["/own?who=eve", "/room/a?who=eve", "/seen/a?who=eve&callback"]
    gone = [app.ready(path) for path in paths * 2]
    others = [app.ready("/own?who=ada"), app.ready("/own")]
    started = time.monotonic()
    disconnect(app, identity="eve")
    for client in gone:
        assert client.wait_closed(3)
        assert client.events[-1].event == "end"
        client.close()
    assert time.monotonic() - started < 1.5
    app.emit("news", "after")

    for client in others:
        assert client.next_data() == "after"
        client.close()
    back = app.request("GET", "/own?who=eve", **{"Last-Event-ID": last(gone[0])[1]})
    assert back[0] == 204
    # A new page may open again.
    app.ready("/own?who=eve").close()


def test_nothing_arrives_after_it(start: Start):
    """What is emitted after `disconnect` has returned reaches nobody who was meant."""
    app = start(app=APP, workers=2)
    clients = [app.ready("/own?who=eve") for _ in range(20)]
    app.emit("news", "before")
    disconnect(app, identity="eve")
    for number in range(20):
        app.emit("news", number)
    for client in clients:
        assert client.wait_closed(3)
        assert [event.data for event in client.events if event.event == "message"] == ['"before"']
        client.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_that_is_being_asked(start: Start, kind: str):
    """The view let the client in before `disconnect`, and the stream opens after it: it ends."""
    app = start(kind, app=APP)
    first = app.ready("/own?who=eve")
    with ThreadPoolExecutor(1) as threads:
        opening = threads.submit(app.stream, "/slow?who=eve", timeout=10)
        assert app.redis.blpop(["asked"], 5)
        disconnect(app, identity="eve")
        assert first.wait_closed(3)
        app.redis.rpush("go", 1)
        late = opening.result()

    assert late.wait_closed(3)
    assert [event.event for event in late.events] == ["end"]
    first.close()
    late.close()


def test_a_channel_is_asked_again(start: Start):
    """`for_good=False`: the clients get `reconnect`, and their views decide."""
    app = start(app=APP)
    one, other = app.ready("/room/a?who=ada"), app.ready("/room/b?who=ada")
    disconnect(app, channel="room:a", for_good=False)

    assert one.wait_closed(3)
    assert one.events[-1].event == "reconnect"
    assert one.events[-1].data == '{"reason":"asked again"}'
    app.emit("room:b", 1)
    assert other.next_data() == 1
    one.close()
    other.close()


def test_nobody_is_meant(start: Start):
    """An identity without streams is no error; no identity at all is one."""
    app = start(app=APP)
    client = app.ready("/own")
    disconnect(app, identity="nobody")
    for wrong in ({}, {"identity": ""}, {"identity": 7}, {"identity": "a", "channel": "b"}):
        assert app.request("POST", "/disconnect", wrong)[0] == 500
    app.emit("news", 1)

    assert client.next_data() == 1
    assert "disconnect() takes identity= or channel=" in app.server.log
    client.close()


def test_a_worker_that_was_away_learns_of_it(start: Start, own_redis_server):
    """The request is an event like others: a lost connection does not lose it."""
    app = start(app=APP, redis=own_redis_server)
    client = app.ready("/own?who=eve")
    app.emit("news", "first")
    client.next_data()
    own_redis_server.kill_pubsub()
    disconnect(app, identity="eve")

    assert client.wait_closed(5)
    assert client.events[-1].event == "end"
    client.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_that_is_taken_away_ends_the_stream(start: Start, kind: str):
    """`reauthorize` is called about every heartbeat; False is for good."""
    app = start(kind, app=APP)
    stays, goes = (EventSource(f"{app.url}/guarded?who={who}") for who in ("ada", "eve"))
    time.sleep(1.2)
    assert (stays.connections, goes.connections) == (1, 1)
    app.redis.set("right:eve", "go")

    assert goes.wait_stopped(5) == 204
    assert "end" in [event.event for event in goes.events]
    time.sleep(1)
    assert stays.connections == 1
    app.redis.delete("right:eve")
    stays.close()


@pytest.mark.parametrize("right", ["raise", "hang"])
def test_a_question_without_an_answer_is_the_views(start: Start, right: str):
    """A function that fails or hangs ends no stream for good: the client is to come back."""
    app = start(app=APP)
    app.redis.set("right:mallory", right)
    client, other = app.ready("/guarded?who=mallory"), EventSource(app.url + "/guarded?who=ada")

    assert client.wait_closed(5)
    assert client.events[-1].event == "reconnect"
    client.close()
    wait_until(lambda: sum(event.event == "heartbeat" for event in other.events) > 2)
    assert other.connections == 1
    app.redis.delete("right:mallory")
    other.close()


@pytest.mark.timeout(120)
def test_for_good_outlives_a_failover(start: Start, own_redis_server: RedisServer, tmp_path: Path):
    """A browser that was told stays away although Redis has lost the request; others go on."""
    (tmp_path / "replica").mkdir()
    with RedisServer(tmp_path / "replica") as replica, Relay(own_redis_server.port) as relay:
        own_redis_server.client().config_set("repl-diskless-sync-delay", 0)
        replica.client().replicaof("127.0.0.1", str(own_redis_server.port))
        app = start(app=APP, workers=2, redis=own_redis_server, env={"URL": relay.url})
        gone = [EventSource(app.url + "/own?who=eve") for _ in range(10)]
        others = [EventSource(app.url + f"/own?who={who}") for who in ("ada", "bob")]
        for client in (*gone, *others):
            client.wait_connected()
            client.wait_for(lambda events: events)
        assert own_redis_server.client().wait(1, 5000) == 1
        replica.client().replicaof("NO", "ONE")
        disconnect(app, identity="eve")
        for client in gone:
            client.wait_for(lambda events: events[-1].event == "end")
        relay.lead_to(replica.port)

        for client in gone:
            assert client.wait_stopped(10) == 204
        assert app.request("POST", "/emit/news", "after")[0] == 200
        for client in others:
            wait_until(lambda client=client: client.data == ["after"], 15)  # type: ignore[misc]
            # The new master may have lost a request for them, too, so they may be asked again.
            assert client.connections <= 2
            client.close()
        assert all("after" not in client.data for client in gone)


class Party:
    """Four clients that one request means: those of an identity, or those in a room."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.scene, self.name, self.for_good = scene, f"party{number}", number % 2 == 0
        by_channel = number % 4 > 1
        self.what = {"channel": f"room:{self.name}"} if by_channel else {"identity": self.name}
        self.rooms = [self.name] if by_channel else ["a", "b"]
        names = [f"{self.name}-{seat}" if by_channel else self.name for seat in range(4)]
        urls = [f"{scene.app.url}/room/{self.rooms[seat % len(self.rooms)]}" for seat in range(4)]
        self.sources = [
            EventSource(f"{url}?who={who}") for url, who in zip(urls, names, strict=True)
        ]
        # Of the clients that may come back, the view lets some in again.
        refuses = self.for_good or number // 4 % 2
        self.refused = [bool(refuses or who.endswith("-0")) for who in names]
        self.rights = [scene.rights / who for who in names]
        self.had: list[int] = []
        self.begun: list[int] = []

    def disconnect(self) -> None:
        """Let the view know first, disconnect until it is done, and emit what nobody may get."""
        for right, refused in zip(self.rights, self.refused, strict=True):
            if refused:
                right.touch()
        self.had = [source.connections for source in self.sources]
        self.begun = [names_of(source).count("ready") for source in self.sources]
        emitter = self.scene.emitter
        while True:
            with suppress(BrokerError):
                emitter.disconnect(**self.what, for_good=self.for_good)
                break
        for room in self.rooms:
            emitter.emit(f"room:{room}", self.name)

    @property
    def is_over(self) -> bool:
        return all(
            source.stopped if refused else source.begun and source.connections > had
            for source, refused, had in zip(self.sources, self.refused, self.had, strict=True)
        )

    def shown(self) -> str:
        last = [[event.event for event in source.events[-4:]] for source in self.sources]
        return f"{self.what}, for good: {self.for_good}, refused: {self.refused}: {last}"

    def check(self) -> None:
        """Assert that nobody got more, or less, than was meant; the last step."""
        for source, refused, begun in zip(self.sources, self.refused, self.begun, strict=True):
            names = names_of(source)
            if refused:
                assert source.status in (204, 403)
                assert self.name not in names
            else:
                assert not source.stopped
                assert "end" not in names
            if self.name in names:
                # The view has let the client in again before that.
                assert names[: names.index(self.name)].count("ready") > begun
            source.close()


def names_of(source: EventSource) -> list[str]:
    """Return the data of messages, and the names of control events."""
    return [json.loads(e.data) if e.event == "message" else e.event for e in source.events]


@pytest.mark.timeout(240)
def test_requests_survive_every_fault(
    start: Start, travelling_redis: TravellingRedis, tmp_path: Path
):
    """Before, amid and after each fault: all clients that are meant have gone, and nobody else."""
    numbers = itertools.count(step=12)
    with staged(start, travelling_redis, tmp_path) as scene:
        others = Crowd(scene.app, 152)
        for name, fault in FAULTS.items():
            started = time.monotonic()
            disconnect_around(scene, others, fault, next(numbers))
            print(f"{name}: {time.monotonic() - started:.1f} s")
        others.close()


def disconnect_around(scene: Scene, others: Crowd, fault: Fault, first: int) -> None:
    parties = [Party(scene, number) for number in range(first, first + 12)]
    scene.sources = [*others.sources, *[s for party in parties for s in party.sources]]
    wait_until(lambda: all(source.begun for source in scene.sources), 20, others.shown)
    for party in parties[:4]:
        party.disconnect()
    with ThreadPoolExecutor(4) as threads:
        with fault(scene):
            amid = [threads.submit(party.disconnect) for party in parties[4:8]]
            wait(amid, 0.5)
        for party in parties[8:]:
            party.disconnect()
        for one in amid:
            one.result()

    for party in parties:
        wait_until(lambda party=party: party.is_over, 20, party.shown)  # type: ignore[misc]
        party.check()
    for source in others.sources:
        assert not source.stopped
        assert "end" not in names_of(source)
