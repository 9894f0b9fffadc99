"""Clients who are offered the same messages; the clients of one form share the bytes.

An audience hears one set of channels, or one producer.  Each batch is made into bytes once, and
then offered to every member; a large audience lets others run after every millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..channels import Channel, matches
from ..concurrency import Turn
from ..endings import Ending
from ..wire import Batch, Message
from ..wire.control import Loss
from .subscription import Subscription


class Audience:
    """The clients of one set of channels.  Its owner guards it where there are threads."""

    __slots__ = ("_members", "_patterns", "channels", "pending")

    def __init__(self, channels: Iterable[Channel] = ()) -> None:
        self.channels = frozenset(channels)
        #: Messages of the batch that is being gathered.
        self.pending: list[Message] = []
        self._members: set[Subscription] = set()
        self._patterns = sorted(channel for channel in self.channels if channel.pattern)

    def __iter__(self) -> Iterator[Subscription]:
        """The members of this moment: being offered something may end one of them."""
        return iter(tuple(self._members))

    def __contains__(self, subscription: Subscription) -> bool:
        return subscription in self._members

    @property
    def has_members(self) -> bool:
        return bool(self._members)

    def join(self, subscription: Subscription) -> None:
        self._members.add(subscription)

    def leave(self, subscription: Subscription) -> None:
        self._members.discard(subscription)

    def offer(self, batch: Batch, turn: Turn | None = None) -> int:
        """Offer a batch to every member; return to how many."""
        turn = turn or Turn()
        members = tuple(self._members)
        for member in members:
            member.offer(batch)
            turn.maybe_rest()
        return len(members)

    def lose(self, loss: Loss) -> int:
        """Tell of a loss; each member judges by its own position whether it missed something."""
        return sum([member.lose(loss) for member in self])

    def close(self, ending: Ending, *, last: Batch | None = None) -> None:
        """Close every member, after `last`."""
        for member in self:
            member.close(ending, last=last)

    def hears(self, via: Channel, name: str) -> bool:
        """Say whether a message that came `via` one of its channels is for this audience.

        Redis sends a message once for the exact name and once for each pattern that matches; an
        audience with several of them is sent it through the first only.
        """
        if not self._patterns or not via.pattern:
            return True
        if Channel(name) in self.channels:
            return False
        # A name that is no UTF-8 was changed on its way here, and may match none.
        return next((p for p in self._patterns if matches(p.name, name)), via) == via

    def flush(self, turn: Turn) -> int:
        """Offer what is pending as one batch; return to how many."""
        batch, self.pending = Batch(self.pending), []
        return self.offer(batch, turn)
