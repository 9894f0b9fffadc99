"""A chat: rooms, messages that are kept, members that are there, and who is typing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from examples import accounts
from examples.layout import layout

from .messages import events
from .views import chat, end_streams


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; `FLASK_SECRET_KEY` and the like in the environment configure it."""
    app = Flask(__name__)
    app.config.update(
        APP_NAME="Chat", SQLALCHEMY_DATABASE_URI=f"sqlite:///{app.root_path}/chat.sqlite"
    )
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)
    app.register_blueprint(layout)
    app.register_blueprint(chat)
    accounts.init_app(app)
    accounts.signed_out.connect(end_streams, sender=app)
    return app
