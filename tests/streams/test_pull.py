"""A generator function between the messages and its client."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

from flask_redis_events import Messages, endings
from flask_redis_events.clients import Owner
from flask_redis_events.streams.pull import Pull
from flask_redis_events.wire import Batch, control
from tests.streams.scene import Scene
from tests.support.factories import batch, message
from tests.support.waiting import wait_until


def test_what_a_generator_gathers_keeps_the_cursor_back():
    """A message that was taken while the one before it was being sent is not reached yet."""
    scene = Scene()
    gathering, done = threading.Event(), threading.Event()

    def gather(messages: Messages) -> Generator[Any, None, None]:
        first = messages.get()
        # It comes while the generator works on the first one.
        scene.inbox.offer(Batch([message(2, "b", channel="a")]))
        yield first
        messages.get()
        gathering.set()
        done.wait(5)

    source = Pull(scene.hub, scene.runner, scene.client, scene.inbox, gather)
    source.begin(None, ())
    scene.inbox.offer(Batch([message(1, "a", channel="a")]))
    assert gathering.wait(5)
    wait_until(lambda: [event.data for event in scene.got()] == ['"a"'])

    assert not scene.inbox.idle
    done.set()
    scene.hub.close()


def test_a_reset_before_messages_does_not_count_them_as_answered():
    """Every resume with a loss begins so; a heartbeat must not pass what is still gathered."""
    scene = Scene()
    gathering, done = threading.Event(), threading.Event()

    def gather(messages: Messages) -> Generator[Any, None, None]:
        messages.get()
        gathering.set()
        done.wait(5)
        yield "gathered"

    source = Pull(scene.hub, scene.runner, scene.client, scene.inbox, gather)
    source.begin(None, (control.reset("trimmed"), batch(1, 2, channel="a")))
    assert gathering.wait(5)

    assert not scene.inbox.idle
    done.set()
    scene.hub.close()


def test_what_it_has_answered_moves_the_cursor():
    """After a yield, with nothing left to take, a heartbeat may carry the worker's position."""
    scene = Scene()

    def each(messages: Messages) -> Generator[Any, None, None]:
        yield from messages

    source = Pull(scene.hub, scene.runner, scene.client, scene.inbox, each)
    source.begin(None, ())
    scene.inbox.offer(Batch([message(1, "a", channel="a"), message(2, "b", channel="a")]))
    wait_until(lambda: scene.client.has_news)

    assert next(event.data for event in scene.got()) == '"a"'
    wait_until(lambda: scene.inbox.idle)
    scene.hub.close()


def test_it_does_not_run_ahead_of_its_client():
    """While half the client's backlog waits, the generator waits, too."""
    scene = Scene(limit=1000)
    yielded: list[int] = []

    def endless(messages: Messages) -> Generator[Any, None, None]:
        for number in range(1000):
            yielded.append(number)
            yield "x" * 200

    source = Pull(scene.hub, scene.runner, scene.client, scene.inbox, endless)
    scene.client.owner = Draining(source)
    source.begin(None, ())
    wait_until(lambda: not scene.client.has_room)
    before = len(yielded)
    scene.got()
    wait_until(lambda: len(yielded) > before)

    assert before < 500
    scene.client.close(endings.GONE)
    scene.hub.close()


class Draining(Owner):
    """Tells a source that its client has room, as a stream does."""

    def __init__(self, source: Pull) -> None:
        self._source = source

    def drained(self) -> None:
        self._source.client_drained()

    def closed(self, ending: endings.Ending) -> None:
        self._source.client_closed(ending)
