"""The examples inside this process, on `memory://` and with databases of their own."""

from __future__ import annotations

import functools
import importlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash

from examples.accounts import models as accounts
from flask_redis_events.extension import NAME

from .staging import PASSWORD

MakeApp = Callable[..., Flask]
HTML = {"Accept": "text/html"}
JSON = {"Accept": "application/json"}


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at little cost; the pages' tests, in a browser, do it as the examples do."""
    quick = functools.partial(generate_password_hash, method="pbkdf2:sha256:100")
    monkeypatch.setattr(accounts, "generate_password_hash", quick)
    monkeypatch.setattr(accounts, "_NOBODY", quick("nobody's"))


@pytest.fixture
def make_app(tmp_path: Path, quick_hashes: None) -> Iterator[MakeApp]:
    """Return a function that makes the application of an example.

    No application context is open afterwards, because requests would share its `g`.
    """
    with ExitStack() as made:

        def make_app(name: str, **config: Any) -> Flask:
            defaults = {
                "TESTING": True,
                "SECRET_KEY": "for these tests",
                "REDIS_EVENTS_URL": f"memory://{secrets.token_hex(4)}",
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / name}.sqlite",
            }
            module = importlib.import_module(f"examples.{name}.app")
            app: Flask = module.create_app({**defaults, **config})
            made.callback(close, app)
            return app

        yield make_app


def close(app: Flask) -> None:
    with app.app_context():
        app.extensions[NAME].hub.close()
        if "sqlalchemy" in app.extensions:
            app.extensions["sqlalchemy"].engine.dispose()


def user(app: Flask, name: str) -> FlaskClient:
    """Make an account, and return the client that is signed in."""
    client = app.test_client()
    form = {"name": name, "password": PASSWORD}
    assert client.post("/sign-up", data=form, headers=HTML).status_code == 302
    return client


def got(client: FlaskClient, path: str) -> Any:
    """Return the JSON of an answer that must be one."""
    answer = client.get(path, headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json
