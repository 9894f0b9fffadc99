"""A function that is called again and again."""

from __future__ import annotations

import gc
import time
import weakref
from typing import Any

from flask_redis_events import endings
from flask_redis_events.streams import poll
from flask_redis_events.streams.poll import Poll
from tests.streams.scene import Scene
from tests.support.waiting import wait_until


def start(scene: Scene, interval: float, function: Any = lambda event: "a") -> Poll:
    source = Poll(scene.hub, scene.runner, scene.client, function, interval)
    source.begin(None, ())
    scene.work(source)
    return source


def test_the_function_is_called_at_once():
    """The first value does not wait for the interval."""
    scene = Scene(numbered=False)
    start(scene, 60)

    assert [event.data for event in scene.got()] == ['"a"']
    scene.hub.close()


def test_a_timer_that_comes_early_calls_nothing():
    """The ticker may ask before the interval is over, and the function is called when it is."""
    scene = Scene(numbered=False)
    source = start(scene, 60)
    scene.got()

    assert source.tick(time.monotonic()) is None
    scene.work(source)
    assert scene.got() == []
    scene.hub.close()


def test_false_ends_it():
    """The client gets `end`, and the function is not called again."""
    scene = Scene(numbered=False)
    source = start(scene, 0.01, lambda event: False)

    assert [event.event for event in scene.got()] == ["end"]
    assert not source.has_work
    assert scene.client.closed is endings.ENDED
    scene.hub.close()


def test_a_closed_poll_is_soon_forgotten(monkeypatch):
    """The ticker drops a closed poll, however long its interval is."""
    monkeypatch.setattr(poll, "LOOK", 0.1)
    scene = Scene(numbered=False)
    scene.hub.open(scene.client.owner)

    def function(event: Any) -> None: ...

    start(scene, 3600, function)
    scene.client.close(endings.GONE)
    left = weakref.ref(function)
    del function

    def forgotten() -> bool:
        gc.collect()
        return left() is None

    wait_until(forgotten)
    scene.hub.close()
