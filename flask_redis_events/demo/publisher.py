"""Emit this machine's figures once a second, and run the demo's jobs, in a process of its own."""

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
            "load": psutil.getloadavg()[0],
        }
        before = network


def main() -> None:
    """Publish until the process ends, also while Redis is away."""
    url, prefix = os.environ["REDIS_EVENTS_URL"], os.environ["REDIS_EVENTS_PREFIX"]
    emitter = Emitter(url, prefix=prefix)
    # Before the first figures, because the page enables its button for jobs when they arrive.
    jobs.serve(url, prefix, emitter.emit_many)
    away = False
    for figure in figures():
        try:
            emitter.emit("metrics", figure, event="metrics")
            away = False
        except BrokerError as error:
            # One line for each outage, not one a second.
            if not away:
                print(f"publisher: {error}", file=sys.stderr)
            away = True


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
