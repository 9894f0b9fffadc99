"""Replay against a plain model of the log: what a cursor gets, and when it is told of a loss.

The model keeps everything that was ever emitted, and decides by the definition: a cursor is covered
if every message after it, on the channels asked for, is still there.
"""

from __future__ import annotations

import secrets

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
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
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

NAMES = ["a", "ab", "c1"]
ASKED = st.lists(st.sampled_from(["a", "b", "ab", "c1", "a*", "c?", "*"]), min_size=1, max_size=3)
KEEP = 5


class Log(RuleBasedStateMachine):
    """Emits, trims, evicts, flushes, and asks."""

    server: RedisServer
    positions = Bundle("positions")

    @initialize(target=positions)
    def start(self):
        self.client = self.server.client()
        self.prefix = f"model-{secrets.token_hex(6)}:"
        self.broker = open_broker(self.server.url, prefix=self.prefix, history=KEEP, history_ttl=60)
        self.log: list[tuple[Position, str]] = []
        self.created = self.broker.replay([]).clock
        #: By channel: everything up to here may be gone.
        self.gone: dict[str, Position] = {}
        return self.created

    @rule(
        target=positions,
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=5),
        persist=st.sampled_from([True] * 4 + [False]),
    )
    def emit(self, names, persist):
        for name in names:
            id = self.broker.publish(name, encode("x"), persist=persist)
            assert id is not None
            if persist:
                self.log.append((id, name))
        return id

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 2))
    def trim(self, name, count):
        """What MAXLEN does when it comes to it, exactly."""
        self.client.xtrim(f"{self.prefix}history:{name}", maxlen=count, approximate=False)

    @rule(target=positions)
    def clock(self):
        return self.broker.replay([]).clock

    @precondition(lambda self: len(self.log) > 20)
    @rule(target=positions)
    def flush(self):
        # Nobody can empty a Redis within the millisecond of its last message, and then begin anew.
        newest = self.broker.replay([]).clock
        wait_until(lambda: self.now() > newest.ms)
        for key in self.client.scan_iter(match=f"{self.prefix}*"):
            self.client.delete(key)
        self.log.clear()
        self.created = self.broker.replay([]).clock
        return self.created

    def now(self):
        seconds, microseconds = self.client.time()
        return seconds * 1000 + microseconds // 1000

    @rule(asked=ASKED, cursor=positions)
    def resume(self, asked, cursor):
        snapshot = self.broker.replay(channels(*asked), after=cursor)
        wanted = [
            (id, name)
            for id, name in self.log
            if id > cursor and any(matches(pattern, name) for pattern in asked)
        ]
        kept = [
            (id, name)
            for id, name in wanted
            if self.client.xrange(f"{self.prefix}history:{name}", str(id), str(id))
        ]

        assert [(m.id, m.channel) for m in snapshot.messages] == kept
        covered = kept == wanted and cursor >= self.created
        assert (snapshot.reason is None) == covered, (snapshot.lost, cursor, wanted, kept)

    @rule(cursor=consumes(positions))
    def forget(self, cursor):
        """Positions that nobody comes back with."""

    def teardown(self):
        if hasattr(self, "broker"):
            for key in self.client.scan_iter(match=f"{self.prefix}*"):
                self.client.delete(key)
            self.client.close()
            self.broker.close()


@pytest.mark.timeout(180)
def test_a_cursor_is_reset_exactly_when_something_is_missing(redis_server):
    """Neither a loss in silence nor a false alarm, over random lives of a log."""
    Log.server = redis_server
    run_state_machine_as_test(
        Log,
        settings=settings(
            max_examples=120,
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
        ),
    )
