"""The soak: streams of every kind that come and go, many thousand times, and nothing may grow.

Half of the streams are of a channel or of an identity that never was before.  Clients leave as they
like: before the answer, after `ready`, or after an event; some say goodbye, and others break off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import redis

from tests.support.servers import Gunicorn, RedisServer
from tests.support.waiting import wait_until

from .emitting import Emitting, Style, Where, by_emitter

#: How many streams are open at a time, and seconds for which one may wait for an answer.
OPEN, PATIENCE = 40, 30
KINDS = ("through", "callback", "pull", "shared", "backlog", "present", "poll")
#: SO_LINGER with which a closed connection breaks off.
ABRUPT = struct.pack("ii", 1, 0)


class Sample(NamedTuple):
    """What a worker and Redis hold when no stream is open."""

    memory: int
    objects: int
    greenlets: int
    descriptors: int
    keys: int
    connections: int


@dataclass
class Soak:
    """The result: how many streams were opened, and a sample after each part."""

    streams: int = 0
    samples: list[Sample] = field(default_factory=list)

    def grown(self, first: int) -> Sample:
        """Return how much more there was at the end than after a part."""
        return Sample(*(a - b for a, b in zip(self.samples[-1], self.samples[first], strict=True)))

    @property
    def level(self) -> bool:
        """Whether nothing grew in the second half that would grow with each stream."""
        half = len(self.samples) // 2
        grown, streams = (
            self.grown(half - 1),
            self.streams - self.streams * half // len(self.samples),
        )
        # The newest messages in memory come and go, and a slow run has more of them.
        allowed = Sample(streams * 300 + 2**21, streams // 20 + 20_000, 5, 5, 5, 5)
        return all(one <= most for one, most in zip(grown, allowed, strict=True))


def soak(
    count: int,
    directory: Path,
    *,
    parts: int = 10,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Soak:
    """Open and leave `count` streams of one worker."""
    chance, result = random.Random(seed), Soak()
    with contextlib.ExitStack() as running:
        store = running.enter_context(RedisServer(directory))
        where = Where(store.url, 100, 60, 60)
        env = {**where.environ, "TEST_REDIS_EVENTS_RETRY": "0.1"}
        app = "tests.audit.app:create_app()"
        server = running.enter_context(Gunicorn(app, workers=1, env=env, access_log=False))
        emitter = where.emitter()
        running.callback(emitter.close)
        emitting = Emitting(Style("soak", ["a", "b", "c"], 30, seed), by_emitter(emitter)[0])
        running.callback(emitting.stop)
        emitting.start()
        for part in range(parts):
            names = range(count * part // parts, count * (part + 1) // parts)
            result.streams += asyncio.run(_come_and_go(server.port, names, chance))
            emitting.pause()
            result.samples.append(_sample(server, store))
            emitting.resume()
            say(f"{names.stop:8d} streams  {result.samples[-1]}")
    return result


async def _come_and_go(port: int, names: range, chance: random.Random) -> int:
    """Open a stream for each number; return how many answered."""
    waiting = iter(names)

    async def one_after_another() -> int:
        return sum([await _visit(port, _path(number, chance), chance) for number in waiting])

    return sum(await asyncio.gather(*(one_after_another() for _ in range(OPEN))))


def _path(number: int, chance: random.Random) -> str:
    kind = KINDS[number % len(KINDS)]
    # Presence is told on channels, which Redis remembers for their time.
    names = ["a", "b", "c"] if kind == "present" else ["a", "b", f"soak-{number}"]
    name = chance.choice(names)
    query = {"through": f"?name={name}&name=b*", "present": f"?who=user-{number}"}.get(kind, "")
    return f"/{kind}{query}" if kind in ("through", "poll") else f"/{kind}/{name}{query}"


async def _visit(port: int, path: str, chance: random.Random) -> bool:
    """Open a stream and leave it; say whether it began, or was left before it could."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    if chance.random() < 0.3:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    try:
        async with asyncio.timeout(PATIENCE):
            if chance.random() < 0.1:
                return True
            await reader.readuntil(b"event: ready\n")
            if chance.random() < 0.1 and path.startswith(("/through", "/poll")):
                await reader.readuntil(b"data: ")
        return True
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.close()


def _state(server: Gunicorn) -> Any:
    with urllib.request.urlopen(f"{server.url}/held", timeout=10) as response:
        return json.load(response)


def _sample(server: Gunicorn, store: RedisServer) -> Sample:
    wait_until(lambda: _state(server)["streams"] == 0, 30)
    with redis.Redis.from_url(store.url) as client:
        # Identities leave after their time of grace, and names that nobody hears at once.
        wait_until(lambda: not client.zcard("audit:leaving"), 30)
        wait_until(lambda: client.pubsub_numpat() == 0, 10)
        keys, connections = client.dbsize(), len(client.client_list())
    state, process = _state(server), psutil.Process(server.worker_pids()[0])
    return Sample(
        process.memory_info().rss,
        state["objects"],
        state["greenlets"],
        process.num_fds(),
        int(keys),
        connections,
    )
