"""What the hub asks of whoever listens: a mailbox, or a client that writes for itself."""

from __future__ import annotations

from typing import Protocol

from .channels import Channel
from .message import Batch, Position


class Live(Protocol):
    """Whether a member has begun."""

    def is_set(self) -> bool:
        """Say so."""

    def set(self) -> None:
        """Let it begin."""


class Member(Protocol):
    """One client of an audience.  Nothing here blocks, and nothing raises."""

    channels: frozenset[Channel]
    #: What is not newer than this is not for this client: it had it from history.
    floor: Position | None

    @property
    def live(self) -> Live:
        """Set when Redis has acknowledged all its channels."""

    @property
    def closed(self) -> str | None:
        """The reason it was closed for, or None."""

    @property
    def idle(self) -> bool:
        """Whether all that came for it has gone out."""

    def offer(self, batch: Batch) -> None:
        """Take a batch."""

    def beat(self, position: Position | None) -> bool:
        """Take a heartbeat, if the client is idle; say whether it was."""

    def lose(self, until: Position, reason: str, *, restart: Position | None = None) -> bool:
        """Tell the client to reset, unless its own position shows that it missed nothing."""

    def close(self, reason: str, *, last: Batch | None = None) -> bool:
        """End with a reason, after `last`; say whether this call closed it."""
