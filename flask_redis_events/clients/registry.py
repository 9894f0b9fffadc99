"""Which audience receives which channel.  Bookkeeping only: no I/O, no locks, no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..channels import Channel, matches
from .audience import Audience
from .finite import Finite
from .subscription import Subscription


class Registry:
    """Channels to audiences, and back.  Changes at once and returns the I/O to do."""

    def __init__(self) -> None:
        self._audiences: dict[frozenset[Channel], Audience] = {}
        self._listening: dict[Channel, set[Audience]] = {}
        #: Those of them that are patterns: there are few, and each message is matched with all.
        self._patterns: set[Channel] = set()
        #: The clients that follow a run.
        self._viewers: set[Finite] = set()

    @property
    def channels(self) -> list[Channel]:
        """All that must be subscribed to."""
        return list(self._listening)

    @property
    def audiences(self) -> list[Audience]:
        return list(self._audiences.values())

    def __contains__(self, channel: Channel) -> bool:
        return channel in self._listening

    def add(self, subscription: Subscription) -> tuple[Audience, list[Channel]]:
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
                    fresh.append(channel)
                self._listening[channel].add(audience)
        # One set of channels for all its members.
        subscription.channels = audience.channels
        audience.join(subscription)
        if isinstance(subscription, Finite):
            self._viewers.add(subscription)
        return audience, fresh

    def remove(self, subscription: Subscription) -> list[Channel]:
        """Remove a client; return the channels that nobody listens to any more."""
        audience = self._audiences.get(subscription.channels)
        if audience is None or subscription not in audience:
            return []
        audience.leave(subscription)
        if isinstance(subscription, Finite):
            self._viewers.discard(subscription)
        if audience.has_members:
            return []
        del self._audiences[audience.channels]
        idle: list[Channel] = []
        for channel in sorted(audience.channels):
            self._listening[channel].discard(audience)
            if not self._listening[channel]:
                del self._listening[channel]
                self._patterns.discard(channel)
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

    def viewed_runs(self) -> set[str]:
        """Return the channels of runs whose end a client awaits."""
        viewers = [viewer for viewer in tuple(self._viewers) if viewer.awaits_end]
        return {channel.name for viewer in viewers for channel in viewer.channels}

    def hearing(self, name: str) -> Collection[Audience]:
        """Return the audiences that hear a message on `name`, by whichever way, each once."""
        ways = self.ways(name)
        if len(ways) == 1:
            return self._listening[ways[0]]
        return {audience for way in ways for audience in self._listening[way]}
