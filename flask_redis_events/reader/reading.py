"""One reading of Redis, and the clients that it serves: their cursors follow from what it read."""

from __future__ import annotations

import math
import threading
from dataclasses import replace

from ..broker.coverage import Snapshot
from ..channels import Channel
from ..exceptions import BrokerError
from ..wire import Position
from .tail import newer


class Reading:
    """One reading of history, for all who need the same or a part of it."""

    def __init__(
        self, channels: frozenset[Channel], cursor: Position | None, *, alone: bool
    ) -> None:
        self.channels = channels
        #: Where it begins: the oldest cursor that was asked for until then, or the one `alone`;
        #: None for the state.
        self.cursor = cursor
        self.alone = alone
        #: When it began, and how many losses there had been.
        self.began: float | None = None
        self.losses = 0
        self.done = threading.Event()
        self.stale_at = math.inf
        self.size = 0
        self.snapshot: Snapshot | None = None
        self.error: BrokerError | None = None

    def takes(self, cursor: Position | None, *, alone: bool) -> bool:
        """Say whether it may serve a cursor; as long as it has not begun, it moves back to it."""
        if cursor is None or self.cursor is None:
            # A client is given the state of the moment at which it comes.
            return cursor is self.cursor and self.began is None
        if self.done.is_set():
            return self.after(cursor) is not None
        if alone or self.alone:
            return self.cursor == cursor
        if self.began is None:
            self.cursor = min(self.cursor, cursor)
        return self.cursor <= cursor

    def after(self, cursor: Position | None) -> Snapshot | None:
        """Return what came after a cursor; None if that does not follow from what was read."""
        found = self.snapshot
        if found is None or cursor is None or self.cursor is None or cursor == self.cursor:
            return found
        if cursor < self.cursor:
            # More than too much is too much.
            return found if found.reason == "too much" else None
        if cursor > found.clock or found.reason == "too much":
            return None
        if any(until <= cursor for until, _ in found.lost.values()):
            # Only the first reason was looked for; there may be others that concern this cursor.
            return None
        return replace(found, messages=newer(found.messages, cursor))
