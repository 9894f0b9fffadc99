"""One run: start everything, make trouble for a while, let it settle, and count."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis

from flask_redis_events import BrokerError, Emitter
from flask_redis_events.message import Position
from tests.servers import Gunicorn, RedisServer
from tests.sse_client import EventSource
from tests.waiting import wait_until

from .faults import FAULTS, Scene
from .verdict import Verdict, expected, judge

PREFIX = "audit:"


@dataclass
class Plan:
    """How large, and how long, in seconds; the seed decides everything else."""

    seed: int
    seconds: float = 300
    clients: int = 60
    channels: int = 20
    emitters: int = 4
    #: Messages a second and emitter.
    rate: float = 25


@dataclass
class Outcome:
    """What happened."""

    verdict: Verdict
    faults: Counter[str] = field(default_factory=Counter)
    emitted: int = 0
    failed: int = 0
    connections: int = 0
    #: Acknowledged by emit(), and not in history at the end: Redis itself lost them.
    unkept: int = 0

    @property
    def clean(self) -> bool:
        return self.verdict.clean and not self.unkept


@dataclass
class Listener:
    """A client, the channels it asked for, and where it began."""

    name: str
    asked: list[str]
    source: EventSource
    began: Position


class Emitting:
    """Emits on random channels in a thread, and keeps the ids."""

    def __init__(self, url: str, plan: Plan, seed: int) -> None:
        self.ids: list[str] = []
        self.failed = 0
        self._chance = random.Random(seed)
        self._plan = plan
        self._emitter = Emitter(url, prefix=PREFIX, history=1_000_000, history_ttl=3600)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(30)
        self._emitter.close()

    def burst(self, count: int, size: int) -> None:
        for _ in range(count):
            self.emit("x" * size)

    def emit(self, payload: str = "") -> None:
        channel = f"c{self._chance.randrange(self._plan.channels)}"
        try:
            id = self._emitter.emit(channel, [len(self.ids), payload])
            self.ids.append(id or "")
        except BrokerError:
            self.failed += 1

    def _run(self) -> None:
        while not self._over.wait(self._chance.expovariate(self._plan.rate)):
            self.emit()


def run(plan: Plan, directory: Path, say: Callable[[str], None] = lambda text: None) -> Outcome:
    """Carry out a plan."""
    chance = random.Random(plan.seed)
    environ = {
        "TEST_REDIS_EVENTS_PREFIX": f'"{PREFIX}"',
        "TEST_REDIS_EVENTS_RETRY": "0.3",
        "TEST_REDIS_EVENTS_HEARTBEAT": "2",
        "TEST_REDIS_EVENTS_HISTORY": "1000000",
        "TEST_REDIS_EVENTS_HISTORY_TTL": "3600",
        "TEST_REDIS_EVENTS_BUFFER": "2000000",
    }
    with contextlib.ExitStack() as running:
        store = running.enter_context(RedisServer(directory, appendonly=True))
        environ["TEST_REDIS_EVENTS_URL"] = store.url
        app = "tests.apps.streams:create_app()"
        server = running.enter_context(Gunicorn(app, workers=2, env=environ))
        listeners = [_listen(server.url, plan, chance, n) for n in range(plan.clients)]
        for listener in listeners:
            running.callback(listener.source.close)
        for listener in listeners:
            ready = listener.source.wait_for(lambda events: len(events) > 0, 30)[0]
            listener.began = Position.parse(ready.last_event_id) or listener.began
        emitters = [Emitting(store.url, plan, plan.seed + n) for n in range(plan.emitters)]
        for emitter in emitters:
            emitter.start()
        burster = Emitting(store.url, plan, plan.seed - 1)
        sources = [listener.source for listener in listeners]
        scene = Scene(chance, server, store, sources, burster.burst)
        faults = _make_trouble(plan, scene, listeners, say)
        for emitter in emitters:
            emitter.stop()
        return _count(store, listeners, [*emitters, burster], faults, say)


def _listen(url: str, plan: Plan, chance: random.Random, number: int) -> Listener:
    names = [f"c{n}" for n in range(plan.channels)]
    kind = number % 6
    if kind == 4:
        asked = [chance.choice(names)]
        path = f"/callback/{asked[0]}"
    elif kind == 5:
        asked = [chance.choice(names)]
        path = f"/once/{asked[0]}"
    else:
        asked = chance.sample(names, chance.randint(1, 6))
        if kind == 3:
            asked += [f"c{chance.randrange(10)}*"]
        path = "/channels?" + "&".join(f"name={name}" for name in asked)
    return Listener(f"client {number} on {path}", asked, EventSource(url + path), Position(0))


def _make_trouble(
    plan: Plan, scene: Scene, listeners: list[Listener], say: Callable[[str], None]
) -> Counter[str]:
    done: Counter[str] = Counter()
    started = time.monotonic()
    while (passed := time.monotonic() - started) < plan.seconds:
        scene.over.wait(scene.chance.uniform(0.3, 3))
        fault = scene.chance.choice(FAULTS)
        had = sum(len(listener.source.events) for listener in listeners)
        say(f"{passed:5.0f} s of {plan.seconds:.0f}  {had:8d} events  {fault.__doc__}")
        fault(scene)
        done[str(fault.__doc__)] += 1
    return done


def _count(
    store: RedisServer,
    listeners: list[Listener],
    emitters: list[Emitting],
    faults: Counter[str],
    say: Callable[[str], None],
) -> Outcome:
    say("settling …")
    with redis.Redis.from_url(store.url) as client:
        truth: list[tuple[Position, str]] = []
        for key in client.scan_iter(match=f"{PREFIX}history:*", count=1000):
            name = key.decode().removeprefix(f"{PREFIX}history:")
            truth += [(_position(id), name) for id, _ in client.xrange(key)]
    verdict = Verdict()
    for listener in listeners:
        wanted = expected(truth, listener.asked, listener.began)
        last = str(wanted[-1]) if wanted else ""

        def complete(listener: Listener = listener, last: str = last) -> bool:
            return not last or any(
                e.event == "message" and e.last_event_id == last for e in listener.source.events
            )

        with contextlib.suppress(AssertionError):
            wait_until(complete, 20)
        if listener.source.stopped:
            verdict.stopped += 1
            verdict.note("stopped", listener.name, [listener.source.status])
        judge(verdict, listener.name, listener.source.events, wanted)
    kept = {str(id) for id, _ in truth}
    return Outcome(
        verdict,
        faults,
        emitted=sum(len(emitter.ids) for emitter in emitters),
        failed=sum(emitter.failed for emitter in emitters),
        connections=sum(listener.source.connections for listener in listeners),
        unkept=sum(id not in kept for emitter in emitters for id in emitter.ids),
    )


def _position(id: bytes) -> Position:
    position = Position.parse(id)
    assert position is not None
    return position
