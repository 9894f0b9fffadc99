"""What it costs to know who is there: ten thousand clients on a thousand channels.

Each client has an identity of its own.  They come within ten seconds; then a part of them leaves
and comes back each second, as pages are loaded anew.  The streams are left out: this is what
presence and the worker's lease add to them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from flask_redis_events.broker import open_broker
from flask_redis_events.reports import Reports
from flask_redis_events.wire import BEGINNING
from flask_redis_events.workers import Worker

from . import machine
from .run import Run

CLIENTS = 10_000
CHANNELS = 1_000
SECONDS = 60
#: Clients that load their page anew in a second: each stays for eight minutes or so.
RELOADS = 20


def presence(run: Run) -> None:
    """One worker, in this process, and Redis."""
    seconds = SECONDS // 4 if run.quick else SECONDS
    broker = open_broker(run.redis.url, prefix="presence:", history=1000, history_ttl=300.0)
    worker = Worker(
        broker,
        Reports(None),
        describe=lambda: {"streams": CLIENTS},
        viewed=lambda: ((), BEGINNING),
        on_lapse=print,
        grace=6.0,
    )
    worker.start()
    places = [("", f"room:{number % CHANNELS}") for number in range(CLIENTS)]
    run.tell(f"presence: {CLIENTS:,} clients come")
    _measure(run, "CPU per arrival", lambda: _come(worker, places), per=CLIENTS)
    run.tell(f"presence: {RELOADS} of them reload each second, for {seconds} s")
    _measure(run, "share of a core", lambda: _reload(worker, places, seconds), per=seconds)
    assert len(broker.people.present("")) == CLIENTS
    memory = run.redis.client().memory_usage("presence:present:") or 0
    run.results.add("presence", "memory on Redis for each identity", CLIENTS, memory / CLIENTS)
    worker.stop()
    broker.close()


def _measure(run: Run, what: str, do: Callable[[], None], *, per: int) -> None:
    cpu, own = machine.cpu_seconds(run.redis.pid), time.process_time()
    do()
    redis, own = machine.cpu_seconds(run.redis.pid) - cpu, time.process_time() - own
    run.results.add("presence", f"{what}, Redis", CLIENTS, redis / per)
    run.results.add("presence", f"{what}, worker", CLIENTS, own / per)


def _come(worker: Worker, places: list[tuple[str, str]]) -> None:
    for number, where in enumerate(places):
        worker.add(where, f"user{number}")
        if number % 100 == 0:
            time.sleep(0.1)
    time.sleep(2)


def _reload(worker: Worker, places: list[tuple[str, str]], seconds: int) -> None:
    for _ in range(seconds * RELOADS):
        number = random.randrange(CLIENTS)
        worker.remove(places[number], f"user{number}")
        time.sleep(0.5 / RELOADS)
        worker.add(places[number], f"user{number}")
        time.sleep(0.5 / RELOADS)
