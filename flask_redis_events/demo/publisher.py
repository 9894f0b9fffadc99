"""Emit numbers and this machine's figures, and run the demo's jobs, in a process of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
from flask import Flask

from flask_redis_events import RedisEvents, ServerSentEvent
from flask_redis_events.signals import broker_connected

from . import jobs, numbers
from .config import config
from .outbox import Outbox


def figures() -> Iterator[dict[str, Any]]:
    """Yield figures of this machine once a second.

    Network traffic is in bytes a second, memory in bytes, and `cpu` in percent of each core.
    """
    psutil.cpu_percent(percpu=True)
    before, at = psutil.net_io_counters(), time.time()
    while True:
        time.sleep(max(0.0, at + 1 - time.time()))
        network, now = psutil.net_io_counters(), time.time()
        seconds, at = now - at, now
        memory = psutil.virtual_memory()
        yield {
            "t": round(now, 3),
            "cpu": psutil.cpu_percent(percpu=True),
            "memory": {"used": memory.total - memory.available, "total": memory.total},
            "network": {
                "in": round((network.bytes_recv - before.bytes_recv) / seconds),
                "out": round((network.bytes_sent - before.bytes_sent) / seconds),
            },
        }
        before = network


def main() -> None:
    """Publish until the process ends, also while Redis is away."""
    app = Flask(__name__)
    app.config.update(config())
    events = RedisEvents(app)
    outbox = Outbox(events)
    counter = numbers.Numbers(outbox)

    @events.on(jobs.WANTED)
    def begin_job(channel: str, job: Any) -> None:
        _in_a_thread(jobs.work, job, outbox)

    @events.on(numbers.WANTED)
    def begin_flood(channel: str, message: Any) -> None:
        _in_a_thread(counter.flood)

    # Before the first figures, because the page enables its button for jobs when they arrive.
    _listen(app, events)
    _in_a_thread(counter.run)
    for figure in figures():
        outbox.put([("metrics", ServerSentEvent(figure, event="metrics"))])


def _listen(app: Flask, events: RedisEvents) -> None:
    """Start the listeners; return once no further request can be missed."""
    listening = threading.Event()

    def connected(sender: object, **what: object) -> None:
        listening.set()

    broker_connected.connect(connected)
    with app.app_context():
        events.start()
    listening.wait()


def _in_a_thread(function: Callable[..., Any], *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
