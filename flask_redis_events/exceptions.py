"""The errors a user may meet: one tree, so that one `except` catches them all."""

from __future__ import annotations


class RedisEventsError(Exception):
    """Base of every error that this package raises."""


class ConfigError(RedisEventsError, ValueError):
    """A setting or an option is wrong; the text names it and says what to write."""


class SetupError(RedisEventsError, RuntimeError):
    """The extension is used before, or initialised after, the right moment."""


class ChannelError(RedisEventsError, ValueError):
    """A channel name, pattern or template cannot be used."""


class FieldError(RedisEventsError, ValueError):
    """A value cannot be written as a field of a Server-Sent Event."""


class BrokerError(RedisEventsError):
    """Redis could not be reached, or refused; the cause is chained."""


class SubscriptionClosed(RedisEventsError):
    """A mailbox was closed, and all that it had accepted is taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The subscription is closed: {reason}.")
        self.reason = reason
