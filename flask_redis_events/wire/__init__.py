"""Bytes and messages; this wing knows no clock, no socket and no Flask."""

from __future__ import annotations

from .batch import Batch, Form, framed, joined
from .message import Message
from .position import BEGINNING, NEVER, Position, newest
from .sse import Decoder, Event, ServerSentEvent

__all__ = [
    "BEGINNING",
    "NEVER",
    "Batch",
    "Decoder",
    "Event",
    "Form",
    "Message",
    "Position",
    "ServerSentEvent",
    "framed",
    "joined",
    "newest",
]
