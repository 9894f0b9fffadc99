"""The state of channels on Redis: the newest value of each key, beside the history.

`keep.lua` writes it together with the message.  It is read without a script, in steps: whatever
changes between two of them arrives live, because the reader of a state listens already.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..channels import Channel
from ..wire import Message
from .base import Outgoing
from .coverage import Held, Snapshot, snapshot
from .history import History, TooMuch, read_position
from .index import Execute, Index
from .limits import ID, StateLimits

#: The most channels whose states one step reads, and about the most keys of each.
CHANNELS = 20
KEYS = 500


class RedisStates:
    """Runs `keep.lua`.  `run` runs a script that needs the clock; `key` makes the name of a key."""

    def __init__(
        self,
        run: Callable[[str, Sequence[Any], Sequence[Any]], Any],
        execute: Execute,
        key: Callable[[str], str],
        limits: StateLimits,
    ) -> None:
        self._run = run
        self._execute = execute
        self._key = key
        self._limits = limits

    def publish(
        self,
        messages: Sequence[Outgoing],
        numbers: Mapping[str, int],
        keys: Sequence[str],
        arguments: Sequence[Any],
    ) -> Any:
        """Run `publish.lua` within `keep.lua`, for the keys, arguments and channels' numbers."""
        limits = self._limits
        deeds = "".join([one.keep[:1] or "-" for one in messages])
        given = [limits.keys, limits.size, int(limits.ttl * 1000), deeds, *arguments]
        states = [self._key("state:" + channel) for channel in numbers]
        reply = self._run("keep", [self._key("states"), *states, *keys], given)
        if isinstance(reply, list):
            number, what = reply
            full = messages[number - 1]
            raise limits.error(full.channel, full.key, what.decode())
        return reply

    def replay(
        self, history: History, channels: Collection[Channel], max_bytes: int | None
    ) -> Snapshot:
        """Return all values as of one moment; raise `TooMuch` if they are more than `max_bytes`."""
        # First the clock: what changes from now on arrives live.
        history.read(())
        names = [channel.name for channel in channels if not channel.pattern]
        if patterns := [channel.name for channel in channels if channel.pattern]:
            index = Index(self._execute, self._key("states"), patterns)
            names += index.since(history.state.clock.ms)
        held = self._read(names, max_bytes)
        history.confirm()
        count = sum(len(one.messages) for one in held)
        return snapshot(history.state, held, after=None, last=count)

    def _read(self, names: Sequence[str], max_bytes: int | None) -> list[Held]:
        found: dict[str, dict[bytes, Message]] = {name: {} for name in names}
        pending = [(name, b"0") for name in found]
        size = 0
        while pending:
            some, pending = pending[:CHANNELS], pending[CHANNELS:]
            replies = self._execute(
                [["HSCAN", self._key("state:" + name), at, "COUNT", KEYS] for name, at in some]
            )
            for (name, _), (cursor, fields) in zip(some, replies, strict=True):
                # Redis may return a key twice.
                for key, value in zip(fields[::2], fields[1::2], strict=True):
                    if key:
                        found[name][key] = _message(name, key, value)
                        size += len(value)
                if cursor != b"0":
                    pending.append((name, cursor))
            if max_bytes is not None and size > max_bytes:
                raise TooMuch
        return [Held(name, list(values.values())) for name, values in found.items()]


def _message(channel: str, key: bytes, value: bytes) -> Message:
    id = read_position(value[:ID].lstrip())
    return Message.numbered(channel, value[ID:], id, key=key.decode("utf-8", "replace"))
