"""Notifications: each user has a private stream, and a list that all their tabs agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from examples import accounts
from examples.layout import layout

from .notes import events
from .views import end_streams, notifications


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; `FLASK_SECRET_KEY` and the like in the environment configure it."""
    app = Flask(__name__)
    app.config.update(
        APP_NAME="Notifications",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{app.root_path}/notifications.sqlite",
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)
    app.register_blueprint(layout)
    app.register_blueprint(notifications)
    accounts.init_app(app)
    accounts.signed_out.connect(end_streams, sender=app)
    return app
