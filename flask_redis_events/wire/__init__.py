"""Bytes and messages; this wing knows no clock, no socket and no Flask."""

from __future__ import annotations

from .batch import PART, Batch, Form, encoded, joined, parts
from .message import Message
from .position import BEGINNING, NEVER, Position, newest
from .sse import Decoder, Event, ServerSentEvent

__all__ = [
    "BEGINNING",
    "NEVER",
    "PART",
    "Batch",
    "Decoder",
    "Event",
    "Form",
    "Message",
    "Position",
    "ServerSentEvent",
    "encoded",
    "joined",
    "newest",
    "parts",
]
