"""The newest messages that this worker has received, kept in memory.

Most clients reconnect within seconds, so they find all that they missed here, and Redis need not be
asked.  That is safe only if nothing is missing in between, so the tail remembers for each channel
the position after which it has every message.

A SUBSCRIBE takes effect at a moment that the worker cannot observe.  There are two later moments
that it can: the next id that arrives, on any channel, and the clock of a snapshot that was read
after the acknowledgement.  The channel is complete from the earlier of these.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable

from ..channels import Channel, matches
from ..wire import BEGINNING, NEVER, Message, Position

#: Bytes that a message takes in memory beside its frame: itself, two positions, its channel's name.
OVERHEAD = 420


def size_of(messages: Iterable[Message]) -> int:
    """Return the bytes that messages take in memory."""
    return sum([len(message.frame) + OVERHEAD for message in messages])


def newer(messages: list[Message], cursor: Position) -> list[Message]:
    """Return the messages after a cursor; all of them have ids, in order."""
    return messages[bisect_right(messages, cursor, key=_id) :]


class Tail:
    """The newest kept messages of all channels, oldest first, up to `limit` bytes of memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._messages: list[Message] = []
        #: For each channel, the id of its newest message; most who ask have missed nothing.
        self._newest: dict[str, Position] = {}
        #: No channel is complete before this position, because older messages were discarded.
        self._start = BEGINNING
        #: For each channel, the position after which it is complete.
        self._since: dict[Channel, Position] = {}
        #: Channels that were acknowledged, and no id has arrived since.
        self._fresh: set[Channel] = set()

    def acknowledged(self, channel: Channel) -> None:
        """Note that a channel was acknowledged; it is complete from the next id on."""
        if channel not in self._since:
            self._fresh.add(channel)

    def left(self, channels: Iterable[Channel]) -> None:
        """Note that channels were given up, so that their further messages will be missing."""
        for channel in channels:
            self._since.pop(channel, None)
            self._fresh.discard(channel)

    def passed(self, id: Position) -> None:
        """Note that an id arrived, on whichever channel."""
        if self._fresh:
            self._since.update(dict.fromkeys(self._fresh, id))
            self._fresh.clear()

    def mark_complete(self, channels: Iterable[Channel], position: Position) -> None:
        """Note that the channels were already acknowledged when Redis' clock was at a position."""
        for channel in channels:
            if channel in self._fresh or position < self._since.get(channel, BEGINNING):
                self._fresh.discard(channel)
                self._since[channel] = position

    def add(self, message: Message, id: Position) -> None:
        """Keep a message that history keeps, too; transient ones are left out."""
        self._messages.append(message)
        self._size += len(message.frame) + OVERHEAD
        self._newest[message.channel] = id
        if self._size > self._limit:
            self._trim()

    def forget(self, position: Position) -> None:
        """Discard everything, and count the channels as complete from a position on."""
        self._messages.clear()
        self._newest.clear()
        self._size = 0
        self._start = position
        self._since = dict.fromkeys(self._since, position)

    @property
    def newest(self) -> Message | None:
        """The newest message here, or None."""
        return self._messages[-1] if self._messages else None

    @property
    def oldest(self) -> Position:
        """The position of the oldest message here; the newest of all positions if there is none."""
        return _id(self._messages[0]) if self._messages else NEVER

    def saw(self, id: Position) -> bool:
        """Say whether a message with this id is here."""
        return self.get(id) is not None

    def lacks(self, name: str, id: Position, frame: bytes | None = None) -> bool:
        """Say whether a message of a channel is not here, although it should have been received."""
        if id < self.oldest:
            return False
        found = self.get(id)
        if found is not None:
            # Another server may have given the same id to another message.
            return found.channel != name or (frame is not None and found.frame != frame)
        return any(
            since < id
            for channel, since in self._since.items()
            if (matches(channel.name, name) if channel.pattern else channel.name == name)
        )

    def get(self, id: Position) -> Message | None:
        """Return the message with this id, if it is here."""
        index = bisect_right(self._messages, id, key=_id)
        found = self._messages[index - 1] if index else None
        return found if found is not None and found.id == id else None

    def lags(self, channels: Iterable[Channel], position: Position) -> bool:
        """Say whether a position may be older than the subscription to any of these channels."""
        return any(position < self._since.get(channel, NEVER) for channel in channels)

    def after(self, channels: Collection[Channel], cursor: Position) -> list[Message] | None:
        """Return the messages after the cursor on these channels; None if some may be missing."""
        if cursor < self._start:
            return None
        if any(cursor < self._since.get(channel, NEVER) for channel in channels):
            return None
        names = {channel.name for channel in channels if not channel.pattern}
        names = {name for name in names if self._newest.get(name, BEGINNING) > cursor}
        patterns = [channel.name for channel in channels if channel.pattern]
        if not names and not patterns:
            return []
        found = newer(self._messages, cursor)
        if patterns:
            others = {message.channel for message in found} - names
            names.update([n for n in others if any(matches(pattern, n) for pattern in patterns)])
        return [message for message in found if message.channel in names]

    def _trim(self) -> None:
        """Discard the older half; so trimming is rare, and its cost for each message is small."""
        half = (len(self._messages) + 1) // 2
        gone, self._messages = self._messages[:half], self._messages[half:]
        self._size -= size_of(gone)
        last = _id(gone[-1])
        self._start = max(self._start, last)
        self._newest = {name: id for name, id in self._newest.items() if id > last}


def _id(message: Message) -> Position:
    return message.id or BEGINNING
