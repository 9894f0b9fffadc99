"""What workers write down on Redis of themselves and of who is there; see `workers/`.

A worker holds a lease.  What it has noted of its clients goes with it: whoever notices first that
a lease has lapsed cleans up, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .base import Entry

#: How many entries one call changes.
ENTRIES = 500
#: Seconds for which what was noted outlives the last change of it; see `workers.worker.REFRESH`.
TTL = 2 * 3600


class RedisPeople:
    """Runs `lease.lua`, `note.lua` and `left.lua`.  Every method raises `BrokerError`."""

    def __init__(
        self,
        run: Callable[[str, Sequence[Any], Sequence[Any]], Any],
        execute: Callable[..., list[Any]],
        key: Callable[[str], str],
    ) -> None:
        self._run = run
        self._execute = execute
        self._key = key

    def renew(self, worker: str, text: str, seconds: float, *, first: bool) -> list[str] | None:
        keys = [self._key("workers"), self._key("lease:" + worker)]
        ttl = int(seconds * 1000)
        lapsed = self._run("lease", keys, [worker, text, ttl, int(first)])
        return None if lapsed is None else [name.decode() for name in lapsed]

    def resign(self, worker: str) -> None:
        self._execute(
            [["ZADD", self._key("workers"), 0, worker], ["DEL", self._key("lease:" + worker)]],
            tries=1,
        )

    def leases(self) -> list[str]:
        [names] = self._execute([["ZRANGE", self._key("workers"), 0, -1]])
        if not names:
            return []
        [texts] = self._execute([["MGET", *[self._key("lease:" + n.decode()) for n in names]]])
        return [text.decode() for text in texts if text is not None]

    def note(self, worker: str, streams: Mapping[Entry, int], grace: float) -> list[Entry]:
        joined: list[Entry] = []
        entries = list(streams)
        for start in range(0, len(entries), ENTRIES):
            some = entries[start : start + ENTRIES]
            keys = [self._key("noted:" + worker), self._key("leaving"), *self._present(some)]
            given = [word for entry in some for word in (*entry, streams[entry])]
            times = [int(grace * 1000), TTL * 1000]
            numbers = self._run("note", keys, [worker, *times, *given])
            joined += [some[number - 1] for number in numbers]
        return joined

    def noted(self, worker: str) -> list[Entry]:
        [found] = self._execute([["SRANDMEMBER", self._key("noted:" + worker), ENTRIES]])
        return [_entry(one) for one in found]

    def all_noted(self, worker: str) -> list[Entry]:
        cursor, entries = b"0", set[Entry]()
        while True:
            command = ["SSCAN", self._key("noted:" + worker), cursor, "COUNT", ENTRIES]
            [(cursor, found)] = self._execute([command])
            entries.update(map(_entry, found))
            if cursor == b"0":
                return list(entries)

    def forget(self, worker: str) -> None:
        self._execute([["ZREM", self._key("workers"), worker]])

    def left(self) -> list[Entry]:
        leaving = self._key("leaving")
        [found, (seconds, _)] = self._execute(
            [["ZRANGE", leaving, 0, ENTRIES - 1, "WITHSCORES"], ["TIME"]]
        )
        now = (int(seconds) + 1) * 1000
        scores = zip(found[::2], found[1::2], strict=True)
        due = [_entry(one) for one, score in scores if float(score) <= now]
        if not due:
            return []
        given = [word for entry in due for word in entry]
        numbers = self._run("left", [leaving, *self._present(due)], given)
        return [due[number - 1] for number in numbers]

    def present(self, channel: str) -> dict[str, int]:
        [found] = self._execute([["HGETALL", self._key("present:" + channel)]])
        pairs = zip(found[::2], found[1::2], strict=True)
        return {identity.decode(): _streams(text.decode()) for identity, text in pairs}

    def _present(self, entries: Sequence[Entry]) -> list[str]:
        return [self._key("present:" + channel) for channel, _ in entries]


def _entry(member: bytes) -> Entry:
    channel, _, identity = member.decode().partition("\0")
    return channel, identity


def _streams(text: str) -> int:
    return sum([int(one.rpartition(":")[2]) for one in text.split()])
