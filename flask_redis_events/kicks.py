"""Requests to end streams (`events.disconnect`): which streams they mean, and what came lately.

A view may let a client in just before a request, and its stream opens just after it.  So a stream
that opens asks for the requests that have come since its view was called.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

from . import endings
from .endings import Ending
from .wire import Message

#: How many requests are remembered.
KEPT = 1000


class Kick(NamedTuple):
    """One request; without an identity and a channel, it stands for requests that may be lost."""

    ending: Ending
    identity: str | None
    channel: str | None
    #: When it came, in monotonic seconds.
    at: float

    def means(self, about: Any) -> bool:
        """Say whether a stream is to end: its view was called before."""
        if about.asked_at > self.at:
            return False
        if self.channel is not None:
            return self.channel in about.channels
        return about.identity is not None and self.identity in (None, about.identity)


class Kicks:
    """The last requests, oldest first."""

    def __init__(self) -> None:
        # No lock guards it: appending to a deque and copying it are each atomic in CPython.
        self._kept: deque[Kick] = deque(maxlen=KEPT)

    def add(self, message: Message | None, *, age: float | None = None) -> Kick:
        """Remember a request; None: some may be lost.

        `age`: so many seconds ago, by the clock of Redis, which may be set; so nobody is ended for
        good.
        """
        what = {} if message is None else message.value
        for_good = what.get("for_good") and age is None
        ending = endings.DISCONNECTED if for_good else endings.ASKED_AGAIN
        at = time.monotonic() - (age or 0.0)
        kick = Kick(ending, what.get("identity"), what.get("channel"), at)
        self._kept.append(kick)
        return kick

    def since(self, at: float, about: Any) -> Ending | None:
        """Return how a stream is to end whose view was called at a moment; None if it is not."""
        kept = list(self._kept)
        for kick in reversed(kept):
            if kick.at < at:
                return None
            if kick.means(about):
                return kick.ending
        # Of so many some are forgotten.
        return endings.ASKED_AGAIN if len(kept) == KEPT else None
