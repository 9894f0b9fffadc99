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

from .base import Outgoing

#: The most messages, and about the most bytes, that one call publishes: Redis does nothing else
#: meanwhile.
MESSAGES = 1000
BYTES = 1024 * 1024


class Slot:
    """A name on Redis, and the number of its call; `with` holds it until that has ended."""

    __slots__ = ("_free", "_number", "call", "name")

    def __init__(self, name: str, free: deque[Slot]) -> None:
        self._free = free
        self._number = 0
        self.name = name
        #: The number of the call, which all attempts at it have in common.
        self.call = ""

    def __enter__(self) -> Slot:
        self._number += 1
        # As many digits for each, so that Redis can compare them as text.
        self.call = f"{self._number:012d}"
        return self

    def __exit__(self, *_: object) -> None:
        self._free.append(self)


class Calls:
    """The slots of one process; a forked child must have its own."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)
        self._numbers = itertools.count()
        # Its operations are atomic, and so is counting.
        self._free: deque[Slot] = deque()

    def slot(self) -> Slot:
        """Return a slot that no other call holds."""
        try:
            return self._free.pop()
        except IndexError:
            return Slot(f"{self._process}:{next(self._numbers)}", self._free)


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
