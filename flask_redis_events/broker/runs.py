"""Runs on Redis: who produces one, what it has come to, and its log, which is a channel's history.

`run.lua` writes messages with `publish.lua`, so that they have their place among all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..wire import BEGINNING, Position
from ..wire.run import marker
from .base import Log, Outgoing, Standing
from .calls import Slot
from .memory_runs import WAIT

#: How many runs one sweep looks at.
RUNS = 100


class RedisRuns:
    """Runs `run.lua` and `stop.lua`.  Every method raises `BrokerError`.

    `run` runs a script that needs the clock; `publishing` returns the keys and the arguments of
    `publish.lua` for a channel, in a slot that `slot` returns.
    """

    def __init__(
        self,
        run: Callable[[str, Sequence[Any], Sequence[Any]], Any],
        execute: Callable[..., list[Any]],
        key: Callable[[str], str],
        slot: Callable[[], Slot],
        publishing: Callable[..., tuple[list[str], list[Any]]],
    ) -> None:
        self._run = run
        self._execute = execute
        self._key = key
        self._slot = slot
        self._publishing = publishing

    def begin(self, channel: str, token: str, *, ttl: float, lease: float) -> Standing:
        return self._do("begin", channel, token, ttl=ttl, lease=lease)

    def write(
        self,
        channel: str,
        token: str,
        number: int,
        messages: Sequence[Outgoing],
        *,
        state: str = "",
        ttl: float,
        lease: float,
    ) -> Standing:
        frames = [message.frame for message in messages]
        if state:
            frames.append(marker(state))
        return self._do("write", channel, token, number, frames, state=state, ttl=ttl, lease=lease)

    def request_stop(self, channel: str) -> bool:
        return bool(self._run("stop", [self._key("run:" + channel)], [int(WAIT * 1000)]))

    def look(self, channel: str) -> Log:
        for _ in range(2):
            fields = ["HMGET", self._key("run:" + channel), "state", "started", "ended", "lapses"]
            [(state, started, ended, lapses), time] = self._execute([fields, ["TIME"]])
            if state != b"running" or int(lapses) > _ms(time):
                break
            self._do("lose", channel)
        if state is None:
            return Log()
        return Log(state.decode(), Position.parse(started or b""), Position.parse(ended or b""))

    def sweep(self, viewed: Iterable[str] = (), position: Position = BEGINNING) -> None:
        by_lease = ["ZRANGE", self._key("runs"), 0, RUNS - 1, "WITHSCORES"]
        [found, time] = self._execute([by_lease, ["TIME"]])
        for name, lapses in zip(found[::2], found[1::2], strict=True):
            if float(lapses) <= _ms(time):
                self._do("lose", name.decode())
        names = list(viewed)
        for at in range(0, len(names), RUNS):
            self._miss(names[at : at + RUNS], position)

    def _miss(self, names: Sequence[str], position: Position) -> None:
        states = [["HMGET", self._key("run:" + name), "state"] for name in names]
        lasts = [["GET", self._key("last:" + name)] for name in names]
        known = self._execute([*states, *lasts])
        for name, [state], last in zip(names, known, known[len(names) :], strict=False):
            # What is later than the position, such as the end, has yet to come to the worker.
            if state is None and (Position.parse(last or b"") or BEGINNING) <= position:
                self._do("miss", name)

    def _do(
        self,
        deed: str,
        channel: str,
        token: str = "",
        number: int = 0,
        frames: Sequence[bytes] = (),
        *,
        state: str = "",
        ttl: float | None = None,
        lease: float = 0.0,
    ) -> Standing:
        span = "" if ttl is None else int(ttl * 1000)
        with self._slot() as slot:
            keys, arguments = self._publishing(slot, channel)
            given: list[Any] = [deed, token, number, int(lease * 1000), span, state]
            given += [marker("lost"), *arguments]
            for frame in frames:
                given += [1, "", frame]
            names = [self._key("run:" + channel), self._key("runs")]
            found, stop = self._run("run", [*names, *keys], given)
        return Standing(found.decode(), stop == b"1")


def _ms(time: Sequence[bytes]) -> int:
    """Read the reply of TIME: seconds, and microseconds."""
    return int(time[0]) * 1000 + int(time[1]) // 1000
