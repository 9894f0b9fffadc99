"""python notify.py USER TEXT: a notification from outside of Flask, as a cron job would send it."""

from __future__ import annotations

import os
import sys

from flask_redis_events import Emitter


def main(user: str, text: str) -> None:
    emitter = Emitter(
        os.environ.get("REDIS_EVENTS_URL", "redis://localhost:6379/0"),
        prefix=os.environ.get("REDIS_EVENTS_PREFIX", "events:"),
    )
    emitter.emit(f"user:{user}:notifications", {"from": "a script", "text": text})


if __name__ == "__main__":
    main(*sys.argv[1:3])
