"""Threads or greenlets: the process decides which of them this package runs on.

Under gunicorn's gevent worker, gevent patches `threading` and `time` after the fork, and with
`--preload` after this package was imported.  A name taken by `from threading import …` would stay
unpatched, and so would a lock that was made at import.  So the whole package writes
`threading.Thread`, looked up when it is needed, and makes no lock, thread or event at import.
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
    """Run `function` in a daemon thread, or in a greenlet where gevent has patched threads."""
    thread = threading.Thread(target=function, name=f"redis-events-{name}", daemon=True)
    thread.start()
    return thread


def soon(function: Callable[[], None]) -> None:
    """Run `function` in a greenlet in the next turn of gevent's loop; without gevent, at once."""
    if patched():
        sys.modules["gevent"].spawn(function)
    else:
        function()


def watcher(fd: int, *, write: bool) -> Any:
    """Return a watcher of gevent's loop for a descriptor; the caller starts and closes it."""
    # 1 and 2 are libev's EV_READ and EV_WRITE; gevent uses the same numbers on libuv.
    return sys.modules["gevent"].get_hub().loop.io(fd, 2 if write else 1)


def ends_us(error: BaseException) -> bool:
    """Say whether an exception asks this greenlet or process to stop.

    Any other exception reports an error in the application's code.
    """
    gevent = sys.modules.get("gevent")
    killed = gevent is not None and isinstance(error, gevent.GreenletExit)
    return killed or isinstance(error, (GeneratorExit, KeyboardInterrupt))


def let_others_run() -> None:
    """Give the other greenlets or threads a turn."""
    time.sleep(0)


def jitter(seconds: float, *, by: float = 0.25) -> float:
    """Shorten a time at random by up to the share `by`, so that many clients do not act at once."""
    return seconds * (1 - by * random.random())


def backoff(attempt: int, *, first: float = 0.05, most: float = 2.0) -> float:
    """Return the seconds to wait before an attempt (0, 1, …).

    The time doubles from `first` up to `most`; half of it is random, so that workers which lost
    their connections together do not reconnect together.
    """
    # 2**30 is beyond any `most`, and a large exponent would not fit into a float.
    ceiling = min(most, first * 2 ** min(attempt, 30))
    return random.uniform(ceiling / 2, ceiling)


class Deadline:
    """The moment at which a series of waits must be over; `None` seconds set no limit."""

    __slots__ = ("_at",)

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """The seconds that remain, never negative; None without a limit."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._at is not None and time.monotonic() >= self._at
