"""A program that touches a channel several times and ends at once: `python -m … URL`."""

from __future__ import annotations

import sys

from flask_redis_events import Emitter

if __name__ == "__main__":
    emitter = Emitter(sys.argv[1])
    for _ in range(5):
        emitter.touch("a")
