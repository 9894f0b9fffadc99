"""Random lives of a log, with evictions and a clock that jumps, against a plain model.

The model keeps everything that was ever emitted.  Nothing may be lost in silence, whatever happens;
and as long as Redis evicts nothing, no client may be told of a loss that is none.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_redis_events.broker import open_broker
from flask_redis_events.channels import matches
from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import encode
from tests.support.factories import channels
from tests.support.travel import TravellingRedis

ALL = ("history", "last", "channels", "ids", "meta")
NAMES = ["a", "ab", "c1"]
#: What Redis may evict in one life.
KINDS = st.sampled_from([(), ("history",), ("last",), ("history", "last", "channels"), ALL])
ASKED = st.lists(st.sampled_from(["a", "b", "ab", "c1", "a*", "c?"]), min_size=1, max_size=3)
TTL, SILENCE = 60, 600
PREFIX = "lives:"


class Log(RuleBasedStateMachine):
    """Emits, travels in time, evicts, and asks."""

    server: TravellingRedis
    positions = Bundle("positions")

    @initialize(target=positions, kinds=KINDS, travels=st.booleans())
    def start(self, kinds, travels):
        self.kinds, self.travels = kinds, travels
        self.client = self.server.client()
        self.server.travel(-self.server.travelled)
        self.client.flushall()
        self.broker = open_broker(
            self.server.url, prefix=PREFIX, history=100, history_ttl=TTL, silence_ttl=SILENCE
        )
        self.log: list[tuple[Position, str]] = []
        self.evicted: set[str] = set()
        self.latest = 0.0
        self.position = self.broker.replay([]).clock
        return self.position

    @rule(
        target=positions,
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
        persist=st.sampled_from([True] * 4 + [False]),
    )
    def emit(self, names, persist):
        ids = self.broker.publish_many([(name, encode("x")) for name in names], persist=persist)
        for id, name in zip(ids, names, strict=True):
            assert id is not None
            assert id > self.position
            self.position = id
            if persist:
                self.log.append((id, name))
        return ids[0]

    @rule(target=positions)
    def clock(self):
        return self.broker.replay([]).clock

    @precondition(lambda self: self.log and self.travels)
    @rule(seconds=st.sampled_from([0.01, 1, 5, 11, 30, 61, 75, 300, 640, 1300]))
    def forward(self, seconds):
        self.travel(seconds)

    @precondition(lambda self: self.log and self.travels)
    @rule(seconds=st.sampled_from([0.01, 1, 11, 61, 300, 1300]))
    def back(self, seconds):
        self.travel(-seconds)

    def travel(self, seconds):
        self.server.travel(seconds)
        self.latest = max(self.latest, self.now())

    def now(self) -> float:
        seconds, microseconds = self.client.time()
        return seconds * 1000 + microseconds // 1000

    @precondition(lambda self: self.log and self.kinds)
    @rule(
        kind=st.sampled_from(ALL),
        name=st.sampled_from(NAMES),
        both=st.booleans(),
    )
    def evict(self, kind, name, both):
        if kind not in self.kinds or not self.knows_the_clock(without=kind):
            return
        self.evicted.add(kind)
        channels = {"history", "last"}
        if kind not in channels:
            self.client.delete(PREFIX + kind)
            return
        for one in channels.intersection(self.kinds) if both else [kind]:
            self.client.delete(f"{PREFIX}{one}:{name}")

    def knows_the_clock(self, *, without: str) -> bool:
        """Say whether one of the three keys is left that show how far ids have come."""
        left = [kind for kind in ("ids", "meta") if self.client.exists(PREFIX + kind)]
        # An index that was evicted knows but the channels that have kept a message since.
        left += [] if "channels" in self.evicted else ["channels"]
        return bool({*left} - {without})

    @precondition(lambda self: self.log)
    @rule(asked=ASKED, cursor=positions)
    def resume(self, asked, cursor):
        snapshot = self.broker.replay(channels(*asked), after=cursor)
        wanted = [
            (id, name)
            for id, name in self.log
            if id > cursor and any(matches(pattern, name) for pattern in asked)
        ]
        got = [(message.id, message.channel) for message in snapshot.messages]

        assert set(got) <= set(wanted)
        assert got == sorted(got)
        if snapshot.reason is None:
            assert got == wanted
        elif not self.evicted and not self.old(cursor):
            assert got != wanted, snapshot.lost

    def old(self, cursor: Position) -> bool:
        """Say whether a position is older than the proof of silence."""
        # What has expired while the clock was ahead does not come back with it.
        latest = max(self.now(), self.latest, self.position.ms)
        return latest - cursor.ms > SILENCE * 1000 - 100

    def teardown(self):
        if hasattr(self, "broker"):
            self.client.close()
            self.broker.close()


@pytest.mark.timeout(240)
def test_nothing_is_lost_in_silence(travelling_redis):
    """Neither an eviction nor a clock that jumps hides a loss from a client."""
    Log.server = travelling_redis
    run_state_machine_as_test(
        Log,
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        ),
    )
