"""The faults: each is a function of the scene, and undoes changes that must not last.

Its docstring is its name in the table of the audit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import redis

from tests.support.servers import Gunicorn, RedisServer

from .page import Page

#: Seconds between the heartbeats of a stream.
HEARTBEAT = 2.0


class Pausable(Protocol):
    """An emitter that can be paused."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass
class Scene:
    """The parts of a run that faults may change."""

    chance: random.Random
    server: Gunicorn
    store: RedisServer
    #: Open pages; `come` opens one more.
    pages: list[Page]
    come: Callable[[], None]
    #: Emits a message of a size in bytes on each of some channels, in one round trip.
    emit: Callable[[Sequence[str], int], None]
    channels: list[str]
    emitting: Sequence[Pausable]
    over: threading.Event = field(default_factory=threading.Event)

    def signal_a_worker(self, number: signal.Signals) -> None:
        pids = self.server.worker_pids()
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(pids), number)

    def wait(self, seconds: float) -> None:
        self.over.wait(seconds)

    def burst(self, count: int, size: int, channels: Sequence[str]) -> None:
        """Emit `count` messages of `size` bytes, one by one, on random ones of some channels."""
        for _ in range(count):
            self.emit([self.chance.choice(channels)], size)

    def some_pages(self, share: float) -> list[Page]:
        return self.chance.sample(self.pages, max(1, round(len(self.pages) * share)))

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Pause all emitters; only the fault itself can emit inside the block."""
        for each in self.emitting:
            each.pause()
        try:
            yield
        finally:
            for each in self.emitting:
                each.resume()


def kill_a_worker(scene: Scene) -> None:
    """`kill -9` of a worker"""
    scene.signal_a_worker(signal.SIGKILL)


def drain_a_worker(scene: Scene) -> None:
    """SIGTERM to one worker"""
    scene.signal_a_worker(signal.SIGTERM)


def reload(scene: Scene) -> None:
    """HUP: new workers, the old ones drain"""
    scene.server.reload()


def reload_in_a_storm(scene: Scene) -> None:
    """all connections cut, and HUP while the clients reconnect"""
    for page in scene.pages:
        page.drop()
    scene.wait(scene.chance.uniform(0.1, 0.5))
    scene.server.reload()


def cut_pubsub(scene: Scene) -> None:
    """`CLIENT KILL TYPE pubsub`"""
    scene.store.kill_pubsub()


def cut_publishers(scene: Scene) -> None:
    """`CLIENT KILL TYPE normal`: the connections that publish"""
    with redis.Redis.from_url(scene.store.url) as client:
        for _ in range(5):
            client.client_kill_filter(_type="normal", skipme=True)
            scene.wait(0.05)


def freeze_redis(scene: Scene) -> None:
    """Redis frozen (SIGSTOP) for 3 seconds; sometimes a worker dies meanwhile"""
    scene.store.pause()
    try:
        scene.wait(1)
        if scene.chance.random() < 0.5:
            scene.signal_a_worker(scene.chance.choice([signal.SIGKILL, signal.SIGTERM]))
        scene.wait(2)
    finally:
        scene.store.resume()


def restart_redis(scene: Scene) -> None:
    """Redis restarted, with its append-only file"""
    scene.store.restart()


def crash_redis(scene: Scene) -> None:
    """Redis killed with `kill -9`, and restarted with its append-only file"""
    scene.store.restart(signal.SIGKILL)


def tiny_output_buffer(scene: Scene) -> None:
    """a pub/sub output buffer of 64 KiB, and a burst of 1.2 MB"""
    with redis.Redis.from_url(scene.store.url) as client:
        client.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
        scene.burst(15, 80_000, scene.channels)
        scene.wait(0.5)
        client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")


def stall_clients(scene: Scene) -> None:
    """three clients that stop reading, under a burst of 2 MB on their channels"""
    stalled = [page for page in scene.some_pages(0.5) if not page.asked.alone][:3]
    for page in stalled:
        page.stall()
    names = [name for page in stalled for name in page.asked.channels if name in scene.channels]
    scene.burst(100, 20_000, names or scene.channels)
    scene.wait(1)
    for page in stalled:
        page.resume()


def drop_clients(scene: Scene) -> None:
    """the connections of a third of the clients cut"""
    for page in scene.some_pages(1 / 3):
        page.drop()


def come_and_go(scene: Scene) -> None:
    """some pages closed, and others opened"""
    for page in scene.some_pages(0.1):
        scene.pages.remove(page)
        page.leave()
        scene.come()


def fall_silent(scene: Scene) -> None:
    """silence for three heartbeats; clients that reconnect during it"""
    with scene.silence():
        for _ in range(2):
            scene.wait(HEARTBEAT * 1.5)
            drop_clients(scene)


def whisper(scene: Scene) -> None:
    """silence except on channels of one client or of a generator, which then reconnect"""
    alone = [page for page in scene.pages if page.asked.alone]
    gathering = [page for page in scene.pages if page.asked.gathers]
    with scene.silence():
        scene.wait(0.5)
        for page in [*alone, *gathering]:
            # Four messages, because the generator sends three and must hold the fourth.
            scene.emit(page.asked.channels * 4, 10)
        scene.wait(0.3)
        for page in alone:
            page.drop()
        scene.wait(HEARTBEAT * 1.5)
        for page in [*alone, *gathering]:
            page.drop()
        scene.wait(HEARTBEAT * 1.5)


FAULTS: list[Callable[[Scene], None]] = [
    kill_a_worker,
    drain_a_worker,
    reload,
    reload_in_a_storm,
    cut_pubsub,
    cut_publishers,
    freeze_redis,
    restart_redis,
    crash_redis,
    tiny_output_buffer,
    stall_clients,
    drop_clients,
    come_and_go,
    fall_silent,
    whisper,
]
