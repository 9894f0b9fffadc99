"""What a worker does at each renewal of its lease."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flask_redis_events.broker import Broker, open_broker
from flask_redis_events.reports import Reports
from flask_redis_events.wire import BEGINNING
from flask_redis_events.workers import Worker
from tests.support.waiting import wait_until


@pytest.fixture
def broker(redis_server, prefix) -> Iterator[Broker]:
    broker = open_broker(redis_server.url, prefix=prefix, history=10, history_ttl=60.0)
    yield broker
    broker.close()


@pytest.fixture
def lapses() -> list[bool]:
    return []


@pytest.fixture
def worker(broker, monkeypatch, lapses) -> Iterator[Worker]:
    monkeypatch.setattr("flask_redis_events.workers.worker.RENEWAL", 0.2)
    worker = Worker(
        broker,
        Reports(None),
        describe=dict,
        viewed=lambda: ((), BEGINNING),
        on_lapse=lambda: lapses.append(True),
        grace=1,
    )
    worker.start()
    worker.add(["room", "other"], "ada")
    wait_until(lambda: broker.people.present("room"))
    yield worker
    worker.stop()


@pytest.mark.parametrize("joins", [False, True], ids=["nobody comes", "somebody comes"])
def test_what_redis_evicts_is_noted_again(worker, broker, redis_server, prefix, lapses, joins):
    """Also if the channel's key is there again because others have come."""
    redis_server.client().delete(f"{prefix}present:room")
    if joins:
        broker.people.renew("other", "", 60, first=True)
        broker.people.note("other", {("room", "bob"): 1}, 60)

    wait_until(lambda: broker.people.present("room").get("ada") == 1)
    assert broker.people.present("other") == {"ada": 1}
    assert lapses == []


def test_a_lease_that_is_gone_is_told(worker, broker, redis_server, prefix, lapses):
    """Redis may have lost other data with it; the worker begins anew, and is there again."""
    client = redis_server.client()
    client.delete(*client.scan_iter(f"{prefix}*"))

    wait_until(lambda: broker.people.present("room") == {"ada": 1})
    assert lapses == [True]
