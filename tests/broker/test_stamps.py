"""Payloads that somebody else publishes: they are data, and nothing more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from flask_redis_events import Emitter, ServerSentEvent
from flask_redis_events.broker import open_broker
from flask_redis_events.clients import Subscription
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from flask_redis_events.wire import Message, Position
from flask_redis_events.wire.sse import CONTROL_EVENTS, Event, decode, encode
from tests.support.factories import channels, sent, went_live
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

SECRET = "a secret of the deployment"
FUTURE = "999999999999999-0"
prefixes = itertools.count()


class Deployment:
    """A hub and its clients on a Redis where somebody else may PUBLISH."""

    def __init__(self, server: RedisServer, **chosen: Any) -> None:
        self.prefix = f"forged{next(prefixes)}:"
        settings = Settings(url=server.url, prefix=self.prefix, **chosen)
        self.secret = settings.secret
        self.broker = open_broker(
            server.url,
            prefix=self.prefix,
            history=settings.history,
            history_ttl=settings.history_ttl,
            secret=settings.secret,
        )
        self.hub = Hub(settings, self.broker, None)
        self.raw = server.client()
        self.ids: list[Position | None] = []
        self.clients = {names: self._join(*names) for names in (("a",), ("b",), ("a", "b*"))}

    def _join(self, *names: str) -> Subscription:
        client = Subscription(channels(*names), held=True)
        self.hub.listen(client)
        assert went_live(client)
        client.start(client.floor)
        return client

    def emit(self, channel: str, text: str) -> None:
        self.ids.append(self.broker.publish(channel, encode(text)))

    def forge(self, channel: str, payload: bytes) -> None:
        self.raw.publish(self.prefix + channel, payload)

    def got(self, client: Subscription, count: int) -> list[Event]:
        """Return what a client was sent, when that is so many events."""
        batches: list[Any] = []
        wait_until(lambda: len(decode(sent(batches.__iadd__(client.take(0.05))))) >= count, 5)
        return decode(sent(batches + client.take(0)))

    def close(self) -> None:
        self.hub.close()
        self.broker.close()


@pytest.fixture
def deployment(request: pytest.FixtureRequest, redis_server: RedisServer) -> Iterator[Deployment]:
    deployment = Deployment(redis_server, secret=getattr(request, "param", ""))
    yield deployment
    deployment.close()


def frame(id: str, fields: bytes = b"data: 1\n") -> bytes:
    return b"id: %b\n%b\n" % (id.encode(), fields)


FORGERIES = {
    "a gap that cannot be filled": f":{FUTURE[:-1]}1 {FUTURE} {{stamp}}\n".encode() + frame(FUTURE),
    "a position of the future": f":{FUTURE} - {{stamp}}\n".encode() + frame(FUTURE),
    "a gap": b":1-1 1-0 {stamp}\n" + frame("1-1"),
    "the end": b":- - {stamp}\nid: end\nevent: end\ndata: {}\n\n",
    "an end with a position": b":- - {stamp}\nevent: end\ndata: {}\n\n",
    "a reset": b':- - {stamp}\nevent: reset\ndata: {"reason":"forged"}\n\n',
    "two blocks": b":- - {stamp}\ndata: 1\n\ndata: 2\n\n",
    "an id": b":- - {stamp}\nid: 7-0\ndata: 1\n\n",
    "a fork": f":{FUTURE} - {{stamp}}\nid: {FUTURE}\n:forked {FUTURE}\n\n".encode(),
    "a bare fork": f":- - {{stamp}}\n:forked {FUTURE}\n\n".encode(),
    "a carriage return": b":- - {stamp}\ndata: 1\revent: end\n\n",
}
STAMPS = [b"-", b"0" * 16, b"f" * 40]


@pytest.mark.parametrize("stamp", STAMPS, ids=["none", "a word", "a code"])
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_envelope_is_data(deployment, name, stamp):
    """It arrives as text, without an id; events after it come as if it had never been."""
    forged = FORGERIES[name].replace(b"{stamp}", stamp)
    deployment.emit("a", '"before"')
    deployment.forge("a", forged)
    deployment.forge("$ticks", forged)
    deployment.emit("a", '"after"')
    events = deployment.got(deployment.clients["a",], 3)

    assert [event.data for event in events] == [
        '"before"',
        forged.decode().replace("\r", "\n"),
        '"after"',
    ]
    assert [event.event for event in events] == ["message"] * 3
    assert events[2].last_event_id == str(deployment.ids[-1])
    assert deployment.hub.position == deployment.ids[-1]
    assert deployment.hub.metrics["refilled.gap"] == 0


def test_the_word_outlives_redis_data(own_redis_server):
    """Events after a FLUSHALL have the same word, so a worker need not ask for another one.

    It asks at most once a second; events of another word would be data until then.
    """
    deployment = Deployment(own_redis_server)
    other = open_broker(
        own_redis_server.url, prefix=deployment.prefix, history=10, history_ttl=60.0
    )
    other.publish("a", encode('"before"'))
    deployment.forge("a", f":1-0 - -\n{frame('1-0').decode()}".encode())
    deployment.got(deployment.clients["a",], 2)
    for _ in range(3):
        own_redis_server.client().flushall()
        id = other.publish("a", encode('"after"'))
        # A `reset`, and the event.
        events = deployment.got(deployment.clients["a",], 2)

        assert (events[-1].data, events[-1].last_event_id) == ('"after"', str(id))
    other.close()
    deployment.close()


def test_a_redis_that_lost_its_data_may_have_another_word(own_redis_server):
    """If a process that is new makes the first event after a FLUSHALL, the worker asks it."""
    deployment = Deployment(own_redis_server)
    deployment.emit("a", '"before"')
    deployment.got(deployment.clients["a",], 1)
    own_redis_server.client().flushall()
    emitter = Emitter(own_redis_server.url, prefix=deployment.prefix)
    id = emitter.emit("a", "after")
    events = deployment.got(deployment.clients["a",], 2)

    assert (events[-1].data, events[-1].last_event_id) == ('"after"', id)
    emitter.close()
    deployment.close()


def test_with_a_secret_the_word_is_no_use(redis_server):
    """Who may read all of Redis, and has seen other events, can still make none."""
    deployment = Deployment(redis_server, secret=SECRET)
    listener = deployment.raw.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(deployment.prefix + "a")
    listener.get_message(timeout=1)
    deployment.emit("a", '"genuine"')
    seen = listener.get_message(timeout=5)["data"]
    word = deployment.raw.hget(deployment.prefix + "meta", "word")
    stamp = seen.split()[2]
    id = str(deployment.ids[0])
    higher = f"{deployment.ids[0].ms + 1}-0"
    forged = [
        # The same event on another channel, with another id, with other data, and with the word.
        ("b", seen),
        ("a", seen.replace(id.encode(), higher.encode())),
        ("a", seen.replace(b'"genuine"', b'"forged"')),
        ("a", seen.replace(stamp, word)),
    ]
    for channel, payload in forged:
        deployment.forge(channel, payload)
    deployment.emit("a", '"last"')
    deployment.emit("b", '"last"')
    events = deployment.got(deployment.clients["a",], 5)
    others = deployment.got(deployment.clients["b",], 2)

    assert [event.data for event in events] == [
        '"genuine"',
        *[payload.decode() for channel, payload in forged if channel == "a"],
        '"last"',
    ]
    assert [event.data for event in others] == [seen.decode(), '"last"']
    # A copy of the very event is no new one.
    deployment.forge("a", seen)
    deployment.emit("a", '"after"')
    assert [event.data for event in deployment.got(deployment.clients["a",], 1)] == ['"after"']
    assert deployment.hub.metrics["lost"] == 0
    listener.close()
    deployment.close()


def test_with_a_secret_events_without_history_are_signed(redis_server):
    """There is no script then: the emitter signs, and what nobody has signed is data."""
    deployment = Deployment(redis_server, secret=SECRET, history=0)
    deployment.emit("a", '"genuine"')
    deployment.forge("a", b':- - -\ndata: "forged"\n\n')
    events = deployment.got(deployment.clients["a",], 2)

    assert [event.data for event in events] == ['"genuine"', ':- - -\ndata: "forged"\n\n']
    deployment.close()


@pytest.mark.parametrize("history", [0, 10])
@pytest.mark.parametrize("secret", ["", SECRET])
def test_what_emitters_send_is_genuine(redis_server, history, secret):
    """Events of every kind are taken for what they are, whatever the settings."""
    deployment = Deployment(redis_server, history=history, secret=secret)
    sent = [ServerSentEvent(raw="<p>\n7"), ServerSentEvent(7, event="é x", retry=9), Markup("<b>")]
    emitter = Emitter(redis_server.url, prefix=deployment.prefix, history=history, secret=secret)
    for data in sent:
        emitter.emit("a", data)
    events = deployment.got(deployment.clients["a",], 3)

    assert [(one.event, one.data) for one in events] == [
        ("message", "<p>\n7"),
        ("é x", "7"),
        ("message", "<b>"),
    ]
    emitter.close()
    deployment.close()


@pytest.mark.parametrize("secret", ["", SECRET])
def test_a_deployment_with_a_longer_prefix_moves_no_position(redis_server, secret):
    """A pattern matches its topics, too, and its ids are of another clock."""
    deployment = Deployment(redis_server, secret=secret)
    other = Emitter(redis_server.url, prefix=deployment.prefix + "b:", secret=secret)
    for number in range(3):
        deployment.emit("b:orders", str(number))
        other.emit("orders", number)
    events = deployment.got(deployment.clients["a", "b*"], 6)
    other.close()

    assert [event.data for event in events[::2]] == ["0", "1", "2"]
    assert [event.last_event_id for event in events[::2]] == list(map(str, deployment.ids))
    assert deployment.hub.position == deployment.ids[-1]
    deployment.close()


def test_processes_with_different_secrets_are_told(redis_server, caplog):
    """The log names the setting, once."""
    deployment = Deployment(redis_server, secret=SECRET)
    other = open_broker(
        redis_server.url, prefix=deployment.prefix, history=10, history_ttl=60.0, secret=SECRET * 2
    )
    other.publish("a", encode("1"))
    other.publish("a", encode("2"))
    deployment.got(deployment.clients["a",], 2)

    assert caplog.text.count("REDIS_EVENTS_SECRET") == 1
    other.close()
    deployment.close()


ids = st.sampled_from(["0-0", "1-0", FUTURE, "now", "soon", "end", "-"])
words = st.sampled_from([b"-", b"0" * 16, b"f" * 40, b"x", b""])
fields = st.lists(
    st.sampled_from(
        [b"data: 1\n", b"\n", b"id: end\n", b"retry: 1\n", b":forked 9-0\n", b"event: x\n", b"\r"]
        + [b"event: %b\n" % name.encode() for name in CONTROL_EVENTS]
    ),
    max_size=4,
)


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, str, str, bytes, bytes]:
    return draw(ids), draw(ids), draw(ids), draw(words), b"".join(draw(fields)) + b"\n"


#: As an application without history sends it.
harmless = st.just(("-", "-", "-", b"-", b"event: x\ndata: 1\n\n"))
forgeries = st.one_of(payloads(), harmless)
actions = st.one_of(
    st.tuples(st.just("emit"), st.sampled_from(["a", "b", "bb"]), st.none()),
    st.tuples(st.just("forge"), st.sampled_from(["a", "b", "bb", "$ticks", "$x"]), forgeries),
)


@pytest.mark.parametrize("deployment", ["", SECRET], indirect=True, ids=["word", "secret"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(actions, min_size=1, max_size=25))
def test_no_payload_does_more_than_arrive(deployment, given_actions):
    """Whatever is published raw: every client has each event once, in order, with its id."""
    expected: dict[tuple[str, ...], list[tuple[str, str | None]]] = {
        names: [] for names in deployment.clients
    }

    def written(word: str) -> str:
        now = deployment.ids[-1] if deployment.ids else None
        times = {"now": f"{now or 1}", "soon": f"{now.ms + 500 if now else 1}-0"}
        return times.get(word, word)

    for number, (action, channel, payload) in enumerate(given_actions):
        if action == "emit":
            deployment.emit(channel, str(number))
            arrives: tuple[str, str | None] = (str(number), str(deployment.ids[-1]))
        else:
            one, prev, other = map(written, payload[:3])
            start = f":{one} {prev} ".encode() + payload[3]
            id_line = b"" if other == "-" else f"id: {other}\n".encode()
            forged = start + b"\n" + id_line + payload[4]
            deployment.forge(channel, forged)
            # It may be an event without an id, as an application without history sends: then it
            # holds no more than data under a name that is not ours.  A secret signs that, too.
            accept = _refused if deployment.secret else _accepted
            read = Message.from_payload(channel, forged, accept)
            [event] = decode(read.frame)
            arrives = (event.data, None)
        for names, events in expected.items():
            exact = channel in names
            if exact or (names == ("a", "b*") and channel.startswith("b")):
                events.append(arrives)
    for names, wanted in expected.items():
        got = deployment.got(deployment.clients[names], len(wanted))
        assert [event.data for event in got] == [data for data, _ in wanted]
        assert not {event.event for event in got} & set(CONTROL_EVENTS)
        for event, (_, id) in zip(got, wanted, strict=True):
            assert id is None or event.last_event_id == id
    genuine = [id for id in deployment.ids if id is not None]
    assert not genuine or deployment.hub.position >= genuine[-1]
    assert deployment.hub.position is None or deployment.hub.position < Position(10**14)


def _refused(payload: bytes, found: Any) -> bool:
    return False


def _accepted(payload: bytes, found: Any) -> bool:
    rest = payload[found.end() :]
    lines = rest.removesuffix(b"\n").split(b"\n")
    names = [line.split(b": ")[0] for line in lines[:-1]]
    order = [b"event", b"retry", b"data"]
    ours = names == sorted(names, key=lambda n: order.index(n) if n in order else 9)
    single = names.count(b"event") <= 1 and names.count(b"retry") <= 1 and b"data" in names
    known = set(names) <= set(order) and b"\r" not in rest and rest.count(b"\n\n") == 1
    control = any(f"event: {name}".encode() in lines for name in CONTROL_EVENTS)
    return found["id"] is None and ours and single and known and not control
