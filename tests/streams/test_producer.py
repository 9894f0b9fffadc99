"""A callback between the messages and its client."""

from __future__ import annotations

from typing import Any

from flask_redis_events import endings
from flask_redis_events.streams.producer import Callback
from flask_redis_events.wire import Batch, Position, control
from flask_redis_events.wire.control import Loss
from tests.streams.scene import Scene
from tests.support.factories import batch, message


def start(scene: Scene, callback: Any) -> Callback:
    source = Callback(scene.hub, scene.runner, scene.client, scene.inbox, callback)
    source.begin(None, ())
    return source


def same(channel: str, value: Any, event: Any) -> Any:
    return value


def test_messages_and_control_frames_keep_their_order():
    """A `reset` stands between the messages before the loss and those after it."""
    scene = Scene()
    source = start(scene, same)
    scene.inbox.offer(Batch([message(1, "a", channel="a")]))
    scene.inbox.lose(Loss("trimmed", Position(2)))
    scene.inbox.offer(Batch([message(3, "b", channel="a")]))
    scene.work(source)

    assert [event.data for event in scene.got()] == ['"a"', '{"reason":"trimmed"}', '"b"']
    assert scene.inbox.idle
    scene.hub.close()


def test_a_message_is_reached_when_it_has_been_sent():
    """Until then no heartbeat may carry the client past it."""
    scene = Scene()
    idle: list[bool] = []

    def look(channel: str, value: Any, event: Any) -> Any:
        idle.append(scene.inbox.idle)
        return value

    source = start(scene, look)
    scene.inbox.offer(batch(1, 2, channel="a"))
    scene.work(source)

    assert idle == [False, False]
    assert scene.inbox.idle
    scene.hub.close()


def test_it_works_in_step_with_its_client():
    """While half the client's backlog waits, messages wait in the inbox."""
    scene = Scene(limit=400)
    called: list[Any] = []

    def large(channel: str, value: Any, event: Any) -> Any:
        called.append(value)
        return "x" * 300

    source = start(scene, large)
    for number in range(1, 4):
        scene.inbox.offer(batch(number, channel="a"))
        scene.work(source)

    assert len(called) == 1
    scene.got()
    source.client_drained()
    scene.work(source)
    assert len(called) == 2
    scene.hub.close()


def test_a_dismissal_comes_after_what_was_accepted():
    """Messages that wait for the callback go out first, then the farewell, then the end."""
    scene = Scene()
    source = start(scene, same)
    scene.inbox.offer(Batch([message(1, "a", channel="a")]))
    source.close(endings.DRAINING, control.reconnect("draining", retry=1))
    scene.work(source)
    events = scene.got()

    assert [event.event for event in events] == ["message", "reconnect"]
    assert scene.client.closed is endings.DRAINING
    scene.hub.close()


def test_a_second_dismissal_does_not_wait():
    """When the process ends, nobody will make what waits."""
    scene = Scene()
    source = start(scene, same)
    scene.inbox.offer(batch(1, channel="a"))
    farewell = control.reconnect("draining", retry=1)
    source.close(endings.DRAINING, farewell)
    source.close(endings.DRAINING, farewell)

    assert scene.client.closed is endings.DRAINING
    scene.hub.close()


def test_false_ends_it_in_the_midst():
    """The callback is not asked about messages after the end."""
    scene = Scene()
    called: list[Any] = []

    def until_b(channel: str, value: Any, event: Any) -> Any:
        called.append(value)
        return value != "b" and value

    source = start(scene, until_b)
    scene.inbox.offer(Batch([message(n, text, channel="a") for n, text in enumerate("abc", 1)]))
    scene.work(source)

    assert [event.event for event in scene.got()] == ["message", "end"]
    assert called == ["a", "b"]
    assert scene.client.closed is endings.ENDED
    assert scene.inbox.closed is endings.ENDED
    scene.hub.close()


def test_clients_that_return_the_same_share_its_bytes():
    """Equal values of one message are one batch; other values are not."""
    scene = Scene()
    one = message(1, "a", channel="a")
    render = scene.runner.render
    first = render(same, one, numbered=True)

    assert render(lambda c, m, e: "a", one, numbered=True) is first
    assert render(lambda c, m, e: "b", one, numbered=True) is not first
    assert render(same, one, numbered=False).messages[0].id is None
    scene.hub.close()
