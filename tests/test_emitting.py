"""Emitting while Redis is away, slow or restarted: an event is sent once, or `emit` raises."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from typing import Any

import pytest
import redis

from flask_redis_events import BrokerError, ConfigError, Emitter, FieldError, StateFull
from flask_redis_events.broker import commands, scripts
from flask_redis_events.broker.command_pool import CommandPool
from flask_redis_events.concurrency import spawn
from flask_redis_events.wire import Position
from tests.support.factories import channels
from tests.support.relay import Relay
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until


def kept(server: RedisServer, channel: str = "a") -> list[bytes]:
    """Return the frames in the history of a channel."""
    entries: Any = server.client().xrange(f"events:history:{channel}")
    return [fields[b"frame"] for _, fields in entries]


def emit_beside(emitter: Emitter, outcome: list[object]) -> threading.Thread:
    """Emit in another thread, which appends the id or the error to `outcome`."""

    def emit() -> None:
        try:
            outcome.append(emitter.emit("a", "once"))
        except BrokerError as error:
            outcome.append(error)

    return spawn("test", emit)


@pytest.mark.redis(appendonly=True)
def test_a_restart_is_waited_for(own_redis_server):
    """`emit` waits until Redis is back, and the event is in history once."""
    emitter = Emitter(own_redis_server.url)
    emitter.emit("a", "before")
    own_redis_server.stop()
    outcome: list[object] = []
    thread = emit_beside(emitter, outcome)
    own_redis_server.start()
    thread.join(15)

    assert isinstance(outcome[0], str)
    assert kept(own_redis_server).count(b'data: "once"\n\n') == 1
    emitter.close()


def test_a_lost_answer_does_not_publish_twice(own_redis_server):
    """A call that is repeated while Redis is frozen publishes once, although all copies arrive."""
    emitter = Emitter(own_redis_server.url + "?socket_timeout=0.3")
    emitter.emit("a", "before")
    subscriber = own_redis_server.client().pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe("events:a")
    subscriber.get_message(timeout=1)
    own_redis_server.pause()
    outcome: list[object] = []
    thread = emit_beside(emitter, outcome)
    thread.join(1.5)
    own_redis_server.resume()
    thread.join(15)
    last = emitter.emit("a", "after")
    wait_until(lambda: len(kept(own_redis_server)) >= 3)
    published: list[bytes] = []
    while not published or f":{last} ".encode() not in published[-1]:
        message = subscriber.get_message(timeout=5)
        if message is not None:
            published.append(message["data"])

    assert kept(own_redis_server) == [
        b'data: "before"\n\n',
        b'data: "once"\n\n',
        b'data: "after"\n\n',
    ]
    assert len(published) == 2
    subscriber.close()
    emitter.close()


def test_a_master_that_became_a_replica_is_left(own_redis_server):
    """`emit` tries again on new connections, also where Redis 6.2 wraps the script's error."""
    client = own_redis_server.client()
    with Relay(own_redis_server.port) as relay:
        emitter = Emitter(relay.url)
        emitter.emit("a", "before")
        client.replicaof("127.0.0.1", "1")
        refusals: list[bytes] = []

        def as_redis_62(data: bytes) -> bytes:
            if not data.startswith(b"-READONLY"):
                return data
            refusals.append(data)
            client.replicaof("NO", "ONE")
            call = b"-ERR Error running script (call to f_0123): @user_script:1: @user_script: 1: "
            return call + data

        relay.rewrite = as_redis_62

        assert emitter.emit("a", "after") is not None
        assert len(refusals) == 1
        emitter.close()


def frames(number: int) -> list[tuple[str, bytes]]:
    return [("a", b"data: %d\n\n" % one) for one in range(number)]


def test_a_repetition_is_recognised_whatever_was_emitted_meanwhile(own_redis_server):
    """The first call is recognised even if history does not hold its event any more."""
    other = Emitter(own_redis_server.url, history=10)
    with Relay(own_redis_server.port) as relay:
        emitter = Emitter(relay.url, history=10)
        emitter.emit("a", "before")
        relay.meanwhile = lambda: other.emit_many([("a", number) for number in range(300)])
        relay.losing = 1
        id = emitter.emit("a", "once")
        relay.meanwhile = lambda: None
        relay.losing = 2
        again = emitter.emit("a", "twice lost", persist=False)
        emitter.close()
    after = other.emit("a", "after")
    count = own_redis_server.client().xinfo_stream("events:history:a")["entries-added"]

    assert count == 303
    assert id is not None
    assert again is not None
    assert after is not None
    assert Position.parse(id) < Position.parse(again) < Position.parse(after)
    other.close()


@pytest.mark.parametrize("persist", [True, False])
def test_many_events_whose_answer_was_lost_are_published_once(own_redis_server, persist):
    """`emit_many` of more events than a history holds publishes each once, and in order."""
    subscriber = own_redis_server.client().pubsub(ignore_subscribe_messages=True)
    subscriber.subscribe("events:a")
    subscriber.get_message(timeout=1)
    with Relay(own_redis_server.port) as relay:
        broker = Emitter(relay.url, history=100).broker
        broker.publish("a", b"data: first\n\n", persist=persist)
        relay.losing = 1
        ids = broker.publish_many(frames(2400), persist=persist)
        broker.close()
    published: list[bytes] = []
    while len(published) < 2401:
        published.append(subscriber.get_message(timeout=5)["data"])

    assert subscriber.get_message(timeout=0.2) is None
    assert [one.partition(b"data: ")[2] for one in published[1:]] == [
        b"%d\n\n" % number for number in range(2400)
    ]
    assert [one.split()[0].decode() for one in published[1:]] == [f":{id}" for id in ids]
    assert len(set(ids)) == 2400
    subscriber.close()


def publish(server: RedisServer, call: str, frame: str, *, keep: str = "") -> Any:
    """Run the script as an attempt at a call of one slot; `keep` is what it does to the state."""
    broker: Any = Emitter(server.url, history=1000).broker
    script = broker._commands._scripts.texts["keep" if keep else "publish"]
    names = ["ids", "call:slot", "meta", "channels", "last:a", "history:a"]
    arguments: list[Any] = [call, 1, 1, "a", 1, " p" if keep else "", frame]
    if keep:
        names = ["states", "state:a", *names]
        arguments = [1, 10_000, 60_000, keep, *arguments]
    keys = [f"events:{name}" for name in names]
    return server.client().eval(script, len(keys), *keys, *arguments)


def test_attempts_may_arrive_in_any_order(own_redis_server):
    """Attempts at one call are carried out once, and those of a call that was given up never."""
    emitter = Emitter(own_redis_server.url)
    emitter.emit("b", "makes the clock")
    first = publish(own_redis_server, "000000000009", "data: 9\n\n")

    assert publish(own_redis_server, "000000000009", "data: 9\n\n") == first
    assert publish(own_redis_server, "000000000008", "data: 8\n\n") == b""
    assert publish(own_redis_server, "000000000009", "data: 9\n\n") == first
    assert publish(own_redis_server, "000000000010", "data: 10\n\n") > first
    assert publish(own_redis_server, "000000000009", "data: 9\n\n") == b""
    assert kept(own_redis_server) == [b"data: 9\n\n", b"data: 10\n\n"]
    emitter.close()


def test_slots_are_few_and_forgotten(own_redis_server):
    """Redis remembers one number for each call at a time, for some minutes."""
    emitter = Emitter(own_redis_server.url)
    for number in range(50):
        emitter.emit("a", number)
    client = own_redis_server.client()
    [slot] = client.keys("events:call:*")

    assert client.get(slot).startswith(b"000000000050 ")
    assert 590_000 < client.pttl(slot) <= 600_000
    emitter.close()


def test_without_redis_it_raises_within_its_patience(own_redis_server, monkeypatch):
    """Without Redis `emit` raises once its patience is over, and names the setting."""
    monkeypatch.setattr(commands, "PATIENCE", 0.5)
    own_redis_server.stop()
    emitter = Emitter(own_redis_server.url)
    started = time.monotonic()
    with pytest.raises(BrokerError, match="Check REDIS_EVENTS_URL"):
        emitter.emit("a", 1)

    assert time.monotonic() - started < 5


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    """A server that accepts the connection and never answers is an error, too."""
    monkeypatch.setattr(commands, "PATIENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        emitter = Emitter(f"redis://127.0.0.1:{hole.getsockname()[1]}/0?socket_timeout=0.2")
        with pytest.raises(BrokerError, match="could not be reached"):
            emitter.emit("a", 1)


def test_what_has_no_id_is_sent_once_or_not_at_all(own_redis_server):
    """Without history an event is never repeated, because Redis could not recognise it."""
    with Relay(own_redis_server.port) as relay:
        emitter = Emitter(relay.url, history=0)
        emitter.emit("a", "before")
        relay.losing = 1
        with pytest.raises(BrokerError):
            emitter.emit("a", "once")
        emitter.close()


@pytest.mark.parametrize("history", [0, 100])
def test_a_connection_that_was_just_closed_delays_an_emit_only(own_redis_server, history):
    """A connection that was in use a moment ago is not looked at; the call is sent again."""
    emitter, client = Emitter(own_redis_server.url, history=history), own_redis_server.client()
    with client.pubsub() as pubsub:
        pubsub.subscribe("events:a")
        for number in range(3):
            emitter.emit("a", number)
            client.client_kill_filter(_type="normal", skipme=True)
        got = [pubsub.get_message(timeout=5) for _ in range(4)][1:]

    assert [b"data: %d" % number in got[number]["data"] for number in range(3)] == [True] * 3
    emitter.close()


def test_scripts_are_loaded_again(own_redis_server):
    """Scripts are loaded again when the server lacks them, as after a failover or SCRIPT FLUSH."""
    emitter = Emitter(own_redis_server.url)
    emitter.emit("a", 1)
    own_redis_server.client().script_flush()

    assert emitter.emit("a", 2)
    emitter.close()


def test_scripts_are_loaded_where_they_run(own_redis_server, redis_server, prefix, monkeypatch):
    """Connections may lead to different servers, as in a failover."""
    emitter = Emitter(own_redis_server.url, prefix=prefix)
    emitter.emit("a", 1)
    own_redis_server.client().script_flush()
    pool: CommandPool = emitter.broker._commands.process.pool  # type: ignore[attr-defined]
    other = CommandPool(lambda: redis.Connection(port=redis_server.port), 1)
    lends = itertools.cycle([pool.lend, other.lend])
    monkeypatch.setattr(pool, "lend", lambda **given: next(lends)(**given))

    assert emitter.emit("a", 2)
    emitter.close()
    other.disconnect()


def test_brokers_share_scripts(own_redis_server):
    """Redis never forgets a script, so only those that publish have settings in their texts."""
    for number in range(3):
        emitter = Emitter(own_redis_server.url, prefix=f"{number}:")
        emitter.emit("a", 1)
        emitter.close()

    cached = own_redis_server.client().info("memory")["number_of_cached_scripts"]
    assert cached == len(scripts.NAMES) + 2 * len(["publish", "run", "keep"])


def test_many_emit_at_once(own_redis_server):
    """With more threads than connections, a call waits for a connection, and no event is lost."""
    emitter = Emitter(own_redis_server.url)
    ids: list[str | None] = []
    threads = [
        spawn("test", lambda: ids.extend(emitter.emit("a", n) for n in range(20)))
        for _ in range(40)
    ]
    for thread in threads:
        thread.join(20)

    assert len(set(ids)) == 800
    assert own_redis_server.client().info("clients")["connected_clients"] <= 20
    emitter.close()


def test_many_events_are_sent_once(own_redis_server):
    """`emit_many` sends each event once, even if the script is missing or the answer is lost."""
    emitter = Emitter(own_redis_server.url + "?socket_timeout=0.3")
    ids = emitter.emit_many([("a", number) for number in range(50)])
    own_redis_server.client().script_flush()
    own_redis_server.pause()
    outcome: list[list[str | None]] = []
    thread = spawn("test", lambda: outcome.append(emitter.emit_many([("a", 50), ("a", 51)])))
    thread.join(1)
    own_redis_server.resume()
    thread.join(15)

    assert len(set(ids)) == 50
    assert kept(own_redis_server) == [b"data: %d\n\n" % number for number in range(52)]
    assert len([id for id in outcome[0] if id]) == 2
    emitter.close()


def test_many_events_are_checked_before_any_is_sent(own_redis_server):
    """If one event is invalid, none is sent."""
    emitter = Emitter(own_redis_server.url)
    with pytest.raises(FieldError):
        emitter.emit_many([("a", 1), ("a", float("nan"))])
    no_pairs: tuple[Any, ...] = ("ab", ("a",), None)
    for no_pair in no_pairs:
        with pytest.raises(FieldError, match="takes \\(channel, data\\) pairs"):
            emitter.emit_many([("a", 1), no_pair])

    assert emitter.emit_many([]) == []
    assert kept(own_redis_server) == []
    emitter.close()


def test_the_position_is_now(redis_server, prefix):
    """What was emitted before is at it or before it, and what is emitted later comes after it."""
    emitter = Emitter(redis_server.url, prefix=prefix)
    first = emitter.emit("a", 1)
    position = emitter.position()
    second = emitter.emit("a", 2)
    positions = [Position.parse(id or "") for id in (first, position, second)]

    assert positions[0] <= positions[1] < positions[2]
    assert [event.id for event in emitter.history("a", after=position)] == [second]
    emitter.close()


def test_without_history_there_is_no_position(redis_server, prefix):
    """A page cannot resume there."""
    emitter = Emitter(redis_server.url, prefix=prefix, history=0)

    assert emitter.position() is None
    emitter.close()


def test_an_event_that_is_too_large_is_refused(own_redis_server):
    """The error says what to do instead; none of several events is sent."""
    emitter = Emitter(own_redis_server.url, max_event=2000)
    emitter.emit("a", "x" * 1980)
    text = "REDIS_EVENTS_MAX_EVENT allows 2000: emit an id or a URL"
    with pytest.raises(FieldError, match=text):
        emitter.emit("a", "x" * 2000)
    with pytest.raises(FieldError, match=text):
        emitter.emit_many([("a", 1), ("a", "x" * 2000)])

    assert len(kept(own_redis_server)) == 1
    emitter.close()


# -- the newest value of a key ---------------------------------------------------------------------


def state(emitter: Emitter, *names: str) -> list[tuple[str | None, Any]]:
    """Return the keys and values that the state of channels has."""
    found = emitter.broker.replay(channels(*names), state=True)
    return [(message.key, message.value) for message in found.messages]


def test_every_way_to_emit_may_keep(redis_server, prefix):
    """`emit_html`, and single events of `emit_many`, have the same options as `emit`."""
    emitter = Emitter(redis_server.url, prefix=prefix)
    emitter.emit("a", 1, key="p", keep="latest")
    emitter.emit_html("a", "<b>", key="q", keep="latest")
    emitter.emit_many(
        [
            ("a", 2, {"key": "r", "keep": "latest", "event": "price", "retry": 5000}),
            ("a", 3),
            ("a", 4, {"key": "p", "keep": "latest"}),
            ("a", 5, {"key": "p"}),
        ]
    )
    kept = emitter.broker.replay(channels("a"), state=True).messages

    assert state(emitter, "a") == [("q", "<b>"), ("r", 2), ("p", 4)]
    assert kept[1].event == "price"
    assert emitter.remove("a", "r") == emitter.history("a")[-1].id
    assert state(emitter, "a") == [("q", "<b>"), ("p", 4)]
    emitter.close()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"keep": "newest", "key": "p"}, "keep must be \"latest\" or None, not 'newest'"),
        ({"keep": True, "key": "p"}, 'keep must be "latest" or None, not True'),
        ({"keep": "latest"}, 'keep="latest" needs key='),
        ({"keep": "latest", "key": ""}, "key must be a str"),
        ({"keep": "latest", "key": 7}, "key must be a str"),
        ({"keep": "latest", "key": "a\nb"}, "key must be a str"),
        ({"key": "\ud800"}, "key must be a str .* lone surrogates, not '.ud800'"),
        ({"key": "é" * 513}, "A key has 1024 bytes at most; 'éé.*'… has 1026"),
        ({"keep": "latest", "key": "p", "persist": False}, "needs persist=True"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_kept_is_an_error(redis_server, prefix, options: Any, words: str):
    """Before anything is sent, and with the words that say what to do."""
    emitter = Emitter(redis_server.url, prefix=prefix)
    one: Any = ("a", 1, {name: value for name, value in options.items() if name != "persist"})

    with pytest.raises(FieldError, match=words):
        emitter.emit("a", 1, **options)
    with pytest.raises(FieldError, match=words):
        emitter.emit_many([("a", 1), one], persist=options.get("persist", True))
    assert emitter.history("a") == []
    emitter.close()


@pytest.mark.parametrize("wrong", [("a", 1, {"persist": False}), ("a", 1, "p"), ("a", 1, {}, 2)])
def test_options_of_one_event_are_checked(redis_server, prefix, wrong: Any):
    """The error names the options that there are."""
    emitter = Emitter(redis_server.url, prefix=prefix)

    with pytest.raises(FieldError, match=r"with a dict of .*key, keep.*; not \('a', 1"):
        emitter.emit_many([wrong])
    emitter.close()


def test_a_full_state_is_an_error_of_its_own(redis_server, prefix):
    """The limits are the emitter's arguments, and those are checked like settings."""
    emitter = Emitter(redis_server.url, prefix=prefix, state_keys=1, state_bytes=2000)
    emitter.emit("a", 1, key="p", keep="latest")

    with pytest.raises(StateFull, match="REDIS_EVENTS_STATE_KEYS"):
        emitter.emit("a", 1, key="q", keep="latest")
    with pytest.raises(StateFull, match="REDIS_EVENTS_STATE_BYTES"):
        emitter.emit("a", "x" * 2000, key="p", keep="latest")
    assert state(emitter, "a") == [("p", 1)]
    wrong_limits: list[dict[str, Any]] = [{"state_keys": -1}, {"state_bytes": 1}, {"state_ttl": 0}]
    for wrong in wrong_limits:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Emitter(redis_server.url, **wrong)
    emitter.close()


def test_a_kept_event_whose_answer_was_lost_is_published_once(own_redis_server):
    """Also if its repetition would find the state full."""
    other = Emitter(own_redis_server.url, state_keys=2)
    other.emit("a", 0, key="p", keep="latest")
    with Relay(own_redis_server.port) as relay:
        emitter = Emitter(relay.url, state_keys=2)
        emitter.position()
        relay.losing = 1
        id = emitter.emit("a", 1, key="q", keep="latest")
        again = emitter.emit("a", 2, key="p", keep="latest")
        emitter.close()

    assert [event.id for event in other.history("a")][1:] == [id, again]
    assert state(other, "a") == [("q", 1), ("p", 2)]
    other.close()


def test_the_repetition_of_a_kept_call_changes_nothing(own_redis_server):
    """Whatever was emitted, removed or refused between two attempts at a call."""
    server, client = own_redis_server, own_redis_server.client()
    emitter = Emitter(server.url, state_keys=1)
    emitter.emit("b", "makes the clock")
    first = publish(server, "000000000009", "data: 9\n\n", keep="k")
    assert publish(server, "000000000009", "data: 9\n\n", keep="k") == first
    emitter.remove("a", "p")
    emitter.emit("a", 10, key="q", keep="latest")

    assert publish(server, "000000000009", "data: 9\n\n", keep="k") == first
    assert publish(server, "000000000008", "data: 8\n\n", keep="k") == b""
    assert state(emitter, "a") == [("q", 10)]
    # A refusal is no call that was carried out.
    assert publish(server, "000000000011", "data: 11\n\n", keep="k") == [1, b"keys"]
    emitter.remove("a", "q")
    assert publish(server, "000000000011", "data: 11\n\n", keep="k") > first
    assert state(emitter, "a") == [("p", 11)]
    assert client.hget("events:state:a", "") == str(1 + 32 + len("data: 11\n\n")).encode()
    emitter.close()


def test_an_event_that_is_not_kept_runs_the_plain_script(own_redis_server):
    """What a state costs is paid by those who use it."""
    client = own_redis_server.client()
    emitter = Emitter(own_redis_server.url)
    emitter.emit("a", 0, key="p", keep="latest")
    client.config_resetstat()
    emitter.emit("a", 1, key="p")
    emitter.emit_many([("a", 2), ("b", 3, {"key": "p"})])
    used = {name for name in client.info("commandstats") if name.startswith("cmdstat_h")}

    # The stamp's word and, for a new channel, where ids began.
    assert used == {"cmdstat_hmget"}
    assert state(emitter, "a", "b") == [("p", 0)]
    emitter.close()
