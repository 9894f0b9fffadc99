"""The state of channels on Redis: the newest value of each key, beside the history.

`keep.lua` writes it together with the message, and `state.lua` reads it together with the clock, so
that a client gets one moment and then what follows.  Of a large one later steps read the rest; a
value that changes between two steps arrives live.
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

#: The most channels, and about the most bytes, that one step reads.
CHANNELS = 250
BYTES = 1024 * 1024


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
        names = [channel.name for channel in channels if not channel.pattern]
        patterns = [channel.name for channel in channels if channel.pattern]
        index = Index(self._execute, self._key("states"), patterns)
        if patterns:
            names = list({*names, *index.since(0)})
        held = self._read(names, history, max_bytes)
        # Channels whose first value was emitted meanwhile.
        if patterns and (late := set(index.since(0)).difference(names)):
            held += self._read(list(late), history, max_bytes)
        count = sum(len(one.messages) for one in held)
        return snapshot(history.state, held, after=None, last=count)

    def _read(self, names: Sequence[str], history: History, max_bytes: int | None) -> list[Held]:
        held: list[Held] = []
        head = [self._key(name) for name in ("ids", "meta", "channels")]
        while True:
            some = names[len(held) : len(held) + CHANNELS]
            keys = head + [self._key("state:" + name) for name in some]
            *known, found = self._run("state", keys, [BYTES])
            history.check(*known)
            held += [Held(n, _messages(n, fields)) for n, fields in zip(some, found, strict=False)]
            size = sum(len(message.frame) for one in held for message in one.messages)
            if max_bytes is not None and size > max_bytes:
                raise TooMuch
            if len(held) == len(names):
                return held


def _messages(channel: str, fields: Sequence[bytes]) -> list[Message]:
    return [
        Message.numbered(
            channel,
            value[ID:],
            read_position(value[:ID].lstrip()),
            key=key.decode("utf-8", "replace"),
        )
        for key, value in zip(fields[::2], fields[1::2], strict=True)
        if key
    ]
