"""Real-time events for Flask: Server-Sent Events from Redis to browsers, gapless and in order."""

from __future__ import annotations

from . import datastar, htmx, turbo
from .asking import HistoricEvent
from .async_emitter import AsyncEmitter
from .channels import escape
from .emitter import Emitter
from .exceptions import (
    BrokerError,
    ChannelError,
    ConfigError,
    FieldError,
    RedisEventsError,
    RunActive,
    RunLost,
    RunTooLarge,
    SetupError,
    StateFull,
)
from .extension import RedisEvents, emit, redis_event, server_event
from .runs import AsyncRun, Run
from .streams.callbacks import StreamEvent
from .streams.messages import Messages
from .wire import Position, ServerSentEvent

__version__ = "0.1.0"

__all__ = [
    "AsyncEmitter",
    "AsyncRun",
    "BrokerError",
    "ChannelError",
    "ConfigError",
    "Emitter",
    "FieldError",
    "HistoricEvent",
    "Messages",
    "Position",
    "RedisEvents",
    "RedisEventsError",
    "Run",
    "RunActive",
    "RunLost",
    "RunTooLarge",
    "ServerSentEvent",
    "SetupError",
    "StateFull",
    "StreamEvent",
    "datastar",
    "emit",
    "escape",
    "htmx",
    "redis_event",
    "server_event",
    "turbo",
]
