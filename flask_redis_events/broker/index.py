"""Find the channels of patterns in the index on Redis, in steps of a millisecond at most.

The index is a sorted set of names, by the time at which a channel last kept a message, exact to a
grain.  It is read outside of scripts, because a script would hold up everybody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..channels import matches
from .history import History, Spans

#: The most names that are read at once, or looked at in one step of a scan.
NAMES = 500
#: The most channels that one replay reads for its patterns.
MATCHES = 10_000

Execute = Callable[[Sequence[Sequence[Any]]], list[Any]]


class TooMany(Exception):
    """More channels match than one replay may read."""


class Index:
    """The channels of some patterns.  `execute` executes commands; `key` is the sorted set's."""

    def __init__(self, execute: Execute, key: str, patterns: Sequence[str]) -> None:
        self._execute = execute
        self._key = key
        self._patterns = patterns

    def since(self, ms: int) -> list[str]:
        """Return the channels that kept a message since the grain that begins at `ms`."""
        [count] = self._execute([["ZCOUNT", self._key, ms, "+inf"]])
        if count <= NAMES:
            [found] = self._execute([["ZRANGEBYSCORE", self._key, ms, "+inf"]])
            names = self._matching(found)
        else:
            names = list(dict.fromkeys(name for p in self._patterns for name in self._scan(p, ms)))
        if len(names) > MATCHES:
            raise TooMany
        return names

    def read_newest(self, history: History, spans: Spans, last: int) -> None:
        """Read channels until no other can have one of the `last` newest messages."""
        for names, silent_since in self.newest_first():
            history.read(names)
            newest = sorted(m.id.ms for one in history.held for m in one.messages if m.id)[-last:]
            if len(newest) == last and newest[0] >= silent_since + spans.grain:
                return

    def newest_first(self) -> Iterator[tuple[list[str], int]]:
        """Yield channels in pages, and since when the channels of later pages are silent."""
        seen = 0
        while True:
            command = ["ZREVRANGE", self._key, seen, seen + NAMES - 1, "WITHSCORES"]
            [page] = self._execute([command])
            seen += len(page) // 2
            if page:
                yield self._matching(page[::2]), int(float(page[-1]))
            if len(page) < 2 * NAMES:
                return

    def _scan(self, pattern: str, ms: int) -> Iterator[str]:
        """Yield channels of one pattern.  Redis does not miss one that is there all the time."""
        cursor, found = b"0", 0
        while True:
            command = ["ZSCAN", self._key, cursor, "MATCH", pattern, "COUNT", NAMES]
            [[cursor, entries]] = self._execute([command])
            for name, score in zip(entries[::2], entries[1::2], strict=True):
                text = name.decode()
                if float(score) >= ms and matches(pattern, text):
                    found += 1
                    yield text
            if found > MATCHES:
                raise TooMany
            if cursor == b"0":
                return

    def _matching(self, names: Sequence[bytes]) -> list[str]:
        texts = [name.decode() for name in names if name]
        return [name for name in texts if any(matches(p, name) for p in self._patterns)]
