"""The application of the end-to-end tests, and a measure of how long it keeps a request waiting.

A greenlet sleeps again and again.  The worker's CPU time between two of its turns is what another
request would have waited for, on a machine that has nothing else to do.
"""

from __future__ import annotations

import threading
import time

from flask import Flask

from tests.support.apps import streams

#: Seconds between two turns.
PAUSE = 0.005


def create_app() -> Flask:
    app = streams.create_app()
    turns: list[float] = []
    watching: list[threading.Thread] = []

    def watch() -> None:
        while True:
            before = time.process_time()
            time.sleep(PAUSE)
            turns.append(time.process_time() - before)

    @app.post("/turns")
    def begin() -> dict[str, int]:
        if not watching:
            watching.append(threading.Thread(target=watch, daemon=True))
            watching[0].start()
        turns.clear()
        return {}

    @app.get("/turns")
    def seconds() -> list[float]:
        return sorted(turns)

    return app
