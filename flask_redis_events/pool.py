"""Runs application code for many clients in as few greenlets as it takes.

An idle client of a callback holds no greenlet.  When messages come, one greenlet works for all
clients in turn.  Before it begins, the next one stands by: should the application's code wait (for
a database, say), the next greenlet goes on with the other clients, so that a callback holds up its
own client only.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from . import concurrency

log = logging.getLogger("flask_redis_events")


class Job(Protocol):
    """Something to work on, a turn at a time."""

    def work(self) -> bool:
        """Make a part of what there is to make; say whether it is to be sent."""

    def send(self) -> bool:
        """Send what was made; say whether there is more to make."""

    def fail(self) -> None:
        """End, because the work cannot go on."""


class Pool:
    """Works on jobs, first come, first served.  Used under gevent only, by its one thread."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        #: Jobs that have made something in this turn.
        self._made: list[Job] = []
        #: Whether a greenlet is about to begin.
        self._standing_by = False
        #: How many greenlets gave way in the midst of their work, and will go on with it.
        self._resting = 0

    def add(self, job: Job) -> None:
        """Work on a job soon.  A job must not be added while it waits here, or is worked on."""
        self._waiting.append(job)
        self._stand_by()

    def _stand_by(self) -> None:
        if not self._standing_by:
            self._standing_by = True
            concurrency.soon(self._run)

    def _run(self) -> None:
        self._standing_by = False
        # The greenlet before this one may be waiting, in the midst of its turn.
        self._send()
        until = time.monotonic() + concurrency.TURN
        while self._waiting and not self._resting:
            job = self._waiting.popleft()
            if self._waiting or self._made:
                self._stand_by()
            if self._attempt(job, job.work):
                self._made.append(job)
            over = time.monotonic() >= until
            if over or not self._waiting:
                self._send()
            if over:
                self._rest()
                until = time.monotonic() + concurrency.TURN
        # Another greenlet may rest just now, and have nothing of its own to send later.
        self._send()
        if self._waiting and not self._resting:
            self._stand_by()

    def _send(self) -> None:
        made, self._made = self._made, []
        for job in made:
            if self._attempt(job, job.send):
                self._waiting.append(job)

    def _attempt(self, job: Job, do: Callable[[], bool]) -> bool:
        try:
            return do()
        except BaseException:
            # One client's trouble is not the others': not even a GreenletExit, as nobody but the
            # application's own code could have meant it, nor a gevent.Timeout that it forgot.
            log.exception("Working for a stream failed.")
            job.fail()
            return False

    def _rest(self) -> None:
        # Those who stand by are not to take over from a greenlet that only gives way.
        self._resting += 1
        try:
            concurrency.let_others_run()
        finally:
            self._resting -= 1
