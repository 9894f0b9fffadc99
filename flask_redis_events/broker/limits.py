"""The state of a channel, as both brokers bound it: how much it may have, and for how long."""

from __future__ import annotations

from typing import NamedTuple

from ..exceptions import StateFull
from ..settings import Settings

#: What a message does to its channel's state: it is the newest value of its key, or removes it.
KEEP, REMOVE = "keep", "remove"
#: Bytes in which a state has the id of a value.
ID = 32


class StateLimits(NamedTuple):
    """How many keys and bytes the state of one channel may have, and for how many seconds."""

    keys: int = Settings.state_keys
    size: int = Settings.state_bytes
    ttl: float = Settings.state_ttl

    def error(self, channel: str, key: str | None, what: str) -> StateFull:
        """Return the error for a value that makes a state too large; `what` is keys or bytes."""
        most = self.keys if what == "keys" else self.size
        return StateFull(
            f"The state of channel {channel!r} may have {most} {what}"
            f" (REDIS_EVENTS_STATE_{what.upper()}), and key {key!r} would make it more: remove"
            " keys that are over with events.remove(), or raise the setting."
        )


#: Those of the default settings.
LIMITS = StateLimits()
