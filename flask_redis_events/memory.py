"""Memory that is free goes back to the system.

glibc keeps freed memory that lies between pieces in use, so that a worker would stay as large as
the largest storm of clients has made it.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any


def give_back() -> None:
    """Let the C library return free memory to the system, which takes it some milliseconds."""
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
