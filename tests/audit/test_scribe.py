"""The audit's scribe: it notes what the master has, and nothing that only a lost master has."""

from __future__ import annotations

from typing import cast

from flask_redis_events import Emitter
from flask_redis_events.wire import Position
from tests.audit.emitting import PREFIX
from tests.audit.ledger import Kept, Name, data
from tests.audit.scribe import Scribe
from tests.audit.stores import Store
from tests.support.servers import RedisServer


class Changing:
    """A store in which the first look at the master is at one server, and later ones at another."""

    def __init__(self, first: RedisServer, later: RedisServer) -> None:
        self._masters = [later, first]

    @property
    def master(self) -> RedisServer:
        return self._masters.pop() if len(self._masters) > 1 else self._masters[0]


def scribe(*masters: RedisServer) -> Scribe:
    return Scribe(cast(Store, Changing(*masters)))


def test_a_look_ends_with_a_failover(own_redis_server: RedisServer, redis_server: RedisServer):
    """A message that the lost master still has is not seen, and nothing else counts as gone."""
    name = Name("e", 1, "c")
    emitter = Emitter(own_redis_server.url, prefix=PREFIX)
    id = Position.parse(emitter.emit("c", data(name, 5)) or "")
    emitter.close()
    assert id is not None
    staying = scribe(own_redis_server, own_redis_server)
    failing = scribe(own_redis_server, redis_server)
    for each in (staying, failing):
        each.look()

    assert list(staying.seen) == [Kept(id, name)]
    assert len(staying.looks) == 1
    assert (failing.seen, failing.looks) == ({}, [])
