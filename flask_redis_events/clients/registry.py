"""Who listens to what.  Bookkeeping only: no I/O, no locks, no clock.

Clients of the same set of channels form an audience: a message is put once into the batch of each
audience that hears it, and all its members are offered the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..channels import Channel, matches
from ..wire.message import Batch, Message
from .member import Member


class Audience:
    """The clients of one set of channels."""

    __slots__ = ("_patterns", "channels", "members", "pending")

    def __init__(self, channels: frozenset[Channel]) -> None:
        self.channels = channels
        self.members: set[Member] = set()
        #: What the current batch holds for it.
        self.pending: list[Message] = []
        self._patterns = sorted(channel for channel in channels if channel.pattern)

    def hears(self, via: Channel, name: str) -> bool:
        """Say whether a message that came `via` one of its channels is for it.

        Redis sends a message once for the exact name and once for each pattern that matches; an
        audience with several of them hears it through the first only.
        """
        if not self._patterns or not via.pattern:
            return True
        if Channel(name) in self.channels:
            return False
        # A name that is no UTF-8 was changed on its way here, and may match none.
        return next((p for p in self._patterns if matches(p.name, name)), via) == via

    def flush(self) -> Batch:
        """Return what is pending as one batch."""
        batch = Batch(self.pending)
        self.pending = []
        return batch


class Registry:
    """Channels to audiences, and back.  Changes at once and returns the I/O to do."""

    def __init__(self) -> None:
        self._audiences: dict[frozenset[Channel], Audience] = {}
        self._listening: dict[Channel, set[Audience]] = {}
        #: Those of them that are patterns: there are few, and each message is matched with all.
        self._patterns: set[Channel] = set()

    @property
    def channels(self) -> list[Channel]:
        """All that must be subscribed to."""
        return [channel for channel in self._listening if not channel.local]

    @property
    def audiences(self) -> list[Audience]:
        return list(self._audiences.values())

    def __contains__(self, channel: Channel) -> bool:
        return channel in self._listening

    def add(self, subscription: Member) -> tuple[Audience, list[Channel]]:
        """Add a client; return its audience, and the channels that nobody listened to before."""
        audience = self._audiences.get(subscription.channels)
        fresh: list[Channel] = []
        if audience is None:
            audience = self._audiences[subscription.channels] = Audience(subscription.channels)
            for channel in sorted(subscription.channels):
                if channel not in self._listening:
                    self._listening[channel] = set()
                    if channel.pattern:
                        self._patterns.add(channel)
                    if not channel.local:
                        fresh.append(channel)
                self._listening[channel].add(audience)
        audience.members.add(subscription)
        return audience, fresh

    def replace(self, subscription: Member, member: Member) -> None:
        """Put another member of the same channels in a client's place."""
        audience = self._audiences.get(subscription.channels)
        if audience is not None:
            audience.members.discard(subscription)
            audience.members.add(member)

    def remove(self, subscription: Member) -> list[Channel]:
        """Remove a client; return the channels that nobody listens to any more."""
        audience = self._audiences.get(subscription.channels)
        if audience is None or subscription not in audience.members:
            return []
        audience.members.remove(subscription)
        if audience.members:
            return []
        del self._audiences[subscription.channels]
        idle: list[Channel] = []
        for channel in sorted(subscription.channels):
            self._listening[channel].discard(audience)
            if not self._listening[channel]:
                del self._listening[channel]
                self._patterns.discard(channel)
                if not channel.local:
                    idle.append(channel)
        return idle

    def listening(self, via: Channel) -> Iterable[Audience]:
        """Return the audiences that hear what comes via this channel or pattern."""
        return self._listening.get(via, ())

    def ways(self, name: str) -> list[Channel]:
        """Return every channel and pattern through which a message on `name` is heard."""
        patterns = [pattern for pattern in self._patterns if matches(pattern.name, name)]
        exact = Channel(name)
        return [exact, *patterns] if exact in self._listening else patterns

    def hearing(self, name: str) -> Collection[Audience]:
        """Return the audiences that hear a message on `name`, by whichever way, each once."""
        ways = self.ways(name)
        if len(ways) == 1:
            return self._listening[ways[0]]
        return {audience for way in ways for audience in self._listening[way]}
