"""Bytes and messages; this wing knows no clock, no socket and no Flask."""

from __future__ import annotations

from .sse import Decoder, Event

__all__ = ["Decoder", "Event"]
