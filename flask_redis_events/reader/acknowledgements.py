"""SUBSCRIBE commands in flight on one connection, and which channels Redis has acknowledged.

No I/O, no lock.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator

from ..channels import Channel


class Acknowledgements:
    """Channels to subscribe to and to give up, and Redis' answers."""

    def __init__(self) -> None:
        #: Commands that have not been sent yet: whether to subscribe, and to which channels.
        self._intents: list[tuple[bool, list[Channel]]] = []
        #: SUBSCRIBE commands under way, by channel: an answer counts when none is left.
        self._unanswered: Counter[Channel] = Counter()
        #: Channels that are acknowledged, and since when.
        self.granted: dict[Channel, float] = {}
        #: Channels that Redis does not let its user hear.
        self.refused: set[Channel] = set()

    def begin(self, channels: Collection[Channel] = ()) -> None:
        """Begin anew, with a connection that is asked for these channels."""
        self._intents.clear()
        self._unanswered = Counter(channels)
        self.granted.clear()
        self.refused.clear()

    def intend(self, channels: list[Channel], *, subscribe: bool) -> bool:
        """Take note of a command to send; say whether it is the only one that waits."""
        for channel in channels:
            self.granted.pop(channel, None)
            self.refused.discard(channel)
        if subscribe:
            self._unanswered.update(channels)
        self._intents.append((subscribe, channels))
        return len(self._intents) == 1

    def commands(self) -> Iterator[tuple[bool, list[Channel]]]:
        """Take what is to be sent, in as few commands as keep the order."""
        intents, self._intents = self._intents, []
        for subscribe, group in itertools.groupby(intents, key=lambda intent: intent[0]):
            yield subscribe, [channel for _, some in group for channel in some]

    def answered(self, channel: Channel) -> bool:
        """Count an answer; say whether it is the last one.

        An earlier answer promises nothing, because the channel was left and joined again since.
        """
        self._unanswered[channel] -= 1
        if self._unanswered[channel] > 0:
            return False
        del self._unanswered[channel]
        return True
