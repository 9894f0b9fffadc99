"""What waits for one client: bounded, with a policy for what happens when it is full.  Pure.

History comes first; it is cut into parts as the client takes them, and does not count.

`drop` leaves the oldest messages out, and a `reset` says so.  `latest` first leaves out messages
that a newer one of the same key has superseded, which is no loss.  `close` takes nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from ..wire import NEVER, Batch, Message, Position, parts
from ..wire.control import Loss


class Backlog:
    """Batches in order.  `limit` is in bytes; `overflow` is close, drop or latest."""

    __slots__ = ("_batches", "_first", "_history", "_limit", "_loss", "_overflow", "size")

    def __init__(self, limit: int, overflow: str) -> None:
        self._limit = limit
        self._overflow = overflow
        #: The next part of the history, and where the others come from.
        self._first: Batch | None = None
        self._history: Iterator[Batch] = iter(())
        self._batches: list[Batch] = []
        #: The `reset` that tells of what was dropped, while it waits.
        self._loss: Loss | None = None
        #: Bytes of the messages in it; control frames do not count towards the limit.
        self.size = 0

    def __bool__(self) -> bool:
        return self._first is not None or bool(self._batches)

    @property
    def half_full(self) -> bool:
        """Whether it is time for a source that can wait to wait."""
        return self.size > self._limit // 2

    @property
    def tells_of_loss(self) -> bool:
        """Whether a `reset` waits behind the history."""
        return any(isinstance(batch, Loss) for batch in self._batches)

    def put(self, batch: Batch) -> int | None:
        """Put a batch at the end; return how many messages were dropped, or None if it is full."""
        self._batches.append(batch)
        if not batch.messages:
            return 0
        self.size += batch.size
        # A single batch may exceed the limit: one large message must reach an idle client.
        if self.size <= self._limit or self.size == batch.size:
            return 0
        return None if self._overflow == "close" else self._shrink()

    def append(self, control: Batch) -> None:
        """Put a control frame at the end, however full it is."""
        self._batches.append(control)

    def take(self, most: float = math.inf) -> list[Batch]:
        """Take batches of up to `most` bytes together, but one at least."""
        if self._first is None and most == math.inf:
            taken, self._batches, self.size, self._loss = self._batches, [], 0, None
            return taken
        taken = []
        while self._first is not None and (not taken or self._first.size <= most):
            most -= self._first.size
            taken.append(self._first)
            self._first = next(self._history, None)
        if self._first is not None:
            return taken
        live = 0
        for batch in self._batches:
            if taken and batch.size > most:
                break
            most -= batch.size
            taken.append(batch)
            live += 1
            self.size -= batch.size if batch.messages else 0
            self._loss = None if batch is self._loss else self._loss
        del self._batches[:live]
        return taken

    def begin(self, first: Iterable[Batch], floor: Position | None) -> Position | None:
        """Put history before what waits, and keep of that only what is newer than `floor`.

        Return the floor of what follows: none, if Redis' clock went back since the floor was read.
        """
        held = self._batches
        # History does not count: a client must get it, however much it is.
        self._history = (batch for batch in first if batch.size)
        self._first = next(self._history, None)
        self._batches, self.size = [], 0
        for batch in held:
            newer = batch.after(floor)
            if newer is None or (isinstance(batch, Loss) and not _is_missed(batch, floor)):
                # History has it.
                self._loss = None if batch is self._loss else self._loss
                continue
            if isinstance(batch, Loss) and batch.restart is not None:
                floor = None
            self._batches.append(newer)
            self.size += newer.size if newer.messages else 0
        return floor

    def _shrink(self) -> int:
        """Make room: superseded messages go first, or else the oldest, and a `reset` says so."""
        messages = [message for batch in self._batches for message in batch.messages]
        if self._overflow == "latest":
            messages = _without_superseded(messages)
        kept = _newest(messages, self._limit // 2)
        dropped = messages[: len(messages) - len(kept)]
        rest = [b for b in self._batches if not b.messages and b is not self._loss]
        if dropped:
            ids = [message.id for message in dropped if message.id]
            # A message without an id is in no history, so that everybody missed it.
            until = ids[-1] if len(ids) == len(dropped) else NEVER
            if self._loss is not None:
                until = max(until, self._loss.until)
            self._loss = Loss("overflow", until, position=ids[-1] if ids else None)
        self._batches = [self._loss, *rest] if self._loss else rest
        self._batches += parts(kept)
        self.size = sum(len(message.frame) for message in kept)
        return len(dropped)


def _is_missed(loss: Loss, floor: Position | None) -> bool:
    """Say whether a client that begins at `floor` missed what was lost before it began."""
    if loss.restart is None:
        return floor is None or floor < loss.until
    # A floor on the new clock's side of a roll-back was read after it.
    return floor is not None and floor > loss.restart


def _without_superseded(messages: list[Message]) -> list[Message]:
    newest = {message.key: index for index, message in enumerate(messages)}
    return [
        message
        for index, message in enumerate(messages)
        if message.key is None or newest[message.key] == index
    ]


def _newest(messages: list[Message], room: int) -> list[Message]:
    """Return the newest messages that fit; the last one always does."""
    for index in range(len(messages) - 1, -1, -1):
        room -= len(messages[index].frame)
        if room < 0 and index < len(messages) - 1:
            return messages[index + 1 :]
    return messages
