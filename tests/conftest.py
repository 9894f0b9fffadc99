"""Fixtures for all tests, and settings that apply to all of them."""

from __future__ import annotations

import importlib.util
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.monkey
import hypothesis
import pytest

from flask_redis_events import concurrency
from tests.support.connection import Connection
from tests.support.servers import RedisServer, redis_binary
from tests.support.travel import TravellingRedis

#: The packages that these tests need are installed by tox's environment `guests` alone.
collect_ignore = [] if importlib.util.find_spec("celery") else ["guests", "docs"]

# The time of an example depends on the load of the machine, so there is no deadline.
hypothesis.settings.register_profile("redis-events", deadline=None)
hypothesis.settings.load_profile("redis-events")


def pytest_report_header() -> str:
    threads = "greenlets" if gevent.monkey.is_module_patched("threading") else "threads"
    return f"redis: {os.environ.get('TEST_REDIS_URL') or redis_binary()}, under {threads}"


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Refuse names that differ from process to process, because pytest-xdist compares them."""
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"Give the cases of this test ids without addresses: {item}")


def pytest_timeout_set_timer(item: Any, settings: Any) -> bool | None:
    """Under gevent, raise the timeout in the greenlet of the test.

    gevent would run the handler of pytest-timeout's signal in its hub, where an exception does not
    end the test.
    """
    if not gevent.monkey.is_module_patched("threading") or not settings.timeout:
        return None
    too_long = pytest.fail.Exception(f"Timeout (>{settings.timeout}s)", pytrace=True)
    item.cancel_timeout = gevent.Timeout.start_new(settings.timeout, too_long).close
    return True


def _new_redis(directory: Path, **options: Any) -> RedisServer:
    """Return a server, not yet started; on a machine without Redis the test fails."""
    try:
        return RedisServer(directory, **options)
    except RuntimeError as exc:
        pytest.fail(str(exc), pytrace=False)


@pytest.fixture
def gevent_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package uses gevent's loop in this test, whether gevent has patched the process or not.

    The loop runs whenever the test sleeps or joins, and so in `wait_until`.
    """
    monkeypatch.setattr(concurrency, "patched", lambda: True)
    monkeypatch.setattr(time, "sleep", gevent.sleep)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A connection of which the test holds both ends."""
    connection = Connection()
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that all tests share, so no test may stop or flush it; each has its own `prefix`."""
    url = os.environ.get("TEST_REDIS_URL")
    directory = tmp_path_factory.mktemp("redis")
    with RedisServer(url=url) if url else _new_redis(directory) as server:
        yield server


@pytest.fixture
def own_redis_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test to stop, flush or freeze; `@pytest.mark.redis(…)` gives its options."""
    marker = request.node.get_closest_marker("redis")
    directory = tmp_path / "redis"
    directory.mkdir()
    with _new_redis(directory, **(marker.kwargs if marker else {})) as server:
        yield server


@pytest.fixture
def travelling_redis(tmp_path: Path) -> Iterator[TravellingRedis]:
    """A Redis for one test whose clock the test sets."""
    if missing := TravellingRedis.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    directory = tmp_path / "redis"
    directory.mkdir()
    with TravellingRedis(directory) as server:
        yield server


@pytest.fixture
def prefix(redis_server: RedisServer) -> Iterator[str]:
    """A REDIS_EVENTS_PREFIX that no other test uses; its keys are deleted afterwards."""
    prefix = f"test-{secrets.token_hex(6)}:"
    yield prefix
    client = redis_server.client()
    if keys := list(client.scan_iter(match=f"{prefix}*", count=1000)):
        client.delete(*keys)
    client.close()


@pytest.fixture(scope="session")
def chromiums() -> Iterator[list[Any]]:
    """Yield the browsers that no test uses at the moment; end them with the last test."""
    idle: list[Any] = []
    yield idle
    for browser in idle:
        browser.quit()
