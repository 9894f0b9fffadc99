"""Threads or greenlets: the process decides which of them this package runs on.

Under gunicorn's gevent worker, gevent patches `threading` and `time` after the fork, and with
`--preload` after this package was imported.  A name taken by `from threading import …` would stay
unpatched, and so would a lock that was made at import.  So the whole package writes
`threading.Thread`, looked up when it is needed, and makes no lock, thread or event at import.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .exceptions import SetupError

#: Not the one of `random`'s functions, which an application may have seeded for itself; and one
#: without a state, which forked workers would have in common.
_random = random.SystemRandom()
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


def check_patches() -> None:
    """Raise `SetupError` if gevent has patched another copy of `threading` than the one in use."""
    if patched() and threading.get_ident is not sys.modules["gevent.thread"].get_ident:
        raise SetupError(
            "A package has loaded the module threading anew after gevent had patched it, as"
            " `import ddtrace.auto` does: start gunicorn with ddtrace-run instead."
        )


def spawn(name: str, function: Callable[[], None]) -> threading.Thread:
    """Run `function` in a daemon thread, or in a greenlet where gevent has patched threads.

    The greenlet has the part of a thread's interface that we use (`join`), and costs a third of
    the memory of gevent's thread.
    """
    if patched():
        greenlet: Any = sys.modules["gevent"].spawn(function)
        return greenlet  # type: ignore[no-any-return]
    thread = threading.Thread(target=function, name=f"redis-events-{name}", daemon=True)
    thread.start()
    return thread


def soon(function: Callable[[], None]) -> None:
    """Run `function` in a greenlet in the next turn of gevent's loop; without gevent, at once."""
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
    """Return a watcher of gevent's loop for a descriptor; the caller starts and closes it."""
    # 1 and 2 are libev's EV_READ and EV_WRITE; gevent uses the same numbers on libuv.
    return sys.modules["gevent"].get_hub().loop.io(fd, 2 if write else 1)


def is_exit(error: BaseException) -> bool:
    """Whether the exception asks this greenlet or process to stop.

    Any other exception reports an error in the application's code; so does SystemExit, because no
    callback may end the worker.
    """
    gevent = sys.modules.get("gevent")
    killed = gevent is not None and isinstance(error, gevent.GreenletExit)
    return killed or isinstance(error, (GeneratorExit, KeyboardInterrupt))


def let_others_run() -> None:
    """Give the other greenlets or threads a turn, also those whose sockets have become ready."""
    if not patched():
        time.sleep(0)
        return
    # After `sleep(0)` gevent may come back fifty times before it looks at any socket.
    hub = sys.modules["gevent"].get_hub()
    with hub.loop.timer(0) as timer:
        hub.wait(timer)


class Turn:
    """Work that lets others run after every millisecond, however much of it there is."""

    __slots__ = ("_rest", "_until")

    def __init__(self, rest: Callable[[], None] = let_others_run) -> None:
        self._rest = rest
        self._until = time.monotonic() + TURN

    def maybe_rest(self) -> None:
        """Let others run, if the turn is over, and begin the next one."""
        if time.monotonic() >= self._until:
            self._rest()
            self._until = time.monotonic() + TURN


class _Switch:
    """Wakes one greenlet, perhaps for nothing: an event that costs a quarter of gevent's own."""

    __slots__ = ("_current", "_hub", "_set", "_waiter")

    def __init__(self) -> None:
        gevent = sys.modules["gevent"]
        self._hub, self._current = gevent.get_hub(), gevent.getcurrent
        self._waiter: Any = None
        self._set = False

    def set(self) -> None:
        if self._waiter is not None and not self._set:
            self._set = True
            self._hub.loop.run_callback(self._wake)

    def _wake(self) -> None:
        # It may have been killed meanwhile, and wait for something else.
        if self._waiter is not None:
            self._waiter.switch()

    def wait(self) -> None:
        self._set, self._waiter = False, self._current()
        try:
            self._hub.switch()
        finally:
            self._waiter = None


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
                if not isinstance(self._changed, _Switch):
                    self._changed = _Switch()
                self._changed.wait()
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
    """Shorten a time at random by up to the share `by`, so that many clients do not act at once."""
    return seconds * (1 - by * _random.random())


def backoff(attempt: int, *, first: float = 0.05, most: float = 2.0) -> float:
    """Return the seconds to wait before an attempt (0, 1, …).

    The time doubles from `first` up to `most`; half of it is random, so that workers which lost
    their connections together do not reconnect together.
    """
    # 2**30 is beyond any `most`, and a large exponent would not fit into a float.
    ceiling = min(most, first * 2 ** min(attempt, 30))
    return _random.uniform(ceiling / 2, ceiling)


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
