"""Requests to end streams: which they mean, also those that are about to open."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from flask_redis_events import Emitter, endings
from flask_redis_events.channels import KICKS
from flask_redis_events.clients import Owner
from flask_redis_events.endings import ASKED_AGAIN, DISCONNECTED, Ending
from flask_redis_events.kicks import KEPT, Kicks
from flask_redis_events.wire import Message, sse
from flask_redis_events.wire.data import dumps
from tests.support.waiting import wait_until
from tests.test_hub import join, make_hub


def about(identity: str | None = None, *channels: str, asked_at: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(
        channels=channels, label="", identity=identity, whose=None, asked_at=asked_at
    )


def request(identity: str | None = None, channel: str | None = None, *, for_good: bool) -> Message:
    what = {"identity": identity, "channel": channel, "for_good": for_good}
    return Message(KICKS, sse.encode(dumps(what)))


@pytest.mark.parametrize(
    ("kick", "meant"),
    [
        (request("eve", for_good=True), ["eve a", "eve b"]),
        (request(channel="a", for_good=True), ["eve a", "ada a", "nobody a"]),
        (None, ["eve a", "eve b", "ada a"]),
    ],
    ids=["identity", "channel", "lost"],
)
def test_whom_a_request_means(kick, meant):
    """The streams of an identity, those on a channel, or all that an unknown request may mean."""
    streams = {
        "eve a": about("eve", "a"),
        "eve b": about("eve", "b"),
        "ada a": about("ada", "a"),
        "nobody a": about(None, "a"),
    }
    kick = Kicks().add(kick)

    assert [name for name, stream in streams.items() if kick.means(stream)] == meant


def test_a_request_is_remembered():
    """It counts for streams whose views were called before it, as the newest of several does."""
    kicks, eve, before = Kicks(), about("eve", "a"), time.monotonic()
    kicks.add(request("eve", for_good=False))
    kicks.add(request("eve", for_good=True))
    kicks.add(request("ada", for_good=False))

    assert kicks.since(before, eve) == DISCONNECTED
    assert kicks.since(time.monotonic(), eve) is None
    assert kicks.since(before, about("bob", "a")) is None


def test_a_request_of_before():
    """It means streams whose views were called before it, and ends none of them for good."""
    now = time.monotonic()
    kick = Kicks().add(request("eve", for_good=True), age=5)

    assert kick.ending == ASKED_AGAIN
    assert kick.means(about("eve", asked_at=now - 6))
    assert not kick.means(about("eve", asked_at=now - 4))


def test_of_very_many_requests_some_are_forgotten():
    """A stream that may be meant by one of them is asked again."""
    kicks, before = Kicks(), time.monotonic()
    for _ in range(KEPT):
        kicks.add(request("eve", for_good=True))

    assert kicks.since(before, about("bob")) == ASKED_AGAIN
    assert kicks.since(time.monotonic(), about("bob")) is None


class Asked(Owner):
    """A stream, which notes with what it was dismissed."""

    def __init__(self, identity: str, asked_at: float) -> None:
        self.about = about(identity, "a", asked_at=asked_at)
        self.endings: list[Ending] = []

    def dismiss(self, ending: Ending) -> bool:
        self.endings.append(ending)
        return True


def test_a_stream_whose_view_was_called_before_a_request(redis_server, prefix):
    """It opens after the request, and ends at once; one whose view was called later goes on."""
    hub = make_hub(redis_server, prefix)
    first = Asked("eve", time.monotonic())
    hub.open(first)
    join(hub, "a")
    late = Asked("eve", time.monotonic())
    emitter = Emitter(redis_server.url, prefix=prefix)
    emitter.disconnect(identity="eve")
    emitter.close()
    wait_until(lambda: first.endings)
    new = Asked("eve", time.monotonic())
    for stream in (late, new):
        hub.open(stream)

    assert first.endings == late.endings == [endings.DISCONNECTED]
    assert new.endings == []
    for stream in (first, late, new):
        hub.leave(stream)
    hub.close()
    hub.broker.close()


def test_a_worker_that_has_just_begun_learns_of_requests(redis_server, prefix):
    """They may have come between the views of its first clients and its connection to Redis."""
    hub = make_hub(redis_server, prefix)
    eve, ada = Asked("eve", time.monotonic()), Asked("ada", time.monotonic())
    late = Asked("eve", time.monotonic())
    hub.open(eve)
    hub.open(ada)
    emitter = Emitter(redis_server.url, prefix=prefix)
    emitter.disconnect(identity="eve")
    emitter.close()
    # Redis tells milliseconds.
    time.sleep(0.01)
    back = Asked("eve", time.monotonic())
    hub.open(back)
    join(hub, "a")
    wait_until(lambda: eve.endings)
    hub.open(late)

    assert eve.endings == late.endings == [endings.ASKED_AGAIN]
    assert ada.endings == back.endings == []
    for stream in (eve, ada, late, back):
        hub.leave(stream)
    hub.close()
    hub.broker.close()
