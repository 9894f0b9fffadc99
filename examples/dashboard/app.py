"""A dashboard: this machine's figures, live and of the last two minutes; a page chooses which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from examples.layout import layout

from .figures import KEPT, events
from .views import dashboard


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; `FLASK_REDIS_EVENTS_URL` in the environment says where Redis is."""
    app = Flask(__name__)
    app.config.update(
        APP_NAME="Dashboard",
        REDIS_EVENTS_PREFIX="dashboard:",
        # A page that is opened begins with all that is kept.
        REDIS_EVENTS_HISTORY=KEPT,
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)
    app.register_blueprint(layout)
    app.register_blueprint(dashboard)
    return app
