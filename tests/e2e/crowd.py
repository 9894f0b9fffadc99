"""A crowd of clients with identities, and the faults that befall them, their workers and Redis."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask_redis_events import Emitter
from tests.support.relay import Relay
from tests.support.servers import RedisServer
from tests.support.sse_client import EventSource
from tests.support.travel import TravellingRedis
from tests.support.waiting import wait_until

from .conftest import App, Start

APP = "tests.support.apps.people:create_app()"
LEASE = 6.0


def present(app: App, room: str = "a") -> Any:
    return app.request("GET", f"/present/{room}")[2]


class Crowd:
    """Clients in two rooms that come back like browsers; four have the same identity."""

    def __init__(self, app: App, count: int, name: str = "user") -> None:
        self.app = app
        self.sources = []
        self.truth: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}
        for number in range(count):
            room, who = "ab"[number % 2], f"{name}{number % (count // 4)}"
            source = EventSource(f"{app.url}/room/{room}?who={who}")
            self.sources.append(source)
            self.truth[room][who] += 1

    @property
    def is_back(self) -> bool:
        """Whether each of them has a stream that has begun."""
        return all(source.begun for source in self.sources)

    @property
    def is_seen(self) -> bool:
        return self.are_seen(self.app, self)

    def shown(self) -> str:
        seen = {room: present(self.app, room) for room in "ab"}
        tries = [(source.connections, source.status) for source in self.sources]
        return f"{seen}, not {self.truth}; connections: {tries}"

    @staticmethod
    def are_seen(app: App, *crowds: Crowd) -> bool:
        """Say whether these clients are there, and nobody else."""
        return all(
            {who: n for who, n in present(app, room).items() if n}
            == dict(sum([crowd.truth[room] for crowd in crowds], Counter()))
            for room in "ab"
        )

    def close(self) -> None:
        for source in self.sources:
            source.close()


@dataclass
class Scene:
    """Two workers, a Redis whose clock can be set, behind a relay, and its replica."""

    app: App
    redis: TravellingRedis
    relay: Relay
    replica: RedisServer
    #: Emits and disconnects, by way of the relay.
    emitter: Emitter
    #: An identity of which a file here has the name is refused.
    rights: Path
    #: The clients whose connections are cut.
    sources: list[EventSource] = field(default_factory=list)
    #: Seconds for which a worker is frozen.
    freeze: float = 1.0

    @property
    def worker(self) -> int:
        return self.app.server.worker_pids()[0]


Fault = Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def staged(start: Start, redis: TravellingRedis, directory: Path) -> Iterator[Scene]:
    """Yield a scene whose workers have a lease of `LEASE` seconds, so that tests wait less."""
    (directory / "replica").mkdir()
    with RedisServer(directory / "replica") as replica, Relay(redis.port) as relay:
        redis.client().config_set("repl-diskless-sync-delay", 0)
        env = {"URL": relay.url, "TEST_LEASE": str(LEASE), "TEST_REFUSED": str(directory)}
        app = start(app=APP, workers=2, redis=redis, env=env)
        replica.client().replicaof("127.0.0.1", str(redis.port))
        with closing(Emitter(relay.url, prefix=app.prefix)) as emitter:
            yield Scene(app, redis, relay, replica, emitter, directory)


def signalled(number: int) -> Fault:
    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.app.server.kill_worker(scene.worker, number)
        yield

    return fault


@contextmanager
def reload(scene: Scene) -> Iterator[None]:
    old = set(scene.app.server.worker_pids())
    scene.app.server.reload()
    yield
    wait_until(lambda: not old.intersection(scene.app.server.worker_pids()), 20)


@contextmanager
def reload_in_a_storm(scene: Scene) -> Iterator[None]:
    for source in scene.sources:
        source.drop()
    with reload(scene):
        yield


@contextmanager
def freeze_worker(scene: Scene) -> Iterator[None]:
    pid = scene.worker
    os.kill(pid, signal.SIGSTOP)
    thaw_at = time.monotonic() + scene.freeze
    yield
    time.sleep(max(0.0, thaw_at - time.monotonic()))
    os.kill(pid, signal.SIGCONT)


@contextmanager
def freeze_redis(scene: Scene) -> Iterator[None]:
    scene.redis.pause()
    yield
    time.sleep(1)
    scene.redis.resume()


@contextmanager
def freeze_redis_and_reload(scene: Scene) -> Iterator[None]:
    """The new workers have clients before they have Redis."""
    scene.redis.pause()
    with reload(scene):
        time.sleep(1)
        yield
    scene.redis.resume()


def restarted(number: int) -> Fault:
    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.redis.stop(number)
        yield
        time.sleep(0.5)
        scene.redis.start()

    return fault


def commanded(*command: str) -> Fault:
    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.redis.client().execute_command(*command)
        yield

    return fault


def evicted(pattern: str) -> Fault:
    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        client = scene.redis.client()
        keys = list(client.scan_iter(scene.app.prefix + pattern))
        for key in keys[::2]:
            client.delete(key)
        yield
        for key in keys[1::2]:
            client.delete(key)

    return fault


@contextmanager
def lose_kicks(scene: Scene) -> Iterator[None]:
    """Redis cuts the subscribers, and evicts the requests before they have read them."""
    client = scene.redis.client()
    client.client_kill_filter(_type="pubsub")
    yield
    client.delete(*[f"{scene.app.prefix}{kind}:$kicks" for kind in ("history", "last")])


def travelled(seconds: float) -> Fault:
    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        scene.redis.travel(seconds)
        yield

    return fault


@contextmanager
def cut_clients(scene: Scene) -> Iterator[None]:
    for source in scene.sources[::3]:
        source.drop()
    yield


@contextmanager
def swallow_answers(scene: Scene) -> Iterator[None]:
    scene.relay.losing = 3
    yield


@contextmanager
def tiny_output_buffer(scene: Scene) -> Iterator[None]:
    """Redis cuts subscribers that do not take a burst at once."""
    client = scene.redis.client()
    client.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
    for _ in range(15):
        # Every worker listens there, and no client.
        client.publish(f"{scene.app.prefix}$ticks", "x" * 80_000)
    yield
    client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")


@contextmanager
def forge(scene: Scene) -> Iterator[None]:
    """Somebody who may PUBLISH asks for the end of everybody, and repeats genuine requests."""
    client, topic = scene.redis.client(), f"{scene.app.prefix}$kicks"
    with client.pubsub() as pubsub:
        pubsub.subscribe(topic)
        pubsub.get_message(timeout=1)
        for number in range(5):
            what = {"identity": f"user{number}", "channel": None, "for_good": True}
            data = json.dumps(what)
            for id in ("1-0", "99999999999999-0", "-"):
                line = "" if id == "-" else f"id: {id}\n"
                client.publish(topic, f":{id} - {'0' * 16}\n{line}data: {data}\n\n")
            client.publish(topic, data)
        yield
        for heard in list(iter(lambda: pubsub.get_message(timeout=0.2), None)):
            client.publish(topic, heard["data"])


@contextmanager
def fail_over(scene: Scene) -> Iterator[None]:
    """To a replica that lacks what is written meanwhile; nothing follows this fault."""
    scene.replica.client().replicaof("NO", "ONE")
    yield
    # A request that no worker has received would be lost.
    time.sleep(0.5)
    scene.relay.lead_to(scene.replica.port)


#: What happens in the block happens in its midst.
FAULTS: dict[str, Fault] = {
    "worker killed": signalled(signal.SIGKILL),
    "worker drained": signalled(signal.SIGTERM),
    "reload": reload,
    "reload in a storm": reload_in_a_storm,
    "worker frozen": freeze_worker,
    "redis frozen": freeze_redis,
    "redis frozen, reload": freeze_redis_and_reload,
    "redis restarted": restarted(signal.SIGTERM),
    "redis killed": restarted(signal.SIGKILL),
    "flushed": commanded("FLUSHALL"),
    "all evicted": evicted("*"),
    "presence evicted": evicted("present:*"),
    "kicks evicted": lose_kicks,
    "clock ahead": travelled(4),
    "clock back": travelled(-4),
    "connections cut": cut_clients,
    "subscribers killed": commanded("CLIENT", "KILL", "TYPE", "pubsub"),
    "publishers killed": commanded("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    "answers swallowed": swallow_answers,
    "tiny output buffer": tiny_output_buffer,
    "forged requests": forge,
    "failover": fail_over,
}
