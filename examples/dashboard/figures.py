"""What is measured: each metric has its own channel, so that a page listens to what it shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from flask_redis_events import RedisEvents

events = RedisEvents()

#: How many figures of each metric are kept; there is one a second.
KEPT = 120


@dataclass(frozen=True)
class Metric:
    title: str
    #: The names of its values.
    series: tuple[str, ...]
    unit: str
    #: The end of the scale, where it is known.
    most: float | None = None


METRICS = {
    "cpu": Metric("Processor", ("busy",), "%", 100),
    "memory": Metric("Memory", ("used",), "bytes", psutil.virtual_memory().total),
    "network": Metric("Network", ("received", "sent"), "bytes/s"),
    "disk": Metric("Disks", ("read", "written"), "bytes/s"),
    "load": Metric("Load", ("running or waiting",), ""),
}


def channel(metric: str) -> str:
    return f"figures:{metric}"


def measure() -> Iterator[dict[str, tuple[float, ...]]]:
    """Yield the values of each metric once a second."""
    psutil.cpu_percent()
    before, at = _counters(), time.monotonic()
    while True:
        time.sleep(max(0.0, at + 1 - time.monotonic()))
        counted, now = _counters(), time.monotonic()
        rates = [round((a - b) / (now - at)) for a, b in zip(counted, before, strict=True)]
        memory = psutil.virtual_memory()
        yield {
            "cpu": (psutil.cpu_percent(),),
            "memory": (memory.total - memory.available,),
            "network": (rates[0], rates[1]),
            "disk": (rates[2], rates[3]),
            "load": (round(psutil.getloadavg()[0], 2),),
        }
        before, at = counted, now


def _counters() -> tuple[int, int, int, int]:
    """Return the bytes received, sent, read and written since the machine started."""
    network, disk = psutil.net_io_counters(), psutil.disk_io_counters()
    # A container may have no disks of its own.
    read, written = (disk.read_bytes, disk.write_bytes) if disk else (0, 0)
    return network.bytes_recv, network.bytes_sent, read, written
