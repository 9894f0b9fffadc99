"""The errors that a user of the package may meet.

They form one tree, so that `except RedisEventsError` catches all of them.  Errors of redis-py and
of the socket are translated into this tree, with the cause chained.
"""

from __future__ import annotations


class RedisEventsError(Exception):
    """Base of every error that this package raises."""


class ConfigError(RedisEventsError, ValueError):
    """A setting or an option has a wrong value; the text names it and says what to write."""


class SetupError(RedisEventsError, RuntimeError):
    """The extension was used before `init_app`, or initialised twice or too late."""


class ChannelError(RedisEventsError, ValueError):
    """A channel's name, pattern or template has a form that is not allowed."""


class FieldError(RedisEventsError, ValueError):
    """A value cannot be written as a field of a Server-Sent Event."""


class BrokerError(RedisEventsError):
    """Redis could not be reached, or refused a command; the cause is chained."""


class StateFull(RedisEventsError):
    """A channel's state has no room for one more key, or for more bytes."""


class RunActive(RedisEventsError):
    """A run on this channel is under way, and has a producer."""


class RunLost(RedisEventsError):
    """A run is not its producer's any more: the lease had lapsed, or Redis has lost its data."""


class RunTooLarge(RedisEventsError):
    """A run would have more bytes than its `max_bytes`."""


class SubscriptionClosed(RedisEventsError):
    """A subscription is closed, and all messages that it had accepted have been taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The subscription is closed: {reason}.")
        self.reason = reason
