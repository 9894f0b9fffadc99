"""Threads or greenlets, decided by the process and never by us.

Under gunicorn's gevent workers `threading` and `time` are patched, after a fork and, with
`--preload`, after this package was imported.  So the package reaches for both by module attribute,
when it needs them, and makes no lock, thread or event at import.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

#: Seconds for which work that others wait for may go on: one turn.
TURN = 0.001


def patched() -> bool:
    """Say whether gevent has patched this process's threads."""
    global _patched
    if not _patched:
        monkey = sys.modules.get("gevent.monkey")
        _patched = monkey is not None and bool(monkey.is_module_patched("threading"))
    return _patched


#: Whether it is known to have, which it cannot take back.
_patched = False


def spawn(name: str, function: Callable[[], None]) -> threading.Thread:
    """Run `function` beside the caller; it must not outlive the process.

    Under gevent this is a bare greenlet, which has the part of a thread's interface that we use
    (`join`), and costs a third of a thread's memory.
    """
    if patched():
        greenlet: Any = sys.modules["gevent"].spawn(function)
        return greenlet  # type: ignore[no-any-return]
    thread = threading.Thread(target=function, name=f"redis-events-{name}", daemon=True)
    thread.start()
    return thread


def soon(function: Callable[[], None]) -> None:
    """Run `function` in a greenlet, in the next turn of gevent's loop; with threads, at once."""
    if patched():
        sys.modules["gevent"].spawn(function)
    else:
        function()


def guard() -> Any:
    """Return a lock for a few lines that wait for nothing.

    Under gevent nobody comes between such lines, so a lock would only cost memory and time.
    """
    return _UNGUARDED if patched() else threading.Lock()


_UNGUARDED = contextlib.nullcontext()


def watcher(fd: int, *, write: bool) -> Any:
    """Return a watcher of gevent's loop, for reading or writing; it is not started."""
    return sys.modules["gevent"].get_hub().loop.io(fd, 2 if write else 1)


def is_exit(error: BaseException) -> bool:
    """Whether the exception asks this greenlet or process to stop.

    Any other one reports an error in the application's code.
    """
    gevent = sys.modules.get("gevent")
    killed = gevent is not None and isinstance(error, gevent.GreenletExit)
    return killed or isinstance(error, (GeneratorExit, KeyboardInterrupt))


def let_others_run() -> None:
    """Give the other greenlets or threads a turn."""
    time.sleep(0)


class Turn:
    """Work that lets others run after every millisecond, however much of it there is."""

    __slots__ = ("_rest", "_until")

    def __init__(self, rest: Callable[[], None] = let_others_run) -> None:
        self._rest = rest
        self._until = time.monotonic() + TURN

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._until

    def maybe_rest(self) -> None:
        """Let others run, if the turn is over, and begin the next one."""
        if time.monotonic() >= self._until:
            self._rest()
            self._until = time.monotonic() + TURN


class _Switch:
    """Wakes one greenlet, once: an event that costs a quarter of gevent's own."""

    __slots__ = ("_loop", "_waiter")

    def __init__(self) -> None:
        hub = sys.modules["gevent.hub"]
        self._waiter: Any = hub.Waiter()
        self._loop = hub.get_hub().loop

    def set(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._loop.run_callback(waiter.switch, None)

    def wait(self) -> None:
        if self._waiter is not None:
            self._waiter.get()


class Wakeable:
    """Something that others change, and that one greenlet or thread may wait for."""

    __slots__ = ("_changed", "wake")

    def __init__(self) -> None:
        #: Called at every change, as long as nobody has waited.
        self.wake: Callable[[], object] | None = None
        #: Set at every change, once somebody has waited.
        self._changed: threading.Event | _Switch | None = None

    def notify(self) -> None:
        """Wake whoever waits for a change."""
        if self._changed is not None:
            self._changed.set()
        elif self.wake is not None:
            self.wake()

    def wait(self, happened: Callable[[], object], timeout: float | None = None) -> bool:
        """Wait until `happened()`, which is asked again at every change.

        Return False if it has not when `timeout` seconds have passed.
        """
        if timeout is None and patched():
            while not happened():
                # Nobody comes between the question and the wait.
                self._changed = switch = _Switch()
                switch.wait()
            return True
        deadline = Deadline(timeout)
        while not happened():
            if not isinstance(self._changed, threading.Event):
                # Asked once more, as it may have happened before there was an event to set.
                self._changed = threading.Event()
            elif self._changed.wait(deadline.left):
                self._changed.clear()
            else:
                return bool(happened())
        return True


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
