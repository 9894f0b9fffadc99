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

    def has(self, worker: str, entries: Sequence[Entry]) -> bool:
        for start in range(0, len(entries), ENTRIES):
            some = entries[start : start + ENTRIES]
            texts = self._execute(
                [["HGET", self._key("present:" + channel), who] for channel, who in some]
            )
            if not all(text and worker in _streams(text.decode()) for text in texts):
                return False
        return True

    def present(self, channel: str) -> dict[str, int]:
        [found] = self._execute([["HGETALL", self._key("present:" + channel)]])
        streams = [_streams(text.decode()) for text in found[1::2]]
        living = self._living(sorted({worker for one in streams for worker in one}))
        return {
            identity.decode(): sum([n for worker, n in one.items() if worker in living])
            for identity, one in zip(found[::2], streams, strict=True)
        }

    def _living(self, workers: Sequence[str]) -> set[str]:
        """Return the workers whose leases have not lapsed."""
        if not workers:
            return set()
        held = self._execute([["EXISTS", self._key("lease:" + worker)] for worker in workers])
        return {worker for worker, lives in zip(workers, held, strict=True) if lives}

    def _present(self, entries: Sequence[Entry]) -> list[str]:
        return [self._key("present:" + channel) for channel, _ in entries]


def _entry(member: bytes) -> Entry:
    channel, _, identity = member.decode().partition("\0")
    return channel, identity


def _streams(text: str) -> dict[str, int]:
    """Return the streams of each worker."""
    pairs = [one.rpartition(":") for one in text.split()]
    return {worker: int(streams) for worker, _, streams in pairs}
