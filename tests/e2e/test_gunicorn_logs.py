"""What gunicorn tells of a stream: one line, one count and one call of a hook, when it ends.

gunicorn takes a stream that is handed off for finished, and would tell of it then.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from tests.support.sse_client import SSEClient
from tests.support.statsd import Statsd
from tests.support.waiting import wait_until

from .conftest import APP, App, Start

OWN = "tests.support.apps.own_logging"
HOOK = f"from {OWN} import post_request\n"

each_logger = pytest.mark.parametrize("logger", ["gunicorn's", "own"])
each_stream = pytest.mark.parametrize("path", ["/channel/x", "/callback/x"])
each_short_stream = pytest.mark.parametrize("path", ["/short/x", "/short-callback/x"])


class Told(NamedTuple):
    """What an access logger or a hook was told of one response."""

    status: str
    #: The bytes of the body; the hub's part with its framing.
    sent: int
    agent: str
    #: None from a hook, which is not told.
    seconds: float | None


class Logs:
    """A running application whose access log and `post_request` hook are watched."""

    def __init__(self, start: Start, logger: str, kind: str = "gevent", app: str = APP) -> None:
        line = json.dumps(
            {
                "path": "%({raw_uri}e)s",
                "status": "%(s)s",
                "sent": "%(B)s",
                "agent": "%({user-agent}i)s",
                "seconds": "%(L)s",
            }
        )
        args = ["--access-logformat", line]
        if logger == "own":
            args += ["--logger-class", f"{OWN}.OwnLogger"]
        self.app: App = start(kind, app=app, args=args, config_text=HOOK)
        self._fences = 0

    def access(self, path: str) -> list[Told]:
        """Return what the access log holds of a path."""
        lines = [json.loads(line) for line in self.app.server.access_log.splitlines()]
        return [_told(one) for one in [*lines, *self._printed("access")] if one["path"] == path]

    def hook(self, path: str) -> list[Told]:
        """Return what the hook was called with for a path."""
        return [_told(one) for one in self._printed("hook") if one["path"] == path]

    def count(self, path: str) -> tuple[int, int]:
        """Return how many lines there are of a path, and how many calls of the hook."""
        return len(self.access(path)), len(self.hook(path))

    def fence(self) -> None:
        """Return when what was to be told before has been told."""
        self._fences += 1
        path = f"/missing/{self._fences}"
        assert self.app.request("GET", path)[0] == 404
        wait_until(lambda: self.count(path) == (1, 1))

    def _printed(self, what: str) -> Iterator[Any]:
        for line in self.app.server.log.splitlines():
            if line.startswith(f'{{"what": "{what}"'):
                yield json.loads(line)


def _told(one: Any) -> Told:
    seconds = float(one["seconds"]) if "seconds" in one else None
    return Told(one["status"].split()[0], int(one["sent"]), one["agent"], seconds)


def framing(client: SSEClient) -> range:
    """Return what the size of a body may be: that of its bytes, up to that of all its chunks."""
    chunks = bytes(client.raw).partition(b"\r\n\r\n")[2]
    return range(len(client.body), len(chunks) + 1)


@each_logger
@each_short_stream
def test_a_stream_that_ends_is_told_of_once(start: Start, logger, path):
    """Its line has the true duration and size; the hook is given its response."""
    logs = Logs(start, logger)
    with logs.app.ready(path, headers={"User-Agent": "the-test"}) as client:
        assert client.wait_closed()
        wait_until(lambda: logs.count(path) >= (1, 1), message=lambda: logs.app.server.log)
    logs.fence()
    (line,) = logs.access(path)
    (call,) = logs.hook(path)

    assert logs.app.handed_off() == 1
    assert (line.status, line.agent) == (call.status, call.agent) == ("200", "the-test")
    assert line.sent in framing(client)
    assert call.sent in framing(client)
    assert 0.5 <= line.seconds < 5


@each_logger
@each_stream
def test_a_stream_is_told_of_when_its_client_leaves(start: Start, logger, path):
    """And not before: neither at the hand-off nor at a message."""
    logs = Logs(start, logger)
    with logs.app.ready(path) as client:
        wait_until(lambda: logs.app.handed_off() == 1, message="The stream was not handed off")
        ready = time.monotonic()
        logs.app.emit("x", "hello")
        client.next_data()
        logs.fence()
        assert logs.count(path) == (0, 0)
        open_for = time.monotonic() - ready
    wait_until(lambda: logs.count(path) >= (1, 1), message=lambda: logs.app.server.log)
    logs.fence()

    (line,) = logs.access(path)
    (call,) = logs.hook(path)
    assert line.sent in framing(client)
    assert call.sent in framing(client)
    assert open_for <= line.seconds


@each_logger
@each_stream
def test_a_worker_that_drains_tells_of_its_streams_before_it_exits(start: Start, logger, path):
    """A deployment leaves no hole in the log, and each size has the farewell in it."""
    logs = Logs(start, logger)
    with ExitStack() as leaving:
        clients = [leaving.enter_context(logs.app.ready(path)) for _ in range(5)]
        wait_until(lambda: logs.app.handed_off() == 5, message="The streams were not handed off")
        logs.fence()
        assert logs.count(path) == (0, 0)
        logs.app.server.terminate()

        assert all(client.wait_closed() for client in clients)
    assert logs.count(path) == (5, 5)
    shortest = min(len(client.body) for client in clients)
    assert all(told.sent >= shortest for told in logs.access(path) + logs.hook(path))


@each_logger
def test_other_responses_are_told_of_once(start: Start, logger: str):
    """A response that ends as gunicorn thinks is told of as ever, beside a stream."""
    logs = Logs(start, logger)
    with logs.app.ready("/channel/x"):
        wait_until(lambda: logs.app.handed_off() == 1)
        for _ in range(3):
            logs.app.request("GET", "/cache")
        logs.app.request("POST", "/emit/x", "hello")
        logs.fence()

        assert logs.count("/cache") == (3, 3)
        assert logs.count("/emit/x") == (1, 1)
        assert {line.status for line in logs.access("/cache")} == {"200"}


@each_logger
@each_short_stream
def test_a_stream_that_gunicorn_writes_is_told_of_once(start: Start, logger, path):
    """Where nothing is handed off, gunicorn knows the duration and the size itself."""
    logs = Logs(start, logger, kind="generator")
    with logs.app.ready(path) as client:
        assert client.wait_closed()
    logs.fence()
    (line,) = logs.access(path)
    (call,) = logs.hook(path)

    assert line.sent == call.sent == len(client.body)
    assert 0.5 <= line.seconds < 5


@pytest.mark.parametrize("guest", ["copy", "append", "fail", "time out"])
@each_logger
@each_stream
def test_a_stream_behind_a_guest_is_told_of_once(start: Start, logger, guest, path):
    """Whatever a middleware does after the hand-off, gunicorn's own 500 for it included."""
    logs = Logs(start, logger, app=f"tests.support.apps.guests:create_app({guest!r})")
    with logs.app.ready(path) as client:
        wait_until(lambda: logs.app.handed_off() == 1, message="The stream was not handed off")
        logs.fence()
        assert logs.count(path) == (0, 0)
    wait_until(lambda: logs.count(path) >= (1, 1), message=lambda: logs.app.server.log)
    logs.fence()

    (line,) = logs.access(path)
    (call,) = logs.hook(path)
    assert (line.status, call.status) == ("200", "200")
    assert line.sent in framing(client)


# -- statsd ----------------------------------------------------------------------------------------


@pytest.fixture
def statsd() -> Iterator[Statsd]:
    with Statsd() as statsd:
        yield statsd


class Counted:
    """A running application that counts its requests at a statsd server."""

    def __init__(self, start: Start, statsd: Statsd, kind: str, *, access_log: bool) -> None:
        self.app: App = start(kind, args=["--statsd-host", statsd.address], access_log=access_log)
        self._statsd = statsd
        self._fences = 0
        self.fence()
        # Those with which the harness learned that it answers.
        self._before = Counter(statsd.counts)

    def fence(self) -> None:
        """Return when what was to be counted before has been counted: a socket keeps the order."""
        self._fences += 1
        assert self.app.request("GET", "/missing")[0] == 404
        wait_until(lambda: self._count("status.404") == self._fences)

    def streams(self, *, others: int) -> tuple[int, int]:
        """Return how often streams were counted: as requests, and by their status.

        `others` are the other requests so far, fences not among them.
        """
        self._statsd.read()
        new = self._statsd.counts - self._before
        fences = self._fences - 1
        requests = new["gunicorn.requests"] - fences - others
        return requests, new["gunicorn.request.status.200"] - others

    @property
    def times(self) -> list[float]:
        """All durations so far, in milliseconds; the harness' requests are among them."""
        return self._statsd.read().times["gunicorn.request.duration"]

    def _count(self, name: str) -> int:
        return self._statsd.read().counts[f"gunicorn.request.{name}"]


each_access_log = pytest.mark.parametrize(
    "access_log", [pytest.param(True, id="access log"), pytest.param(False, id="no access log")]
)


@each_access_log
@each_stream
def test_statsd_counts_a_stream_when_its_client_leaves(start: Start, statsd, path, access_log):
    """Once, and with the time that it was open; not when it is handed off."""
    counted = Counted(start, statsd, "gevent", access_log=access_log)
    with counted.app.ready(path) as client:
        ready = time.monotonic()
        counted.app.emit("x", "hello")
        client.next_data()
        counted.fence()
        assert counted.streams(others=1) == (0, 0)
        assert counted.app.handed_off() == 1
        counted.fence()
        assert counted.streams(others=2) == (0, 0)
        known = len(counted.times)
        open_for = time.monotonic() - ready
    wait_until(lambda: counted.streams(others=2) == (1, 1))
    counted.fence()

    assert counted.streams(others=2) == (1, 1)
    stream, _fence = counted.times[known:]
    assert stream >= open_for * 1000


@each_access_log
@pytest.mark.parametrize("kind", ["gevent", "generator"])
@each_short_stream
def test_statsd_counts_a_stream_that_ends(start: Start, statsd, kind, path, access_log):
    """Once, and with its true duration, whoever wrote it."""
    counted = Counted(start, statsd, kind, access_log=access_log)
    known = len(counted.times)
    with counted.app.ready(path) as client:
        assert client.wait_closed()
    wait_until(lambda: counted.streams(others=0) == (1, 1))
    counted.fence()

    assert counted.streams(others=0) == (1, 1)
    stream, _fence = counted.times[known:]
    assert 500 <= stream < 5000
    assert counted.app.handed_off() == (1 if kind == "gevent" else 0)


def test_statsd_counts_other_responses_once(start: Start, statsd: Statsd):
    """A response that ends as gunicorn thinks is counted as ever, beside a stream."""
    counted = Counted(start, statsd, "gevent", access_log=True)
    with counted.app.ready("/channel/x"):
        for _ in range(3):
            counted.app.request("GET", "/cache")
        counted.fence()

        assert counted.streams(others=3) == (0, 0)
