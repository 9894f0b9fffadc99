"""Threads or greenlets, decided by the process and never by us.

Under gunicorn's gevent workers `threading` and `time` are patched, after a fork and, with
`--preload`, after this package was imported.  So the package reaches for both by module attribute,
when it needs them, and makes no lock, thread or event at import.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def patched() -> bool:
    """Say whether gevent has patched this process's threads."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def spawn(name: str, function: Callable[[], None]) -> threading.Thread:
    """Run `function` beside the caller; it must not outlive the process."""
    thread = threading.Thread(target=function, name=f"redis-events-{name}", daemon=True)
    thread.start()
    return thread


def soon(function: Callable[[], None]) -> None:
    """Run `function` in a greenlet, in the next turn of gevent's loop; with threads, at once."""
    if patched():
        sys.modules["gevent"].spawn(function)
    else:
        function()


def watcher(fd: int, *, write: bool) -> Any:
    """Return a watcher of gevent's loop, for reading or writing; it is not started."""
    return sys.modules["gevent"].get_hub().loop.io(fd, 2 if write else 1)


def ends_us(error: BaseException) -> bool:
    """Say whether an exception is for the greenlet or process, and not of the code that it left."""
    gevent = sys.modules.get("gevent")
    killed = gevent is not None and isinstance(error, gevent.GreenletExit)
    return killed or isinstance(error, (GeneratorExit, KeyboardInterrupt))


def let_others_run() -> None:
    """Give the other greenlets or threads a turn."""
    time.sleep(0)


def jitter(seconds: float, *, by: float = 0.25) -> float:
    """Shorten a time by up to the share `by`, so that many of them fall apart."""
    return seconds * (1 - by * random.random())


def backoff(attempt: int, *, first: float = 0.05, most: float = 2.0) -> float:
    """Return the seconds to wait before the given attempt (0, 1, …): doubling, jittered, capped."""
    ceiling = min(most, first * 2 ** min(attempt, 30))
    return random.uniform(ceiling / 2, ceiling)


class Deadline:
    """A moment that a series of waits shares.  `None` seconds: never."""

    __slots__ = ("_at",)

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds to go, never negative."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at
