"""What arrives from Redis: in order, without gaps, once."""

from __future__ import annotations

from .probe import Probe
from .reader import Reader
from .replays import Replays

__all__ = ["Probe", "Reader", "Replays"]
