"""Runs in one process without Redis; see `runs.py`, whose promises it keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from ..wire import BEGINNING, Position
from ..wire.run import marker
from .base import Log, Outgoing, Standing

#: Seconds for which a stop waits for a run that has not begun.
WAIT = 3600.0


class Logs(Protocol):
    """What keeps the logs: the `MemoryBroker`."""

    def publish(self, channel: str, frame: bytes) -> Position | None:
        """Add a message to a channel's history, and deliver it."""

    def keep_log(self, channel: str, ttl: float, *, anew: bool = False) -> Position:
        """Keep a log for `ttl` seconds from now on, or begin it; return the clock."""


class _Run:
    def __init__(self, token: str = "", state: str = "", started: Position | None = None) -> None:
        self.token = token
        self.state = state
        self.started = started
        self.ended: Position | None = None
        self.number = 0
        self.ttl = 0.0
        self.stop = False
        #: When the lease lapses, and when the run is forgotten.
        self.lapses = self.expires = 0.0


class MemoryRuns:
    """The runs of a `memory://` broker."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        # Guards the runs.
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def begin(self, channel: str, token: str, *, ttl: float, lease: float) -> Standing:
        with self._lock:
            before = self._find(channel)
            if before.state == "running":
                return Standing("active", before.stop)
            run = _Run(token, "running", self._logs.keep_log(channel, ttl + lease, anew=True))
            run.ttl, run.stop = ttl, before.stop and not before.state
            self._renew(run, lease)
            self._runs[channel] = run
            return Standing(run.state, run.stop)

    def write(
        self,
        channel: str,
        token: str,
        number: int,
        messages: Sequence[Outgoing],
        *,
        state: str = "",
        ttl: float,
        lease: float,
    ) -> Standing:
        with self._lock:
            run = self._find(channel)
            if run.token != token:
                return Standing("lost", run.stop)
            if run.state == "running":
                new, run.number = number > run.number, number
                for message in messages if new else ():
                    self._logs.publish(channel, message.frame)
                self._renew(run, lease)
                self._logs.keep_log(channel, ttl + lease)
                if state and new:
                    self._close(channel, run, state)
            return Standing(run.state, run.stop)

    def request_stop(self, channel: str) -> bool:
        with self._lock:
            run = self._find(channel)
            if run.state not in ("", "running"):
                return False
            run.stop = True
            run.expires = time.monotonic() + WAIT
            self._runs[channel] = run
            return True

    def look(self, channel: str) -> Log:
        with self._lock:
            run = self._find(channel)
            return Log(run.state, run.started, run.ended)

    def sweep(self, viewed: Iterable[str] = (), position: Position = BEGINNING) -> None:
        with self._lock:
            for channel in list(self._runs):
                self._find(channel)

    def _find(self, channel: str) -> _Run:
        """Return what is known of a run, after a look at its lease."""
        run, now = self._runs.get(channel) or _Run(), time.monotonic()
        if run.state == "running" and run.lapses <= now:
            self._close(channel, run, "lost")
        elif run.state != "running" and run.expires <= now:
            self._runs.pop(channel, None)
            run = _Run()
        return run

    def _renew(self, run: _Run, lease: float) -> None:
        run.lapses = time.monotonic() + lease

    def _close(self, channel: str, run: _Run, state: str) -> None:
        run.ended = self._logs.publish(channel, marker(state))
        run.state, run.expires = state, time.monotonic() + run.ttl
        self._logs.keep_log(channel, run.ttl)
