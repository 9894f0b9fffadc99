"""Numbers by which Redis recognises the repetition of a call.  No I/O.

A process has as many slots as it makes calls at once.  A slot's calls are numbered, and the next
one begins only when the one before has ended, so that Redis needs to remember one number for each
slot, however many calls there were.
"""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .base import Outgoing

#: The most messages, and about the most bytes, that one call publishes: Redis does nothing else
#: meanwhile.
MESSAGES = 1000
BYTES = 1024 * 1024


class _Slot:
    """A name on Redis, and the number of its next call."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0


class Calls:
    """The slots of one process; a forked child must have its own."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)
        self._numbers = itertools.count()
        # Its operations are atomic, and so is counting.
        self._free: deque[_Slot] = deque()

    @contextmanager
    def begin(self) -> Iterator[tuple[str, str]]:
        """Yield a slot's name and the number of a call, the same for all attempts at it."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = _Slot(f"{self._process}:{next(self._numbers)}")
        slot.number += 1
        try:
            # As many digits for each, so that Redis can compare them as text.
            yield slot.name, f"{slot.number:012d}"
        finally:
            self._free.append(slot)


def in_calls(messages: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """Cut messages into what one call publishes."""
    some: list[Outgoing] = []
    size = 0
    for one in messages:
        if some and (len(some) == MESSAGES or size + len(one[1]) > BYTES):
            yield some
            some, size = [], 0
        some.append(one)
        size += len(one[1])
    if some:
        yield some
