"""The demo's application, without its processes."""

from __future__ import annotations

import pytest

from flask_redis_events.demo.app import create_app
from tests.support.processes import free_port


def test_a_page_is_not_told_where_redis_is(monkeypatch: pytest.MonkeyPatch):
    """The 503 is JSON, and reveals neither the address of Redis nor its password."""
    port = free_port()
    monkeypatch.setenv("REDIS_EVENTS_URL", f"redis://:secret@127.0.0.1:{port}/0")
    monkeypatch.setenv("REDIS_EVENTS_PREFIX", "demo:")
    monkeypatch.setattr("flask_redis_events.broker.commands.PATIENCE", 0.1)

    response = create_app().test_client().post("/chat", json={"name": "ada", "text": "hello"})

    assert response.status_code == 503
    assert response.json == {"error": "Redis is away, try again later."}
