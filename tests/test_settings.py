"""The settings: their defaults, and the errors for wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from flask_redis_events import ConfigError, Emitter, RedisEvents, RedisEventsError
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
        ("MAX_STREAMS_PER_CLIENT", 0),
        ("MAX_STREAMS_PER_CLIENT", 2.5),
        ("MAX_AGE", 0),
        ("SILENCE_TTL", -1),
        ("MAX_EVENT", 0),
        ("MAX_REPLAY", None),
        ("BUFFER", 100),
        ("BUFFER", "1M"),
        ("OVERFLOW", "block"),
        ("RESUME_RATE", 0),
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
    [
        "redis://u:p@ss/w@host:1/0",
        "redis://:secret@host",
        "redis://host/0?db=1&password=secret",
        "redis://host/0?ssl_password=secret&db=1",
        "redis://u:ss/#?w@host",
        "redis://u:ss/w\n@host",
        "u:secret@host",
        ":secret@host",
        "redis:/u:secret@host",
        repr("redis://u:secret@host"),
    ],
)
def test_no_password_is_shown(url):
    """A password is removed from every part of the URL."""
    shown = without_password(url)

    assert not any(word in shown for word in ("p@ss", "ss/w", "ss/#", "secret"))
    assert "host" in shown


@pytest.mark.parametrize("mark", ["/", "#", "?", "[", "]", "%", "@", " "])
@pytest.mark.parametrize("secret", ["top{}secret", "12{}secret"])
def test_no_error_shows_a_password(mark, secret):
    """A password that breaks the URL is in no error, and the error says how to write it."""
    password = secret.format(mark)
    with pytest.raises(ConfigError) as caught:
        Emitter(f"redis://u:{password}@host:6379/events")

    shown = f"{caught.value} {caught.value.__cause__}"
    assert not any(part in shown for part in ("top", "12", "secret"))
    assert caught.value.__cause__ or caught.value.__suppress_context__
    assert ("%2F %3F %23" in shown) == (mark in "/#?[]")


def test_settings_do_not_show_the_url():
    """The settings can be logged, because a URL may hold a password."""
    assert "hidden" not in repr(Settings(url="redis://u:hidden@host", secret="hidden" * 3))


def test_what_is_no_application_or_client_is_shown_without_its_password():
    """A URL in the place of an application or a client is shown without its password."""
    url: Any = "redis://u:secret@host"
    for use in (lambda: RedisEvents(url), lambda: Emitter(redis=url)):
        with pytest.raises(RedisEventsError) as caught:
            use()

        assert "redis://u:…@host" in str(caught.value)
