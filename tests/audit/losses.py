"""What befalls Redis' data: each is a function of the scene, like the other faults.

A client that misses something by them must be told, and no other, if that can be known.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import redis

from flask_redis_events.wire import Position
from tests.support.waiting import wait_until

from .fate import Excuse
from .scene import HEARTBEAT, Scene
from .stores import Pair, Watched

#: What clients may be told of if Redis is emptied.  A worker cannot tell it from a failover if ids
#: begin anew in the very millisecond of its position.
EMPTIED = ("flushed", "rolled back", "forked")


def evict_histories(scene: Scene) -> None:
    """the histories of some channels evicted"""
    with scene.client() as client:
        for channel in scene.chance.sample(scene.channels, 4):
            client.delete(f"{scene.prefix}history:{channel}")
    scene.chance.choice(scene.pages).drop()


def evict_channels(scene: Scene) -> None:
    """the histories and the last ids of some channels evicted"""
    with scene.losing("evicted", "trimmed"), scene.client() as client:
        for channel in scene.chance.sample(scene.channels, 4):
            client.delete(f"{scene.prefix}history:{channel}", f"{scene.prefix}last:{channel}")


def evict_index(scene: Scene) -> None:
    """the index of channels evicted"""
    # Of a channel that begins now, as a run's, nobody knows whether it had earlier messages.
    with scene.losing("evicted", "trimmed"), scene.client() as client:
        client.delete(f"{scene.prefix}channels")


def evict_runs(scene: Scene) -> None:
    """what Redis knows of a run evicted: its log, its state, or both"""
    with scene.losing("evicted", "flushed", "trimmed"), scene.client() as client:
        for name in scene.stage.running:
            keys = [f"{scene.prefix}{kind}:{name}" for kind in ("history", "run")]
            client.delete(*scene.chance.choice([keys, keys[:1], keys[1:]]))


def evict_under_pressure(scene: Scene) -> None:
    """`maxmemory` with `allkeys-lru` or `allkeys-random`, and another program that fills it"""
    _let_the_clock_catch_up(scene)
    # Without `meta`, Redis may have other data.
    reasons = ("evicted", "trimmed", "flushed", "rolled back", "forked")
    with scene.losing(*reasons), scene.client() as client:
        policy = scene.chance.choice(["allkeys-lru", "allkeys-random"])
        client.config_set("maxmemory-policy", policy)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 500_000)
        fillers = [f"filler:{number}" for number in range(60)]
        for filler in fillers:
            # Redis refuses it if it finds nothing more to evict.
            with contextlib.suppress(redis.OutOfMemoryError):
                client.set(filler, b"x" * 50_000)
        client.config_set("maxmemory", 0)
        client.delete(*fillers)
        _let_workers_find_out(scene)


def flush(scene: Scene) -> None:
    """FLUSHALL"""
    _let_the_clock_catch_up(scene)
    with scene.losing(*EMPTIED), scene.client() as client:
        client.flushall()


def restart_empty(scene: Scene) -> None:
    """Redis killed with `kill -9`, and restarted without its data"""
    _let_the_clock_catch_up(scene)
    with scene.losing(*EMPTIED):
        _pair(scene).restart_empty()


def restart_from_snapshot(scene: Scene) -> None:
    """Redis killed with `kill -9`, and restarted with its data of a second before"""
    at = time.time()
    with _pair(scene).going_back():
        scene.wait(1)
        before = scene.clock()
    _note_failover(scene, before, at)


def travel_forward(scene: Scene) -> None:
    """the clock of Redis set forward by 1 to 5 seconds"""
    master = _pair(scene).master
    with scene.losing("expired"):
        master.travel(min(scene.chance.uniform(1, 5), 10 - master.travelled))


def travel_back(scene: Scene) -> None:
    """the clock of Redis set back by 1 to 5 seconds"""
    master = _pair(scene).master
    master.travel(-min(scene.chance.uniform(1, 5), 5 + master.travelled))


def outlive_histories(scene: Scene) -> None:
    """silence beyond HISTORY_TTL, which some clients spend elsewhere, after missing an event"""
    pages = scene.some_pages(0.3)
    with scene.silence(), scene.away(pages):
        scene.wait(0.5)
        for page in pages:
            scene.emit([name for name in page.asked.channels if "*" not in name], 0)
        scene.wait(scene.where.history_ttl + 1.5)


def outlive_silence(scene: Scene) -> None:
    """silence beyond SILENCE_TTL, which some clients spend elsewhere and others on their stream"""
    with scene.silence():
        with scene.away(scene.some_pages(0.3)):
            scene.wait(scene.where.silence_ttl + HEARTBEAT)
        for page in scene.some_pages(0.3):
            page.drop()
        scene.wait(1)


def stay_away(scene: Scene) -> None:
    """some clients away for almost HISTORY_TTL"""
    with scene.away(scene.some_pages(0.2)):
        scene.wait(scene.where.history_ttl - 1.5)


def overrun(scene: Scene) -> None:
    """some clients away while their channels have more events than HISTORY"""
    pages = [page for page in scene.some_pages(0.2) if not page.asked.alone]
    with scene.away(pages):
        scene.wait(0.2)
        for page in pages[:3]:
            scene.emit([page.asked.channels[0]] * (scene.where.history + 150), 0)


def fail_over(scene: Scene) -> None:
    """a failover to a replica that has everything"""
    _fail_over(scene, lambda: None)


def fail_over_behind(scene: Scene) -> None:
    """a failover to a replica that lacks the events of the last second, some on sparse channels"""

    def meanwhile() -> None:
        own = [page for page in scene.pages if page.asked.alone]
        scene.wait(0.4)
        for page in scene.chance.sample(own, min(3, len(own))):
            scene.emit(page.asked.channels, 0)
        scene.wait(0.4)

    _fail_over(scene, meanwhile)


def fail_over_in_silence(scene: Scene) -> None:
    """a failover that loses one event of a sparse channel, with no other event before and after"""
    own = [page for page in scene.pages if page.asked.alone]
    with scene.silence():
        scene.wait(1)
        _fail_over(scene, lambda: scene.emit(scene.chance.choice(own).asked.channels, 0))
        scene.wait(HEARTBEAT)


def fail_over_from_ahead(scene: Scene) -> None:
    """a failover from a master whose clock was 4 seconds ahead, with events that are lost"""
    travel_forward(scene)
    _pair(scene).master.travel(4)
    fail_over_behind(scene)


def fail_over_from_frozen(scene: Scene) -> None:
    """a master with `min-replicas-to-write 1` that is frozen until Sentinel fails over, and back"""
    assert isinstance(scene.store, Watched)
    before, at = scene.clock(), time.time()
    # Without it, it takes messages and runs until it learns that it is a replica.
    with scene.client() as client:
        client.config_set("min-replicas-to-write", 1)
    frozen = scene.store.master
    scene.store.fail_over_from_frozen()
    with frozen.client() as client:
        client.config_set("min-replicas-to-write", 0)
    _note_failover(scene, before, at)


def _fail_over(scene: Scene, meanwhile: Callable[[], None]) -> None:
    at = time.time()
    with scene.store.failing_over():
        meanwhile()
        before = scene.clock()
    _note_failover(scene, before, at)


def note_what_nobody_caused(scene: Scene) -> bool:
    """Note a failover that was no fault of this schedule; say whether there was one."""
    before, at = scene.clock(), scene.looked_at
    changed = scene.store.has_changed()
    scene.looked_at = time.time()
    if changed:
        scene.store.failed_over_at = scene.looked_at
        _note_failover(scene, before, at)
    return changed


def _note_failover(scene: Scene, before: Position, at: float) -> None:
    scene.failovers.append((at, scene.store.failed_over_at))
    # Workers find out when they reconnect; until then the new master gives out ids.
    after = max(before, scene.clock())
    scene.excuses += [
        Excuse(reason, at, Position(after.ms + 5000)) for reason in ("forked", "rolled back")
    ]


def _pair(scene: Scene) -> Pair:
    assert isinstance(scene.store, Pair)
    return scene.store


def _let_the_clock_catch_up(scene: Scene) -> None:
    """Wait until ids are not ahead of the time: who lost both would give old ids out again."""
    pair = _pair(scene)
    pair.master.travel(-min(0.0, pair.master.travelled))
    with scene.client() as client:
        wait_until(lambda: not _is_ahead(client, scene.prefix), 20)


def _let_workers_find_out(scene: Scene) -> None:
    """Let each worker connect anew, and so read what Redis still knows of its clock.

    If `meta` was evicted twice, a worker may have read the first of the new ones, and would find
    out about the second at any later moment, when clients have gone on beyond the mark.
    """
    with scene.client() as client:
        count = len(client.client_list(_type="pubsub"))
        scene.store.master.kill_pubsub()
        wait_until(lambda: len(client.client_list(_type="pubsub")) >= count, 30)


def _is_ahead(client: redis.Redis, prefix: str) -> bool:
    newest: Any = client.xrevrange(f"{prefix}ids", count=1)
    seconds, microseconds = client.time()
    last = Position.parse(newest[0][0]) if newest else None
    return last is not None and last.ms > seconds * 1000 + microseconds // 1000


#: For a pair of servers of which one fails over to the other.
LOSSES: list[Callable[[Scene], None]] = [
    evict_histories,
    evict_channels,
    evict_index,
    evict_runs,
    evict_under_pressure,
    flush,
    restart_empty,
    restart_from_snapshot,
    travel_forward,
    travel_back,
    outlive_histories,
    outlive_silence,
    stay_away,
    overrun,
    fail_over,
    fail_over_behind,
    fail_over_in_silence,
    fail_over_from_ahead,
]
#: For a pair behind Sentinels.
FAILOVERS: list[Callable[[Scene], None]] = [
    fail_over,
    fail_over_behind,
    fail_over_in_silence,
    fail_over_from_frozen,
]
