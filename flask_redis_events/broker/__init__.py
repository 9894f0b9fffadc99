"""The Redis side: publish, read, replay.  `open_broker` is the one door to it."""

from __future__ import annotations

from .base import Broker
from .memory import MemoryBroker
from .redis import RedisBroker

__all__ = ["Broker", "open_broker"]


def open_broker(
    url: str, *, prefix: str, history: int, history_ttl: float, client: object = None
) -> Broker:
    """Make the broker that a URL (or a redis-py client's settings) calls for; connects nothing."""
    if client is None and url.startswith("memory:"):
        return MemoryBroker.named(url, prefix=prefix, history=history, history_ttl=history_ttl)
    return RedisBroker(url, prefix=prefix, history=history, history_ttl=history_ttl, client=client)
