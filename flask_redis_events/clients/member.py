"""What the hub asks of whoever listens: a mailbox, or a client that writes for itself."""

from __future__ import annotations

from typing import Protocol

from ..channels import Channel
from ..wire.message import Batch, Position


class Member(Protocol):
    """One client of an audience.  Nothing here blocks, and nothing raises."""

    channels: frozenset[Channel]
    #: What is not newer than this is not for this client: it had it from history.
    floor: Position | None

    @property
    def closed(self) -> str | None:
        """The reason it was closed for, or None."""

    @property
    def idle(self) -> bool:
        """Whether all that came for it has gone out."""

    def go_live(self, position: Position | None, *, waited_until: float | None = None) -> None:
        """Take note that Redis has acknowledged all its channels: what follows will be offered.

        `waited_until` is when it did, in monotonic seconds, where the position may be older than
        that: what was emitted in between was not heard here.
        """

    def offer(self, batch: Batch) -> None:
        """Take a batch."""

    def beat(self, position: Position | None) -> bool:
        """Take a heartbeat, if the client is idle; say whether it was."""

    def lose(self, until: Position, reason: str, *, restart: Position | None = None) -> bool:
        """Tell the client to reset, unless its own position shows that it missed nothing."""

    def close(self, reason: str, *, last: Batch | None = None) -> bool:
        """End with a reason, after `last`; say whether this call closed it."""
