"""Emits this machine's figures, once a second, and does the demo's jobs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil

from flask_redis_events import BrokerError, Emitter

from . import jobs


def figures() -> Iterator[dict[str, Any]]:
    """Yield what the machine does, over the time since the last one."""
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
            "load": psutil.getloadavg()[0],
        }
        before = network


def main() -> None:
    url, prefix = os.environ["REDIS_EVENTS_URL"], os.environ["REDIS_EVENTS_PREFIX"]
    emitter = Emitter(url, prefix=prefix)
    # Before the first figures: with those the page lets jobs be started.
    jobs.serve(url, prefix, emitter.emit_many)
    away = False
    for figure in figures():
        try:
            emitter.emit("metrics", figure, event="metrics")
            away = False
        except BrokerError as error:
            if not away:
                print(f"publisher: {error}", file=sys.stderr)
            away = True


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
