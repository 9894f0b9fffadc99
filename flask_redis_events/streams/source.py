"""Where a stream's bytes come from: the base of every kind, and the plain one.

What a stream asks of its source is the same for all kinds: a callback, a generator function or a
poll only stand between the messages and the client (`producer.py`, `pull.py`, `poll.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import endings
from ..channels import Channel
from ..clients import Owner, Subscription
from ..endings import Ending
from ..hub import Hub
from ..wire import Batch, Position

#: Bytes that application code makes before they are sent, at most.
PART = 64 * 1024


class Source(Owner):
    """The client itself listens to the channels, and is sent messages as they were emitted."""

    __slots__ = ("client", "hub", "inbox")

    def __init__(self, hub: Hub, client: Subscription, inbox: Subscription) -> None:
        self.hub = hub
        #: The stream's client, which is sent what the source makes.
        self.client = client
        #: What listens to the channels: it is held until the stream knows where it begins.
        self.inbox = inbox

    @property
    def channels(self) -> frozenset[Channel]:
        """What the client resumes on; none where there is nothing to resume."""
        return self.inbox.channels

    @property
    def progress(self) -> Subscription:
        """The subscription that says how far the client has come, for heartbeats."""
        return self.inbox

    def open(self) -> None:
        """Begin to listen."""
        self.hub.listen(self.inbox)

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        """Send the client its history, then what was held, then what is live."""
        self.inbox.start(floor, history)

    def close(self, ending: Ending, last: Batch | None) -> bool:
        """Close the client after what was accepted for it, and `last`; say whether this did it."""
        return self.client.close(ending, last=last)

    def client_closed(self, ending: Ending) -> None:
        """Make nothing more, as the client is closed; must not block."""

    def client_drained(self) -> None:
        """Go on, as the client has taken all that waited for it; must not block."""

    def leave(self) -> None:
        """Give up what the stream listened to."""
        self.hub.unlisten(self.inbox)

    @property
    def _part(self) -> int:
        """Bytes to make before they are sent: a client that has room takes so many."""
        return min(PART, self.client.limit // 2)

    # -- under threads, where the stream's own thread does the work --------------------------------

    @property
    def has_work(self) -> bool:
        """Whether there is something to make."""
        return False

    @property
    def seconds_left(self) -> float | None:
        """How long the source may rest, if nothing arrives; None: for ever."""
        return None

    def work(self) -> bool:
        """Make a part of what there is to make; say whether it is to be sent."""
        return False

    def send(self) -> bool:
        """Send what was made; say whether there is more to make."""
        return False

    def fail(self) -> None:
        """End the client, because its source cannot go on; it may come back."""
        self.client.close(endings.FAILED, last=self.hub.farewell(endings.FAILED))


def joined(part: list[Batch]) -> list[Batch]:
    """Join batches that are to be written together; one alone shares its bytes with others."""
    return part if len(part) < 2 else [Batch([m for batch in part for m in batch.messages])]
