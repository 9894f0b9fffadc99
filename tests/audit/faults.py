"""What may go wrong: each fault is a function of the scene, and undoes what must not stay."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable

import redis

from tests.servers import Gunicorn, RedisServer
from tests.sse_client import EventSource, SSEClient, StreamEnded


class Scene:
    """What faults may touch."""

    def __init__(
        self,
        chance: random.Random,
        server: Gunicorn,
        store: RedisServer,
        clients: list[EventSource],
        burst: Callable[[int, int], None],
    ) -> None:
        self.chance = chance
        self.server = server
        self.store = store
        self.clients = clients
        #: Emits so many messages of so many bytes at once.
        self.burst = burst
        self.over = threading.Event()

    def worker(self) -> int | None:
        pids = self.server.worker_pids()
        return self.chance.choice(pids) if pids else None


def kill_a_worker(scene: Scene) -> None:
    """kill -9"""
    _signal(scene.worker(), signal.SIGKILL)


def drain_a_worker(scene: Scene) -> None:
    """SIGTERM to one worker"""
    _signal(scene.worker(), signal.SIGTERM)


def reload(scene: Scene) -> None:
    """HUP: new workers, the old ones drain"""
    scene.server.reload()


def cut_pubsub(scene: Scene) -> None:
    """CLIENT KILL TYPE pubsub"""
    scene.store.kill_pubsub()


def cut_publishers(scene: Scene) -> None:
    """CLIENT KILL TYPE normal"""
    with redis.Redis.from_url(scene.store.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)


def freeze_redis(scene: Scene) -> None:
    """SIGSTOP for 3 s"""
    scene.store.pause()
    scene.over.wait(3)
    scene.store.resume()


def restart_redis(scene: Scene) -> None:
    """restart with its append-only file"""
    scene.store.restart()


def crash_redis(scene: Scene) -> None:
    """kill -9 and restart with its append-only file"""
    scene.store.restart(signal.SIGKILL)


def tiny_output_buffer(scene: Scene) -> None:
    """pub/sub output buffer of 64 KiB, and a burst beyond it"""
    with redis.Redis.from_url(scene.store.url) as client:
        client.config_set("client-output-buffer-limit", "pubsub 65536 65536 1")
        scene.burst(150, 8000)
        scene.over.wait(0.5)
        client.config_set("client-output-buffer-limit", "pubsub 33554432 8388608 60")


def stall_clients(scene: Scene) -> None:
    """clients beside them that stop reading, under a burst"""
    with contextlib.ExitStack() as stalled:
        for _ in range(5):
            with contextlib.suppress(OSError, StreamEnded):
                url = scene.server.url + "/channels?name=c*"
                stalled.enter_context(SSEClient(url, receive_buffer=4096))
        scene.burst(100, 20_000)


def drop_clients(scene: Scene) -> None:
    """connections of a third of the clients are cut"""
    for source in scene.chance.sample(scene.clients, len(scene.clients) // 3):
        source.drop()


FAULTS: list[Callable[[Scene], None]] = [
    kill_a_worker,
    drain_a_worker,
    reload,
    cut_pubsub,
    cut_publishers,
    freeze_redis,
    restart_redis,
    crash_redis,
    tiny_output_buffer,
    stall_clients,
    drop_clients,
]


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
