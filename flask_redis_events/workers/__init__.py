"""What workers know of each other: who lives, who is there."""

from __future__ import annotations

from .worker import Worker

__all__ = ["Worker"]
