"""The order of all messages: what an id means, and every comparison of two of them.

One clock gives out the ids of one Redis and prefix, over all channels.  So one position says of
every channel at once how far a reader has come, and one `Last-Event-ID` resumes any set of them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Redis' stream ids are two unsigned 64-bit numbers; Lua counts exactly up to 2**53 (16 digits).
_POSITION = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


#: More than any counter in a millisecond.
LAST = 999_999_999


class Position(NamedTuple):
    """A point in the one order of all messages: milliseconds of Redis' clock, and a counter."""

    ms: int
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str | bytes) -> Position | None:
        """Read `<ms>-<seq>`; None for anything else, as an id from outside may be anything."""
        if isinstance(text, bytes):
            text = text.decode("ascii", "replace")
        found = _POSITION.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None

    @property
    def before(self) -> Position:
        """The last position before this one."""
        return Position(self.ms, self.seq - 1) if self.seq else Position(self.ms - 1, LAST)

    def earlier(self, ms: float) -> Position:
        """Return the first position of the moment that is `ms` milliseconds before this one."""
        return Position(self.ms - int(ms))

    def outlives(self, other: Position, ttl: float) -> bool:
        """Say whether `ttl` milliseconds or more lie between `other` and this position."""
        return self.ms - other.ms >= ttl


#: Before every id, and after every id.
BEGINNING = Position(0)
NEVER = Position(2**62)


def newest(one: Position | None, other: Position | None) -> Position | None:
    """Return the later of two positions; None is earlier than any."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
