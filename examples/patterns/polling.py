"""A source that emits nothing: asked every two seconds, once for all of its viewers together.

It is not asked while there are no viewers.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask

from flask_redis_events import RedisEvents

events = RedisEvents()
SECONDS = 2.0


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)

    @app.get("/stream")
    @events.poll(interval=SECONDS, shared=True)
    def stream() -> Callable[..., Any]:
        last = None

        def look(event: Any) -> Any:
            nonlocal last
            before, last = last, shutil.disk_usage("/").free
            # None sends nothing.  A viewer who comes later gets the last value at once.
            return None if last == before else {"free": last}

        return look

    return app
