"""One producer for many clients: the first client of a key makes it, the last one ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from .subscription import Subscription


class Producer(Protocol):
    """Application code that runs once for all its clients."""

    @property
    def over(self) -> bool:
        """Whether it produces nothing more, and takes no more clients."""

    def start(self) -> None:
        """Begin to work."""

    def join(self, member: Subscription) -> None:
        """Let a client have what is produced from now on."""

    def release(self, member: Subscription) -> bool:
        """Forget a client; say whether it was the last one."""

    def stop(self) -> None:
        """Produce nothing more."""


P = TypeVar("P", bound=Producer)


class Shared(Generic[P]):
    """The producers of one worker, by key."""

    def __init__(self) -> None:
        # Guards the producers, and that none is joined as it is stopped.
        self._lock = threading.Lock()
        self._producers: dict[Hashable, P] = {}

    def join(self, key: Hashable, make: Callable[[], P], member: Subscription) -> P:
        """Let a client join the producer of a key, which is made if there is none."""
        with self._lock:
            producer = self._producers.get(key)
            if producer is None or producer.over:
                producer = make()
                producer.start()
                self._producers[key] = producer
            producer.join(member)
            return producer

    def leave(self, key: Hashable, producer: P, member: Subscription) -> None:
        """Forget a client; the last one ends the producer."""
        with self._lock:
            if producer.release(member):
                producer.stop()
                if self._producers.get(key) is producer:
                    del self._producers[key]
