"""Read history in steps, so that no step keeps Redis from its other work for longer than a moment.

All steps show the history as it stood when the first one was made: what is newer is left out, and
what was deleted in between shows in the chain of `prev`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ..exceptions import BrokerError
from ..wire import BEGINNING, NEVER, Message, Position
from .coverage import Held, State

#: The most channels, entries and bytes of one step.
CHANNELS = 100
ENTRIES = 250
BYTES = 1024 * 1024
#: An entry's fields, in the order of `publish.lua`.
PREV, FRAME = 1, 3

Run = Callable[[str, Sequence[Any], Sequence[Any]], Any]


class TooMuch(Exception):
    """There is more to read than the caller wants."""


class Changed(Exception):
    """Redis was flushed or failed over between two steps, or has evicted its index."""


class _Part:
    """What has been read of one channel."""

    def __init__(self, name: str, cursor: str, wanted: int) -> None:
        self.name = name
        self.cursor = cursor
        #: How many messages are still wanted; 0 stands for all of them.
        self.wanted = wanted
        #: Whether there is something that the caller does not have yet.
        self.found = False
        self.messages: list[Message] = []
        self.last: Position | None = None
        self.until: Position | None = None

    def add(self, last: bytes, until: Position | None, entries: Sequence[Any]) -> int:
        """Take in what one step found; return how many bytes that is."""
        self.found = True
        self.last, self.until = Position.parse(last), until
        new = [message(self.name, *entry) for entry in entries]
        self.messages += new
        if entries:
            self.cursor = entries[-1][0].decode()
            self.wanted -= min(self.wanted, len(new))
        return sum(len(message.frame) for message in new)


class History:
    """Reads one replay, see `Broker`.  `run` runs a script; `key` makes the name of a key."""

    def __init__(
        self,
        run: Run,
        key: Callable[[str], str],
        spans: Spans,
        *,
        after: Position | None,
        last: int,
        limit: int,
        since: Position | None,
        max_bytes: int | None,
    ) -> None:
        self._run = run
        self._key = key
        self._spans = spans
        #: What is not later than both is of no interest.
        self.begin = min(after or BEGINNING, since or NEVER)
        self._after = str(after) if after is not None else ""
        self._wanted = limit if after is not None else last
        self._since = str(since) if since is not None else ""
        self._room = max_bytes
        self._state: State | None = None
        self._parts: dict[str, _Part] = {}

    @property
    def state(self) -> State:
        """What Redis knew of all channels when the first step was made."""
        assert self._state is not None
        return self._state

    @property
    def held(self) -> list[Held]:
        """What was found of the channels; those that have nothing new are left out."""
        return [
            Held(part.name, sorted(part.messages, key=_id), part.last, part.until)
            for part in self._parts.values()
            if part.found
        ]

    @property
    def latest(self) -> dict[str, Position]:
        """The ids of the channels' last messages, where they are later than `after` or `since`."""
        return {part.name: part.last for part in self._parts.values() if part.last is not None}

    def read(self, names: Iterable[str]) -> None:
        """Read channels; without any, only the state."""
        pending = []
        for name in names:
            if name not in self._parts:
                self._parts[name] = _Part(name, self._after, self._wanted)
                pending.append(self._parts[name])
        while pending or self._state is None:
            some = pending[:CHANNELS]
            unfinished, looked = self._step(some)
            pending = unfinished + pending[looked:]

    def confirm(self) -> None:
        """Raise `Changed` if Redis has lost since the first step what the judgement rests on."""
        self._step([])

    def _step(self, some: Sequence[_Part]) -> tuple[list[_Part], int]:
        """Read a part of some channels; return which are unfinished, and how many were begun."""
        keys = [self._key(name) for name in ("ids", "meta", "channels")]
        arguments: list[Any] = [
            int(not self._after),
            str(self._state.clock) if self._state else "",
            self._since,
            ENTRIES,
            BYTES,
        ]
        for part in some:
            keys += [self._key("last:" + part.name), self._key("history:" + part.name)]
            arguments += [part.name, part.cursor, part.wanted]
        *known, looked, found = self._run("replay", keys, arguments)
        self.check(*known)
        unfinished = []
        for number, last, seen, more, entries in found:
            part = some[number - 1]
            size = part.add(last, self._spans.end(seen), entries)
            if self._room is not None:
                self._room -= size
                if self._room < 0:
                    raise TooMuch
            if more:
                unfinished.append(part)
        return unfinished, looked

    def check(self, *known: bytes) -> None:
        """Take in what Redis knows at a step; raise `Changed` if it has lost what the first had."""
        state = self._spans.state(*known)
        if self._state is None:
            self._state = state
        first = self._state
        # The index vouches for what is read after it, so it must be the same one.
        before, now = ((s.created, s.forked, s.indexed) for s in (first, state))
        if now != before or state.clock < first.clock:
            raise Changed


class Spans(NamedTuple):
    """How long Redis knows what; in milliseconds."""

    #: How long a history outlives its last message.
    ttl: int
    #: How long the id of a channel's last message outlives that message.
    silence: int
    #: What need not be exact is written once in this time; a power of ten.
    grain: int

    @classmethod
    def of(cls, ttl: float, silence: float) -> Spans:
        """Choose the grain for a history's TTL; both are in seconds."""
        grain = 10_000
        while grain > 1 and grain * 16 > ttl * 1000:
            grain //= 10
        return cls(int(ttl * 1000), int(max(ttl, silence) * 1000), grain)

    @property
    def digits(self) -> int:
        """How many leading digits the milliseconds of one grain have in common."""
        return 14 - len(str(self.grain))

    def state(
        self, clock: bytes, created: bytes, forked: bytes, now: bytes, indexed: bytes
    ) -> State:
        """Read the head of the reply of `replay.lua`."""
        last = read_position(clock)
        mark, _, noted = forked.partition(b" ")
        # Ids may run ahead of Redis' time, and all keys expire by them.
        moment = Position(max(int(now), last.ms))
        return State(
            last,
            created=read_position(created),
            horizon=moment.earlier(self.silence),
            # Where the index is gone, it vouches for no position.
            indexed=Position(int(indexed)) if indexed else NEVER,
            kept_since=moment.earlier(self.ttl),
            forked=Position.parse(mark),
            noted=Position.parse(noted),
        )

    def start(self, at: Position) -> int:
        """Return when the grain of a position began."""
        return at.ms - at.ms % self.grain

    def end(self, score: bytes | None) -> Position | None:
        """Return the end of the grain of a score, or None if there is no score."""
        return Position(self.start(Position(int(float(score)))) + self.grain) if score else None


def read_position(text: bytes) -> Position:
    """Read an id that Redis must have."""
    try:
        ms, seq = text.split(b"-")
        return Position(int(ms), int(seq))
    except ValueError as error:
        raise BrokerError(
            f"Redis holds {text!r} where an id should be: choose a REDIS_EVENTS_PREFIX that no"
            " other program uses."
        ) from error


def message(channel: str, id: bytes, fields: Sequence[bytes]) -> Message:
    """Read an entry of a history."""
    # Names and values alternate, in the order of XADD in `publish.lua`.
    return Message.numbered(
        channel,
        fields[FRAME],
        read_position(id),
        prev=Position.parse(fields[PREV]),
        # It is the last field, kept as the envelope has it, after a space.
        key=fields[-1].decode("utf-8", "replace")[1:] or None,
    )


def _id(message: Message) -> Position:
    return message.id or BEGINNING
