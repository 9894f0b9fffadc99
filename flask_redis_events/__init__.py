"""Real-time events for Flask: Server-Sent Events from Redis to browsers, gapless and in order."""

from __future__ import annotations

from .channels import escape
from .emitter import Emitter
from .exceptions import (
    BrokerError,
    ChannelError,
    ConfigError,
    FieldError,
    RedisEventsError,
    SetupError,
)
from .extension import RedisEvents, emit, redis_event, server_event
from .wire.sse import ServerSentEvent

__version__ = "0.1.0"

__all__ = [
    "BrokerError",
    "ChannelError",
    "ConfigError",
    "Emitter",
    "FieldError",
    "RedisEvents",
    "RedisEventsError",
    "ServerSentEvent",
    "SetupError",
    "emit",
    "escape",
    "redis_event",
    "server_event",
]
