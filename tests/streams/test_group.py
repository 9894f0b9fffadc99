"""The clients that share one producer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_redis_events import RedisEvents, endings
from flask_redis_events.clients import Subscription
from flask_redis_events.streams.callbacks import Runner, StreamEvent
from flask_redis_events.streams.group import Group
from flask_redis_events.streams.producer import Callback
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
        self.runner = Runner(app, StreamEvent(["a"], None), self.hub)
        inbox = Subscription(channels("a"), limit=2000, overflow="drop", held=True)
        self.group = Group(
            self.hub,
            lambda group: Callback(self.hub, self.runner, group, inbox, self.callback),
            numbered=True,
        )
        self.inbox = inbox
        self.group.start()

    def callback(self, channel: str, message: Any, event: StreamEvent) -> Any:
        self.called.append(message)
        self.gate.wait(5)
        return message

    def join(self, position: Position | None = None) -> Subscription:
        """Return a member that begins where the producer is, or further, as history brought it."""
        member = Subscription(held=True)
        self.group.join(member)
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
    scene.group.stop()
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
    scene.hub._reader.sequence.position = restart
    scene.inbox.lose(Loss("rolled back", first, restart=restart))
    scene.inbox.offer(Batch([message(restart.ms + 1, "n", channel="a")]))
    scene.gate.set()
    wait_until(lambda: scene.called[-1] == "n" and not scene.inbox.has_news)

    got: list[str] = []
    wait_until(lambda: len(got.__iadd__(scene.got(member))) == 5)
    assert got == ["a", "b", "c", "reset", "n"]
    # Who comes now is where the others are.
    assert scene.join().floor == Position(restart.ms + 1)


def test_who_comes_as_it_ends_comes_again(scene):
    """A producer that is over has nothing for a newcomer, who finds another one next time."""
    scene.group.close(endings.ENDED)
    member = Subscription(held=True)
    scene.group.join(member)

    assert member.closed is endings.REPLACED
    assert scene.got(member) == ["reconnect"]


def test_a_quiet_group_begins_where_the_worker_is(scene):
    """Other channels move the worker's position; an older one could be past the TTL already."""
    scene.gate.set()
    scene.join()
    old = scene.emit('"a"')
    wait_until(lambda: scene.called and scene.inbox.idle)
    other = Subscription(channels("b"))
    scene.hub.listen(other)
    wait_until(lambda: other.live)
    newer = scene.hub.broker.publish("b", encode('"b"'))
    wait_until(lambda: scene.hub.position == newer)

    assert old < newer
    assert scene.join().floor == newer


def test_a_held_member_is_told_why_the_group_ends(scene):
    """A member that still looks for its beginning gets the farewell, too."""
    member = Subscription(held=True)
    scene.group.join(member)
    farewell = scene.hub.farewell(endings.FORBIDDEN)
    scene.inbox.close(endings.FORBIDDEN, last=farewell)
    wait_until(lambda: member.closed)

    assert member.closed is endings.FORBIDDEN
    assert scene.got(member) == ["reconnect"]
