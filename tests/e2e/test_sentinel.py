"""A failover by a real Sentinel trio, under load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.sentinel import SentinelTrio
from tests.support.servers import Gunicorn
from tests.support.sse_client import EventSource
from tests.support.waiting import wait_until

APP = "tests.support.apps.behind_sentinel:create_app()"


@pytest.mark.timeout(180)
def test_a_failover_under_load(tmp_path: Path):
    """Streams stay open through a failover; replicated messages arrive once and in order."""
    with SentinelTrio(tmp_path) as trio:
        env = {"TEST_SENTINELS": json.dumps(trio.addresses)}
        app = "tests.support.apps.behind_sentinel:create_app()"
        with (
            Gunicorn(app, workers=1, env=env) as server,
            httpx.Client(base_url=server.url, timeout=30) as http,
            EventSource(server.url + "/channel/x") as one,
            EventSource(server.url + "/channel/x") as two,
        ):
            for source in (one, two):
                source.wait_for(lambda events: len(events) == 1)
            emitted = []
            for number in range(300):
                if number == 100:
                    # A message that is not yet replicated would be lost with the master.
                    assert trio.client().wait(1, 5000) == 1
                    trio.fail_over()
                if http.post("/emit/x", json=number).status_code == 200:
                    emitted.append(number)

            def complete(events: list) -> bool:
                data = [e.data for e in events if e.event == "message"]
                return bool(data) and data[-1] == str(emitted[-1])

            for source in (one, two):
                source.wait_for(complete, 30)

                assert source.data == emitted
                assert source.connections == 1
                assert not [e for e in source.events if e.event == "reset"]
            assert emitted == list(range(300))
            assert http.get("/metrics").json()["connected"] >= 2


@pytest.mark.timeout(180)
def test_a_failover_to_a_replica_that_lags(tmp_path: Path):
    """After a failover that lost messages, clients that had not received them are reset."""
    with SentinelTrio(tmp_path) as trio:
        env = {"TEST_SENTINELS": json.dumps(trio.addresses)}
        with (
            Gunicorn(
                "tests.support.apps.behind_sentinel:create_app()", workers=1, env=env
            ) as server,
            httpx.Client(base_url=server.url, timeout=30) as http,
            EventSource(server.url + "/channel/x") as there,
        ):
            there.wait_for(lambda events: len(events) == 1)

            def emit(*numbers: int) -> None:
                for number in numbers:
                    assert http.post("/emit/x", json=number).status_code == 200
                there.wait_for(lambda _: there.data[-1:] == [numbers[-1]], 30)

            emit(0, 1, 2)
            assert trio.client().wait(1, 5000) == 1
            before = there.last_event_id
            trio.hold_replica_back()
            emit(3, 4)
            trio.fail_over_to_what_lags()
            emit(5)

            assert there.data == [0, 1, 2, 3, 4, 5]
            told = [event.data for event in there.events if event.event == "reset"]
            # It has had everything, whether the worker reconnected before the next event or after.
            assert told == []

            def come_back(url: str = server.url + "/channel/x") -> tuple[list[Any], list[str]]:
                with EventSource(url, last_event_id=before) as back:
                    back.wait_for(lambda _: back.data[-1:] == [5])
                    return back.data, [e.data for e in back.events if e.event == "reset"]

            # The worker that received it still has it in memory.
            assert come_back() == ([3, 4, 5], [])
            old = set(server.worker_pids())
            server.reload()
            wait_until(lambda: server.worker_pids() and old.isdisjoint(server.worker_pids()), 20)
            assert come_back() == ([5], ['{"reason":"forked"}'])
