"""Runs: streams that have an end, such as an answer that is generated token by token."""

from __future__ import annotations

from .async_run import AsyncRun
from .run import MAX_BYTES, Run

__all__ = ["MAX_BYTES", "AsyncRun", "Run"]
