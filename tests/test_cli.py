"""The commands of `flask redis-events`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from flask import Flask

from flask_redis_events import RedisEvents
from flask_redis_events.cli import cli
from flask_redis_events.testing import hear


@pytest.fixture
def app(redis_server, prefix) -> Flask:
    app = Flask(__name__)
    app.config.update(REDIS_EVENTS_URL=redis_server.url, REDIS_EVENTS_PREFIX=prefix)
    RedisEvents(app)
    return app


def invoke(app: Flask, *words: str, **options):
    return app.test_cli_runner().invoke(cli, list(words), **options)


@pytest.mark.parametrize(
    "data, value", [('{"id": 7}', {"id": 7}), ("hello", "hello"), ("-", "from stdin")]
)
def test_emit(app, data, value):
    """JSON is sent as JSON, and anything else as text; the command prints the id."""
    with hear(app, "a") as heard:
        result = invoke(app, "emit", "a", data, "--event", "order", input="from stdin")

        assert result.exit_code == 0, result.output
        assert heard.wait() == [("a", value)]
        assert result.output.strip().count("-") == 1
    app.extensions["redis_events"].hub.close()


def test_a_bad_channel_is_an_error_message(app):
    """A bad channel is reported in one line, without a traceback."""
    result = invoke(app, "emit", "$x", "1")

    assert result.exit_code == 1
    assert "reserved" in result.output


def test_check_says_how_long_it_takes(app):
    """`check` prints how long an event takes from emit to its receiver."""
    result = invoke(app, "check")

    assert result.exit_code == 0, result.output
    assert "emit to here" in result.output


def test_check_without_redis_says_what_to_do(app, monkeypatch):
    """The error names the setting, and does not show the URL's password."""
    monkeypatch.setattr("flask_redis_events.broker.commands.PATIENCE", 0.1)
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = "redis://:secret@127.0.0.1:1/0"
    RedisEvents(app)
    result = invoke(app, "check")

    assert result.exit_code == 1
    assert "REDIS_EVENTS_URL" in result.output
    assert "secret" not in result.output


@pytest.mark.parametrize("words", [["check"], ["watch", "orders"]])
def test_what_redis_forbids_is_said(own_redis_server, words):
    """`check` and `watch` report that the ACL lets the user publish but not subscribe."""
    rights = ["on", ">secret", "allkeys", "+@all", "resetchannels", "&events:$ticks"]
    own_redis_server.client().execute_command("ACL", "SETUSER", "ann", *rights)
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = own_redis_server.url.replace("//", "//ann:secret@")
    RedisEvents(app)
    result = invoke(app, *words)

    assert result.exit_code == 1
    assert "ACL forbids its user" in result.output
    app.extensions["redis_events"].hub.close()


def test_an_app_without_the_extension_is_told(prefix):
    """The error names the call that is missing."""
    result = invoke(Flask(__name__), "emit", "a", "1")

    assert result.exit_code == 1
    assert "events.init_app(app)" in result.output


def test_watch_prints_a_line_for_each_message(redis_server, prefix):
    """The installed `flask` command prints the messages of names and patterns."""
    environ = {
        **os.environ,
        "TEST_REDIS_EVENTS_URL": redis_server.url,
        "TEST_REDIS_EVENTS_PREFIX": json.dumps(prefix),
        "PYTHONUNBUFFERED": "1",
    }
    flask = [sys.executable, "-m", "flask", "--app", "tests.support.apps.streams:create_app()"]
    watch = [*flask, "redis-events", "watch", "a", "b:*", "--count", "2"]
    with subprocess.Popen(watch, env=environ, stdout=subprocess.PIPE, text=True) as process:
        client = redis_server.client()
        # The pattern is subscribed to last, so after its first message the name is ready, too.
        while not client.publish(f"{prefix}b:1", "probe") and process.poll() is None:
            pass
        client.publish(f"{prefix}a", "hello")
        output, _ = process.communicate(timeout=20)

    assert output.splitlines() == ['-\tb:1\t\t"probe"', '-\ta\t\t"hello"']
