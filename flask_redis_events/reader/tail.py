"""The last messages that passed this worker, in memory: most who come back need no more.

It says of each channel from which position on it has everything.  A SUBSCRIBE takes effect at a
moment that the worker does not see; the next id that arrives, on any channel, is later than that,
and so is a snapshot that was asked for after the acknowledgement.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable

from ..channels import Channel, matches
from ..wire import BEGINNING, NEVER, Message, Position


class Tail:
    """Kept messages of all channels, oldest first, up to `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._ids: list[Position] = []
        self._messages: list[Message] = []
        #: Everything after this is here, of the channels that were complete by then.
        self._start = BEGINNING
        self._since: dict[Channel, Position] = {}
        #: Acknowledged, and no id has arrived since.
        self._fresh: set[Channel] = set()

    def acknowledged(self, channel: Channel) -> None:
        """A subscription took effect, some time before the next id."""
        if channel not in self._since:
            self._fresh.add(channel)

    def left(self, channels: Iterable[Channel]) -> None:
        """Subscriptions ended: what follows of them will be missing."""
        for channel in channels:
            self._since.pop(channel, None)
            self._fresh.discard(channel)

    def passed(self, id: Position) -> None:
        """An id arrived, on any channel."""
        if self._fresh:
            self._since.update(dict.fromkeys(self._fresh, id))
            self._fresh.clear()

    def mark_complete(self, channels: Iterable[Channel], position: Position) -> None:
        """These channels were subscribed to when the clock was at this position."""
        for channel in channels:
            if channel in self._fresh or position < self._since.get(channel, BEGINNING):
                self._fresh.discard(channel)
                self._since[channel] = position

    def add(self, message: Message, id: Position) -> None:
        """Keep a message that is in history too."""
        self._ids.append(id)
        self._messages.append(message)
        self._size += len(message.frame)
        if self._size > self._limit:
            self._trim()

    def forget(self, position: Position) -> None:
        """Begin anew at a position: what came before it is not complete."""
        self._ids.clear()
        self._messages.clear()
        self._size = 0
        self._start = position
        self._since = dict.fromkeys(self._since, position)

    @property
    def newest(self) -> Message | None:
        """The last message here that is in history too."""
        return self._messages[-1] if self._messages else None

    def saw(self, id: Position) -> bool:
        """Say whether a message passed here."""
        index = bisect_right(self._ids, id)
        return index > 0 and self._ids[index - 1] == id

    def lags(self, channels: Iterable[Channel], position: Position) -> bool:
        """Say whether a position may be older than the subscription to any of these channels."""
        return any(position < self._since.get(channel, NEVER) for channel in channels)

    def after(self, channels: Collection[Channel], cursor: Position) -> list[Message] | None:
        """Return what came after the cursor on these channels; None where not all of it is here."""
        if cursor < self._start:
            return None
        if any(cursor < self._since.get(channel, NEVER) for channel in channels):
            return None
        patterns = [channel.name for channel in channels if channel.pattern]
        names = {channel.name for channel in channels if not channel.pattern}
        return [
            message
            for message in self._messages[bisect_right(self._ids, cursor) :]
            if message.channel in names or any(matches(p, message.channel) for p in patterns)
        ]

    def _trim(self) -> None:
        """Drop the older half, so that trimming costs little for each message."""
        half = (len(self._ids) + 1) // 2
        self._start = max(self._start, self._ids[half - 1])
        self._size -= sum(len(message.frame) for message in self._messages[:half])
        del self._ids[:half], self._messages[:half]
