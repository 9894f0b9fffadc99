"""The settings: their defaults, and the errors for wrong ones."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_redis_events import ConfigError, RedisEvents
from flask_redis_events.settings import Settings, without_password


def test_defaults_are_written_into_the_config():
    """Settings that are absent are written into the configuration with their defaults."""
    config: dict[str, object] = {}
    settings = Settings.from_config(config)

    assert settings == Settings()
    assert config["REDIS_EVENTS_HISTORY_TTL"] == 300
    assert config["REDIS_EVENTS_URL"] == "redis://localhost:6379/0"


@pytest.mark.parametrize(
    "name, value",
    [
        ("URL", "localhost"),
        ("URL", "http://localhost"),
        ("URL", None),
        ("PREFIX", 7),
        ("PREFIX", "a\nb"),
        ("HISTORY", -1),
        ("HISTORY", 1.5),
        ("HISTORY", True),
        ("HISTORY_TTL", 0),
        ("HISTORY_TTL", "300"),
        ("HEARTBEAT", 0),
        ("HEARTBEAT", float("inf")),
        ("HEARTBEAT", float("nan")),
        ("HEARTBEAT", None),
        ("RETRY", -3),
        ("MAX_STREAMS", 0),
        ("MAX_STREAMS", "many"),
        ("MAX_AGE", 0),
        ("BUFFER", 100),
        ("BUFFER", "1M"),
        ("OVERFLOW", "block"),
        ("WRITE_TIMEOUT", False),
        ("HANDOFF", True),
    ],
)
def test_a_wrong_setting_fails_in_init_app(name, value):
    """The error names the setting and the value, and says what to write."""
    app = Flask(__name__)
    app.config["REDIS_EVENTS_" + name] = value
    with pytest.raises(ConfigError, match=f"^REDIS_EVENTS_{name} must be ") as caught:
        RedisEvents(app)

    assert f"not {value!r}" in str(caught.value)


def test_an_unknown_setting_is_refused():
    """An unknown name is an error, because a misspelt setting would be ignored silently."""
    app = Flask(__name__)
    app.config["REDIS_EVENTS_HEARTBEATS"] = 5
    with pytest.raises(ConfigError, match="REDIS_EVENTS_HEARTBEATS is no setting"):
        RedisEvents(app)


def test_numbers_become_seconds():
    """A whole number of seconds becomes a float."""
    settings = Settings.from_config({"REDIS_EVENTS_MAX_AGE": 60, "REDIS_EVENTS_HEARTBEAT": 5})

    assert (settings.max_age, settings.heartbeat) == (60.0, 5.0)


@pytest.mark.parametrize(
    "url",
    ["redis://u:p@ss/w@host:1/0", "redis://:secret@host", "redis://host/0?db=1&password=secret"],
)
def test_no_password_is_shown(url):
    """A password is removed from every part of the URL."""
    shown = without_password(url)

    assert not any(word in shown for word in ("p@ss", "ss/w", "secret"))
    assert "host" in shown
