"""Events that say only that something has changed: at most one a second, and always the last."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from typing import Any

import pytest
from flask import Flask

from flask_redis_events import (
    BrokerError,
    ChannelError,
    Emitter,
    Position,
    RedisEvents,
    signals,
    touches,
)
from flask_redis_events.broker import commands
from flask_redis_events.concurrency import spawn
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

INTERVAL = 0.3


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(touches, "INTERVAL", INTERVAL)


@pytest.fixture
def emitter(redis_server, prefix):
    emitter = Emitter(redis_server.url, prefix=prefix)
    yield emitter
    wait_until(lambda: not emitter._touches._working)
    emitter.close()


def count(emitter: Any, channel: str = "a") -> int:
    return len(emitter.history(channel))


def is_told(emitter: Emitter, change: Any) -> bool:
    """Say whether an event came after a change, of which emit has returned the id."""
    last = Position.parse(emitter.history("a")[-1].id)
    return last is not None and last > Position.parse(change)


def test_the_first_touch_leaves_at_once(emitter):
    """The event is called `refresh`, and is kept for clients that come back."""
    emitter.touch("a")

    assert [(one.event, one.data) for one in emitter.history("a")] == [("refresh", {})]


def test_further_touches_are_one_event(emitter):
    """Touches within the interval are one event at its end, for each channel."""
    started = time.monotonic()
    for _ in range(20):
        emitter.touch("a")
        emitter.touch("b")
    assert (count(emitter), count(emitter, "b")) == (1, 1)
    wait_until(lambda: count(emitter) == count(emitter, "b") == 2)

    assert time.monotonic() - started >= INTERVAL * 0.9
    wait_until(lambda: not emitter._touches._working)
    assert (count(emitter), count(emitter, "b")) == (2, 2)


def test_a_busy_channel_has_one_event_in_each_interval(emitter):
    """Touched all the time, a channel has an event in each interval, and one after the last."""
    until = time.monotonic() + 4.5 * INTERVAL
    while time.monotonic() < until:
        before = emitter.emit("b", "a change")
        emitter.touch("a")
        time.sleep(0.01)
    wait_until(lambda: is_told(emitter, before))

    assert 4 <= count(emitter) <= 7


def test_after_a_pause_the_next_touch_leaves_at_once(emitter):
    """A channel that was quiet for an interval is forgotten."""
    emitter.touch("a")
    wait_until(lambda: not emitter._touches._working)
    emitter.touch("a")

    assert count(emitter) == 2


def test_a_touch_while_an_event_leaves_is_not_lost(emitter):
    """Touches of many threads, or greenlets: an event follows the last one."""

    changes: list[Any] = []

    def touch() -> None:
        for _ in range(50):
            changes.append(emitter.emit("b", "a change"))
            emitter.touch("a")
            time.sleep(0.005)

    threads = [spawn("test", touch) for _ in range(8)]
    for thread in threads:
        thread.join(20)
    wait_until(lambda: not emitter._touches._working)

    assert len(changes) == 400
    assert all(is_told(emitter, change) for change in changes)
    assert count(emitter) <= 20


def test_a_name_is_checked_at_once(emitter):
    """A wrong channel raises in the caller, however often it is touched."""
    with pytest.raises(ChannelError):
        emitter.touch("a\n")


def test_failures(own_redis_server, monkeypatch, caplog):
    """The first event raises as `emit` does; a later one is logged, counted and signalled."""
    monkeypatch.setattr(commands, "PATIENCE", 0.2)
    app = Flask(__name__)
    app.config["REDIS_EVENTS_URL"] = own_redis_server.url
    events = RedisEvents(app)
    told: list[Any] = []

    def tell(sender: Any, **what: Any) -> None:
        told.append((sender, what["channels"]))

    signals.emit_failed.connect(tell)
    events.touch("a")
    events.touch("a")
    own_redis_server.stop()
    with caplog.at_level(logging.ERROR, "flask_redis_events"):
        wait_until(lambda: events.hub.metrics["emit_failed"] == 1)
    with pytest.raises(BrokerError):
        events.touch("b")

    assert told == [(app, ["a"])]
    wait_until(lambda: not events._touches._working)
    signals.emit_failed.disconnect(tell)
    events.broker.close()


@pytest.mark.parametrize("patched", [False, True], ids=["threads", "gevent"])
def test_a_process_that_ends_sends_what_waits(own_redis_server, patched):
    """A program that touches and ends at once loses nothing, and does not wait for the interval."""
    how = ["gevent.monkey", "--module"] if patched else []
    command = [sys.executable, "-m", *how, "tests.support.apps.touching", own_redis_server.url]
    subprocess.run(command, check=True, cwd=ROOT, timeout=30)

    emitter = Emitter(own_redis_server.url)

    assert count(emitter) == 2
    emitter.close()
