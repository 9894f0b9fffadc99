"""Which servers the log names as unfit for streams; the real ones are in `tests/e2e`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from flask_redis_events import RedisEvents, concurrency
from flask_redis_events.server import unfit


def called_by(name: str, function: Callable[[], Any]) -> None:
    """Call a function from a module of this name."""
    module = ModuleType(name)
    exec("def call(function): function()", module.__dict__)
    module.call(function)


@pytest.mark.parametrize("name", unfit.BRIDGES)
def test_a_bridge_is_found_on_the_stack(caplog: pytest.LogCaptureFixture, name: str):
    """A bridge is recognised behind all that it calls, and the message names it."""
    called_by(name, lambda: called_by("middleware", lambda: unfit.warn({})))

    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(unfit.BRIDGES[name])


@pytest.mark.parametrize("threads", [True, False])
def test_one_thread_without_greenlets(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, threads: bool
):
    """A server without threads is named, unless greenlets take their place."""
    for greenlets in (True, False):
        caplog.clear()
        monkeypatch.setattr(concurrency, "patched", lambda found=greenlets: found)
        unfit.warn({"wsgi.multithread": threads, "SERVER_SOFTWARE": "Simple/1"})

        said = [record.getMessage() for record in caplog.records]
        assert [line.split()[0] for line in said] == ([] if threads or greenlets else ["Simple/1"])


def test_an_application_may_test_itself(caplog: pytest.LogCaptureFixture):
    """Flask's test client, which has no threads either, is no server to complain about."""
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = "memory://"
    events = RedisEvents(app)

    @app.get("/stream")
    @events.stream("x")
    def stream() -> None: ...

    with app.test_client().get("/stream") as response:
        assert b"event: ready" in next(response.iter_encoded())

    assert not caplog.records
    events.hub.close()
