"""Where a stream's bytes come from: the base of every kind, and the plain one.

A stream asks the same of every source.  Application code (`producer.py`, `pull.py`, `poll.py`) only
stands between the messages and the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..channels import Channel
from ..clients import Owner
from ..endings import Ending
from ..hub import Hub
from ..wire import Batch, Position


class Source(Owner):
    """The client itself listens to the channels, and is sent messages as they were emitted."""

    __slots__ = ("hub", "inbox", "target")

    def __init__(self, hub: Hub, target: Any, inbox: Any) -> None:
        self.hub = hub
        #: What is sent the bytes: the stream's client, or a group of clients.
        self.target = target
        #: The subscription to the channels; it is held until the stream knows where it begins.
        self.inbox = inbox

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that the client resumes on; none where there is nothing to resume."""
        return self.inbox.channels  # type: ignore[no-any-return]

    def open(self) -> None:
        """Begin to listen."""
        self.hub.listen(self.inbox)

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        """Send the client its history, then what was held, then what is live."""
        self.inbox.start(floor, history)

    def beat(self) -> None:
        """Send the client a heartbeat, if nothing waits for it."""
        self.hub.beat(self.target, self.inbox)

    def close(self, ending: Ending, last: Batch | None) -> bool:
        """Close the client after what was accepted for it, and `last`; say whether this did it."""
        return self.target.close(ending, last=last)  # type: ignore[no-any-return]

    def client_closed(self, ending: Ending) -> None:
        """Make nothing more, as the client is closed; must not block."""

    def client_drained(self) -> None:
        """Go on, as the client has taken all that waited for it; must not block."""

    def when_idle(self, do: Callable[[], None]) -> None:
        """Call a function once none of the application's code works for the source any more."""
        do()

    def leave(self) -> None:
        """Give up the channels."""
        self.hub.unlisten(self.inbox)
