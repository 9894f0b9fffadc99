"""The settings of the library that the demo's processes share; the environment has two of them."""

from __future__ import annotations

import os
from typing import Any

#: Events that Redis keeps of a channel: more than a flood and a minute of numbers.
HISTORY = 5_000


def config() -> dict[str, Any]:
    """Return the settings of an application of the demo."""
    return {
        "REDIS_EVENTS_URL": os.environ["REDIS_EVENTS_URL"],
        "REDIS_EVENTS_PREFIX": os.environ["REDIS_EVENTS_PREFIX"],
        "REDIS_EVENTS_HISTORY": HISTORY,
        # The page tells a silent Redis from a silent worker by them, so they are frequent.
        "REDIS_EVENTS_HEARTBEAT": 3,
    }
