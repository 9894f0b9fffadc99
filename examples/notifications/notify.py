"""`python notify.py USER TEXT`: send a notification without Flask, as a cron job would."""

from __future__ import annotations

import os
import sys

from flask_redis_events import BrokerError, Emitter


def main(user: str, text: str) -> None:
    """Emit one notification; exit with an error if Redis cannot be reached."""
    emitter = Emitter(
        os.environ.get("REDIS_EVENTS_URL", "redis://localhost:6379/0"),
        prefix=os.environ.get("REDIS_EVENTS_PREFIX", "events:"),
    )
    try:
        emitter.emit(f"user:{user}:notifications", {"from": "a script", "text": text})
    except BrokerError as error:
        sys.exit(f"notify.py: {error}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: python notify.py USER TEXT", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
