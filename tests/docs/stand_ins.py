"""The names that pages leave to their reader: an application, a database, a user, a model."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any

import flask
from flask_login import LoginManager, current_user
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

import flask_redis_events
from flask_redis_events import Emitter, RedisEvents

TEMPLATES = {
    "board.html": "{{ events.source('board_stream', id=id, since=position) }}",
    "_card.html": "<li>{{ card.title }}</li>",
}


def flask_class(url: str, prefix: str) -> type[flask.Flask]:
    """Return a Flask whose applications use this Redis, and where a view may be shown twice."""

    class App(flask.Flask):
        def __init__(self, name: str) -> None:
            super().__init__(name)
            self.secret_key = "for tests"
            self.jinja_loader = DictLoader(TEMPLATES)
            self.config.update(REDIS_EVENTS_URL=url, REDIS_EVENTS_PREFIX=prefix)

        def add_url_rule(
            self, rule: str, endpoint: Any = None, view_func: Any = None, *args: Any, **options: Any
        ) -> None:
            self.view_functions.pop(view_func and view_func.__name__, None)
            super().add_url_rule(rule, endpoint, view_func, *args, **options)

    return App


class User:
    is_active = is_authenticated = is_admin = True

    def get_id(self) -> str:
        return "7"

    def may_see(self, room: int) -> bool:
        return room == 7


def names(page: str, app: flask.Flask) -> dict[str, Any]:
    """Return what is there before the first block of a page."""
    found: dict[str, Any] = {"__name__": "page", **vars(flask), **vars(flask_redis_events)}
    found["app"] = app
    if page == "configuration.rst":
        return found
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    LoginManager(app).request_loader(lambda request: User())
    events, db = RedisEvents(app), SQLAlchemy(app)

    class Card(db.Model):  # type: ignore[misc,name-defined]
        id: Mapped[int] = mapped_column(primary_key=True)
        board_id: Mapped[int]
        title: Mapped[str]

    class Membership(db.Model):  # type: ignore[misc,name-defined]
        id: Mapped[str] = mapped_column(primary_key=True)

    with app.app_context():
        db.create_all()
        db.session.add_all([Card(id=7, board_id=7, title="one"), Membership(id="7")])
        db.session.commit()
    url, prefix = (app.config[f"REDIS_EVENTS_{name}"] for name in ("URL", "PREFIX"))
    queue = types.SimpleNamespace(enqueue=lambda function, *args: None)
    return found | {
        "events": events,
        "emitter": Emitter(url, prefix=prefix),
        "db": db,
        "Card": Card,
        "Membership": Membership,
        "select": select,
        "Markup": Markup,
        "card": Card(id=7, title="one"),
        "html": "<li>7</li>",
        "channel": "board:7",
        "id": 7,
        "prompt": "Why?",
        "queue": queue,
        "csp_nonce": "abc",
        "cards": [{"title": "one"}],
        "position": "1-0",
        "changed": {"EURUSD": 1.1},
        "all_orders": list,
        "abort_unless_member": _accept,
        "current_user": current_user,
        "logout_user": _accept,
        "may_see": bool,
        "translate": lambda message, language: message,
        "model": _tokens,
        "save_question": lambda question: 7,
        "newest_answer": lambda chat: 7,
    }


def _accept(*args: Any) -> None:
    """Stand for a check that lets everybody in."""


def _tokens(prompt: str) -> Iterable[str]:
    return ["Be", "cause"]
