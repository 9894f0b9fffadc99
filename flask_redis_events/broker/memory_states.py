"""The state of channels in one process without Redis; see `states.py`, whose promises it keeps."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from ..channels import Channel, matches
from ..wire import Message
from .base import Outgoing
from .coverage import Held
from .limits import ID, KEEP, REMOVE, StateLimits


class _State:
    def __init__(self) -> None:
        self.values: dict[str, Message] = {}
        #: When it expires, in Unix time.
        self.expires = 0.0


class MemoryStates:
    """The states of a `memory://` broker, whose lock guards them."""

    def __init__(self, limits: StateLimits) -> None:
        self._limits = limits
        self._states: dict[str, _State] = {}

    def check(self, messages: Sequence[Outgoing]) -> None:
        """Raise `StateFull` if a state has no room for one of the messages."""
        self._expire()
        sizes: dict[str, dict[str, int]] = {}
        for one in messages:
            if not one.keep:
                continue
            if one.channel not in sizes:
                sizes[one.channel] = self._sizes(one.channel)
            of, key = sizes[one.channel], one.key or ""
            before = of.pop(key, 0)
            if one.keep == REMOVE:
                continue
            of[key] = len(key.encode()) + ID + len(one.frame)
            if not before and len(of) > self._limits.keys:
                raise self._limits.error(one.channel, key, "keys")
            if of[key] > before and sum(of.values()) > self._limits.size:
                raise self._limits.error(one.channel, key, "bytes")

    def put(self, message: Message, keep: str) -> None:
        """Keep a message as the newest value of its key, or remove the key."""
        if not keep:
            return
        state, key = self._states.setdefault(message.channel, _State()), message.key or ""
        state.expires = time.time() + self._limits.ttl
        state.values.pop(key, None)
        if keep == KEEP:
            state.values[key] = message
        elif not state.values:
            del self._states[message.channel]

    def read(self, channels: Collection[Channel]) -> list[Held]:
        """Return the values of channels."""
        self._expire()
        return [
            Held(name, list(state.values.values()))
            for name, state in self._states.items()
            if Channel(name) in channels
            or any(one.pattern and matches(one.name, name) for one in channels)
        ]

    def _sizes(self, channel: str) -> dict[str, int]:
        state = self._states.get(channel) or _State()
        return {
            key: len(key.encode()) + ID + len(value.bare) for key, value in state.values.items()
        }

    def _expire(self) -> None:
        now = time.time()
        for name in [n for n, state in self._states.items() if state.expires <= now]:
            del self._states[name]
