"""Redis' side: publish messages, read them from pub/sub, replay them from history.

`open_broker` is the only door to it.  The rest of the package knows the `Broker` protocol, and
knows nothing of redis-py.
"""

from __future__ import annotations

from ..settings import Settings
from .base import Broker, Outgoing
from .calls import in_calls
from .limits import KEEP, LIMITS, REMOVE, StateLimits
from .memory import MemoryBroker
from .redis import RedisBroker

__all__ = ["KEEP", "REMOVE", "Broker", "Outgoing", "StateLimits", "in_calls", "open_broker"]


def open_broker(
    url: str,
    *,
    prefix: str,
    history: int,
    history_ttl: float,
    silence_ttl: float = Settings.silence_ttl,
    secret: str = Settings.secret,
    state: StateLimits = LIMITS,
    client: object = None,
) -> Broker:
    """Make the broker that the URL's scheme selects; no connection is made yet.

    `history` is in messages for each channel, `history_ttl` and `silence_ttl` in seconds.  `secret`
    signs what is published; `state` limits the states of channels.  `client` is a redis-py client
    whose connection settings are used in place of the URL.
    """
    if client is None and url.startswith("memory:"):
        return MemoryBroker.named(
            url,
            prefix=prefix,
            history=history,
            history_ttl=history_ttl,
            silence_ttl=silence_ttl,
            state=state,
        )
    return RedisBroker(
        url,
        prefix=prefix,
        history=history,
        history_ttl=history_ttl,
        silence_ttl=silence_ttl,
        secret=secret,
        state=state,
        client=client,
    )
