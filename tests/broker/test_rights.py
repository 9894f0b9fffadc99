"""The rights that the documentation gives to Redis' user are enough."""

from __future__ import annotations

import re

from flask_redis_events import Emitter, endings
from flask_redis_events.broker import Broker
from flask_redis_events.clients import Subscription
from flask_redis_events.hub import Hub
from flask_redis_events.settings import Settings
from flask_redis_events.wire import NEVER
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels, went_live
from tests.support.processes import ROOT
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until


def documented_rights() -> list[str]:
    """Return the words that follow the user's name in the documentation."""
    text = (ROOT / "docs" / "deploying.rst").read_text("utf-8")
    found = re.search(r"ACL SETUSER events (on .*)", text)
    assert found is not None
    return found[1].split()


def use_slow_paths(server: RedisServer, broker: Broker) -> None:
    """Let the scripts meet what is rare: no last id, a long index, an eviction, a fork."""
    redis = server.client()
    redis.xadd("events:history:old", {"prev": "1-0", "frame": "data: x\n\n", "key": ""}, id="5-0")
    for name in ("slow", "old", *(f"c{number}" for number in range(1500))):
        id = broker.publish(name, encode("x"))
    redis.zadd("events:channels", {"ancient": 5})
    broker.publish("another", encode("x"))
    redis.delete("events:history:another", "events:last:another")
    [witness] = broker.replay(channels("slow"), last=1).messages
    assert id is not None
    assert broker.replay(channels("*"), after=witness.prev, witness=witness).messages
    assert broker.note_fork(id, overtaken=True) > id


def test_the_documented_rights_are_enough(own_redis_server: RedisServer):
    """Emitting, history, streams, presence, runs and disconnecting need no more."""
    server = own_redis_server.client()
    server.execute_command("ACL", "SETUSER", "events", *documented_rights())
    url = own_redis_server.url.replace("redis://", "redis://events:secret@")
    emitter = Emitter(url)
    hub = Hub(Settings(url=url, history_ttl=60.0), emitter.broker, None)
    client = Subscription(channels("orders"), held=True)
    hub.listen(client)
    assert went_live(client)
    client.start(client.floor)
    hub.worker.start()
    hub.worker.add(("", "orders"), "ada")
    wait_until(lambda: emitter.present("orders") == {"ada": 1})

    position = emitter.position()
    ids = [emitter.emit("orders", 1), emitter.emit("orders", 2, persist=False)]
    ids += emitter.emit_many([("orders", 3), ("other", 4)])
    assert [event.id for event in emitter.history("orders", after=position)] == [ids[0], ids[2]]
    assert len(emitter.history("o*", after=position)) == len(emitter.history("o*", limit=3)) == 3
    emitter.emit("prices", 1, key="EUR", keep="latest")
    emitter.emit("prices", 1, key="USD", keep="latest")
    emitter.remove("prices", "USD")
    emitter.remove("prices", "EUR")
    emitter.emit("prices", 1, key="EUR", keep="latest")
    assert len(emitter.broker.replay(channels("prices", "pri*"), state=True).messages) == 1
    with emitter.run("answer:1") as run:
        run.send("a token")
    assert emitter.run_status("answer:1") == "finished"
    emitter.broker.runs.sweep(["answer:2"], NEVER)
    assert emitter.run_status("answer:2") == "lost"
    emitter.request_stop("answer:1")
    emitter.disconnect(identity="ada")
    hub.worker.remove(("", "orders"), "ada")
    wait_until(lambda: emitter.present("orders") == {"ada": 0})
    emitter.broker.people.note("w", {("orders", "ada"): 0}, 0.0)
    wait_until(lambda: emitter.broker.people.left() or not emitter.present("orders"), 10)
    assert len(emitter.workers()) == 1
    assert len(client.take(5)) > 0
    client.close(endings.GONE)
    hub.close()
    use_slow_paths(own_redis_server, emitter.broker)
    denied = {entry["object"] for entry in server.acl_log()}
    emitter.close()

    # redis-py tells its version where it may, and does without.
    assert denied <= {"client|setinfo"}
