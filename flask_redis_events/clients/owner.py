"""What the owner of a subscription is told, by the subscription, the hub and the ticker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ..endings import Ending


class Owner:
    """Whoever a subscription belongs to.  Nothing here may block."""

    __slots__ = ()

    #: What a stream is: its channels, their label in statistics, its identity, as whose stream it
    #: is counted, and when its view was called.
    about: Any = SimpleNamespace(channels=(), label="", identity=None, whose=None, asked_at=0.0)

    def dismiss(self, ending: Ending) -> bool:
        """Ask the client to come back, and end its stream; False if it has ended by now."""
        return False

    def tick(self, now: float) -> float | None:
        """Do what is due; return when to be called again, or None for never."""
        return None

    def closed(self, ending: Ending) -> None:
        """The subscription was closed; what was accepted may still have to go out."""

    def drained(self) -> None:
        """All that waited has been taken, so that there is room."""

    def dropped(self, count: int) -> None:
        """A full backlog did not keep so many messages."""

    def finished(self) -> None:
        """The last byte is out, or can never be: the hub writes this socket no more."""


#: The owner of a subscription that nobody need be told of.
NOBODY = Owner()
