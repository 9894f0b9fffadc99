"""Four clients with a pattern come back again and again: what do they cost everybody else?

There are 100,000 channels with an event each that the clients have missed.  Redis finds theirs in
the index and reads them, for positions that differ, so that the worker can share little.  The
figures are those of another process, which emits meanwhile, and of Redis' own log of slow commands.

That log has the time in which Redis was not running, too.  So the steps of a replay are measured
once more by themselves, each many times.

`python -m tests.benchmarks.patterns URL EARLIEST LATEST` are the clients.
"""

from __future__ import annotations

import http.client
import itertools
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from flask_redis_events.bench.figures import Spread
from flask_redis_events.channels import Channel
from flask_redis_events.wire import Position
from tests.support.processes import ROOT

from .contestant import message
from .ours import HandOff, Ours
from .run import Run
from .streaming import warm_up

CHANNELS, CLIENTS = 100_000, 4
#: Channels of each pattern, where its stream is (`apps/ours.py`), and the pattern.  The last is too
#: much for a resume, so that the client gets a `reset`.
PATTERNS = {
    100: ("narrow", "room:123*"),
    10_000: ("wide", "room:0*"),
    CHANNELS: ("all", "room:*"),
}
#: Seconds in which the positions lie, all before the events.
BEFORE = 1.0
#: Seconds from one emit to the next.
EVERY = 0.002
#: Microseconds that a command must take to be in Redis' log; it has room for all of them.
SLOW, ROOM = 100, 100_000
#: How often a replay is repeated to measure its steps.
REPEATS = 15


def patterns(run: Run) -> None:
    """Emit alone, and then beside the clients of each pattern."""
    seconds = 5.0 if run.quick else 20.0
    for _ in range(run.rounds):
        for kind in run.chosen(HandOff):
            with ExitStack() as stack:
                contestant = run.start(kind, stack)
                assert isinstance(contestant, Ours)
                warm_up(contestant)
                run.tell(f"{kind.name}: {CHANNELS:,} channels are made")
                earliest = _fill(contestant)
                run.tell(f"{kind.name}: emitting alone")
                _measure(run, contestant, "alone", 0, seconds)
                for count, (path, pattern) in PATTERNS.items():
                    run.tell(f"{kind.name}: {CLIENTS} with a pattern of {count:,} come back")
                    with _clients(contestant, path, earliest):
                        _measure(run, contestant, f"{CLIENTS} come back", count, seconds)
                    longest = _longest_step(contestant, pattern, earliest)
                    run.results.add("by itself", "latency by the longest step", count, longest)


def _fill(contestant: Ours) -> int:
    """Emit on each channel; return the ms after which the clients' positions lie."""
    text = contestant.emitter.position()
    earliest = Position.parse(text) if text else None
    assert earliest is not None
    time.sleep(BEFORE)
    for start in range(0, CHANNELS, 1000):
        contestant.emitter.emit_many(
            [(f"room:{start + number:05}", message(number)) for number in range(1000)]
        )
    return earliest.ms


@contextmanager
def _clients(contestant: Ours, path: str, earliest: int) -> Iterator[None]:
    url = f"{contestant.server.url}/{path}"
    words = [url, earliest + 1, earliest + int(BEFORE * 1000) - 100]
    command = [sys.executable, "-m", __name__, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as clients:
        assert clients.stdout
        clients.stdout.readline()  # The first of them has come back.
        try:
            yield
        finally:
            clients.terminate()


def _measure(run: Run, contestant: Ours, name: str, count: int, seconds: float) -> None:
    """Emit for some seconds, and add what it took, and Redis' longest command meanwhile."""
    redis: Any = contestant.redis
    redis.config_set("slowlog-log-slower-than", SLOW)
    redis.config_set("slowlog-max-len", ROOM)
    redis.slowlog_reset()
    before, took = contestant.metrics(), list(_emits(contestant, seconds))
    slow = [entry["duration"] / 1e6 for entry in redis.slowlog_get(ROOM)]
    after, emits, blocked = contestant.metrics(), Spread.of(took), Spread.of(slow or [0.0])
    assert emits is not None
    assert blocked is not None
    add = run.results.add
    add(name, "latency of emit p50", count, emits.p50)
    add(name, "latency of emit p99", count, emits.p99)
    add(name, f"latency by a command of Redis above {SLOW} µs p99", count, blocked.p99)
    add(name, "latency by Redis' longest command", count, blocked.highest)
    back = after.get("opened", 0) - before.get("opened", 0)
    add(name, "times that clients came back, per s", count, back / seconds)


def _longest_step(contestant: Ours, pattern: str, earliest: int) -> float:
    """Repeat a replay of this tree's package; return the seconds of its longest step.

    The time of a step is the median of those of the same command.
    """
    redis: Any = contestant.redis
    redis.slowlog_reset()
    for _ in range(REPEATS):
        contestant.emitter.broker.replay([Channel.parse(pattern)], after=Position(earliest))
    took: defaultdict[bytes, list[int]] = defaultdict(list)
    for entry in redis.slowlog_get(ROOM):
        took[entry["command"]].append(entry["duration"])
    steps = [median(seconds) for seconds in took.values() if len(seconds) > REPEATS // 2]
    return max(steps, default=SLOW) / 1e6


def _emits(contestant: Ours, seconds: float) -> Iterator[float]:
    """Emit at a steady rate on a channel of no pattern; yield the seconds of each emit."""
    end = time.monotonic() + seconds
    while (started := time.monotonic()) < end:
        contestant.emitter.emit("other", message(0))
        yield time.monotonic() - started
        time.sleep(EVERY)


def come_back(url: str, earliest: int, latest: int) -> None:
    """Resume, read up to `ready`, and leave, for ever; say when that was done once."""
    parts = urlsplit(url)
    for number in itertools.count():
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        id = f"{random.randint(earliest, latest)}-0"
        headers = {"Accept": "text/event-stream", "Last-Event-ID": id}
        connection.request("GET", parts.path, headers=headers)
        answer = connection.getresponse()
        while (line := answer.readline()) and line.strip() != b"event: ready":
            pass
        connection.close()
        if number == 0:
            print(flush=True)


if __name__ == "__main__":
    # They share Redis' core, and must not take it from Redis in the midst of a command.
    os.nice(5)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(CLIENTS):
            pool.submit(come_back, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
