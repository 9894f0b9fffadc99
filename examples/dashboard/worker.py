"""Measure this machine: `python -m examples.dashboard.worker`, one for each machine."""

from __future__ import annotations

import time

from flask_redis_events import BrokerError

from .app import create_app
from .figures import channel, events, measure


def main() -> None:
    """Emit the figures until the process ends, also while Redis is away."""
    app = create_app()
    away = False
    for figures in measure():
        at = round(time.time(), 2)
        pairs = [
            (channel(metric), {"metric": metric, "t": at, "values": values})
            for metric, values in figures.items()
        ]
        try:
            # All metrics of a second take one round trip.
            events.emit_many(pairs)
            away = False
        except BrokerError as error:
            # One line for each outage, not one a second.
            if not away:
                app.logger.error("%s", error)
            away = True


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
