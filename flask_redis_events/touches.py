"""Events that say only that something has changed: at most one a second for each channel.

The first one leaves at once.  Those that follow within a second are one event at its end, so that
pages which load their state at such an event never miss the last change.
"""

from __future__ import annotations

import atexit
import os
import threading
import time

from . import concurrency
from .broker import Outgoing
from .later import Sender

#: Seconds from one event of a channel to the next, at least.
INTERVAL = 1.0


class Touches:
    """The touched channels of one emitter in one process."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._pid = os.getpid()
        # Guards the three below.
        self._lock = threading.Lock()
        #: Channel -> when its next event may leave; channels that were touched lately only.
        self._next: dict[str, float] = {}
        #: Channel -> the event that waits for that moment.
        self._waiting: dict[str, Outgoing] = {}
        self._working = False
        # Held while events leave, so that a process which ends can wait for that.
        self._sending = threading.Lock()

    def touch(self, message: Outgoing) -> bool:
        """Say whether an event may leave at once; if not, it leaves later by itself."""
        with self._lock:
            at_once = message.channel not in self._next
            if at_once:
                self._next[message.channel] = time.monotonic() + INTERVAL
            else:
                self._waiting[message.channel] = message
            if not self._working:
                self._working = True
                # A thread that only sleeps would not delay the end of the process, so its events
                # would be lost.
                atexit.register(self._flush)
                concurrency.spawn("touch", self._work)
        return at_once

    def _work(self) -> None:
        """Send what waits, as it becomes due, until no channel was touched lately."""
        while True:
            with self._lock:
                pause = self._begin_next()
                if pause is None:
                    self._working = False
                    atexit.unregister(self._flush)
                    return
            time.sleep(pause)
            self._send(only_due=True)

    def _begin_next(self) -> float | None:
        """Forget channels that are quiet, and return the seconds until one may send again."""
        now = time.monotonic()
        for channel in [c for c, at in self._next.items() if at <= now]:
            if channel not in self._waiting:
                del self._next[channel]
        return max(0.0, min(self._next.values()) - now) if self._next else None

    def _send(self, *, only_due: bool) -> None:
        with self._sending:
            with self._lock:
                now = time.monotonic()
                due = [c for c in self._waiting if not only_due or self._next[c] <= now]
                messages = [self._waiting.pop(channel) for channel in due]
                # Before they leave: a touch from now on may be of a later change.
                self._next.update(dict.fromkeys(due, now + INTERVAL))
            if messages:
                self._sender.send(messages)

    def _flush(self) -> None:
        """Send all that waits, because the process ends; not in a child of it."""
        if os.getpid() == self._pid:
            self._send(only_due=False)
