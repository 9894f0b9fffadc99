"""A producer that the clients of a stream share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_redis_events import RedisEvents, endings
from flask_redis_events.clients import Subscription
from flask_redis_events.streams.callbacks import Runner, StreamEvent
from flask_redis_events.streams.shared import SharedProducer
from flask_redis_events.wire import Batch, Position
from flask_redis_events.wire.control import Loss
from flask_redis_events.wire.sse import decode, encode
from tests.support.factories import channels, message, sent, went_live
from tests.support.waiting import wait_until


class Scene:
    """A producer of channel a whose callback goes through a gate, with a small buffer."""

    def __init__(self) -> None:
        app = Flask(__name__)
        app.config.update(REDIS_EVENTS_URL="memory://shared", REDIS_EVENTS_BUFFER=2000)
        self.gate = threading.Event()
        self.called: list[Any] = []
        events = RedisEvents(app)
        with app.app_context():
            self.hub = events.hub
        self.runner = Runner(
            app,
            StreamEvent(["a"], None),
            reports=self.hub.reports,
            outcomes=self.hub.outcomes,
        )
        inbox = Subscription(channels("a"), limit=2000, overflow="drop", held=True)
        self.producer = SharedProducer(self.hub, self.runner, self.callback, inbox=inbox)
        self.producer.start()

    def callback(self, channel: str, message: Any, event: StreamEvent) -> Any:
        self.called.append(message)
        self.gate.wait(5)
        return message

    def join(self, position: Position | None = None) -> Subscription:
        """Return a member that begins where the producer is, or further, as history brought it."""
        member = Subscription(held=True)
        self.producer.join(member)
        assert went_live(member)
        member.start(position or member.floor)
        return member

    def emit(self, text: str) -> Position | None:
        """Emit, and return when the worker has heard it."""
        id = self.hub.broker.publish("a", encode(text))
        wait_until(lambda: self.hub.position == id)
        return id

    def got(self, member: Subscription) -> list[str]:
        """Return the names of control frames, and the first letters of messages."""
        events = decode(sent(member.take(0)))
        return [one.data[1] if one.event == "message" else one.event for one in events]


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.gate.set()
    scene.producer.stop()
    scene.hub.close()


def test_what_it_drops_is_told_to_those_who_miss_it(scene):
    """Who came later has it from history."""
    early = scene.join()
    for letter in "abcdef":
        # The first is in the callback when the others come.
        newest = scene.emit(f'"{letter * 600}"')
        wait_until(lambda: scene.called)
    late = scene.join(newest)
    scene.gate.set()
    wait_until(lambda: "f" in str(scene.called[-1]))
    scene.emit('"z"')
    wait_until(lambda: scene.called[-1] == "z" and late.has_news)

    assert scene.got(early) == ["a", "reset", "e", "f", "z"]
    assert scene.got(late) == ["z"]


def test_a_clock_that_went_back_is_told_in_order(scene):
    """What the producer still had from before goes out first; then positions begin anew."""
    member = scene.join()
    first = scene.emit('"a"')
    wait_until(lambda: scene.called)
    scene.emit('"b"')
    scene.emit('"c"')
    restart = Position(first.ms - 1000)
    scene.producer.inbox.lose(Loss("rolled back", first, restart=restart))
    scene.producer.inbox.offer(Batch([message(restart.ms + 1, "n", channel="a")]))
    scene.gate.set()
    wait_until(lambda: scene.called[-1] == "n" and not scene.producer.inbox.has_news)

    got: list[str] = []
    wait_until(lambda: len(got.__iadd__(scene.got(member))) == 5)
    assert got == ["a", "b", "c", "reset", "n"]
    # Who comes now is where the others are.
    assert scene.join().floor == Position(restart.ms + 1)


def test_who_comes_as_it_ends_comes_again(scene):
    """A producer that is over has nothing for a newcomer, who finds another one next time."""
    scene.runner.ended = True
    member = Subscription(held=True)
    scene.producer.join(member)

    assert member.closed is endings.REPLACED
    assert scene.got(member) == ["reconnect"]
