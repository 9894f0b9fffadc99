"""The patterns send what they promise, and when they promise it."""

from __future__ import annotations

import importlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from tests.support.sse_client import EventSource, SSEClient


class Pattern(NamedTuple):
    """A pattern's application, served over HTTP, and a client inside this process."""

    stream: str
    client: FlaskClient

    def emit(self, *values: Any, channel: str = "") -> None:
        for value in values:
            assert self.client.post(f"/emit{channel}", json=value).status_code == 200


Serve = Callable[..., Pattern]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves a pattern's application."""
    with ExitStack() as running:

        def serve(name: str, **config: Any) -> Pattern:
            pattern = importlib.import_module(f"examples.patterns.{name}")
            url = f"memory://{secrets.token_hex(4)}"
            app = pattern.create_app({"REDIS_EVENTS_URL": url, "REDIS_EVENTS_RETRY": 0.2, **config})
            server = make_server("127.0.0.1", 0, app, threaded=True)
            running.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)

            def close() -> None:
                with app.app_context():
                    pattern.events.hub.close()

            running.callback(close)
            return Pattern(f"http://127.0.0.1:{server.port}/stream", app.test_client())

        yield serve


def test_only_what_a_client_asks_for_is_sent(serve: Serve):
    """Alerts below the client's priority are left out, and are not replayed to it either."""
    pattern = serve("conditional")
    with SSEClient(pattern.stream) as five, SSEClient(f"{pattern.stream}?priority=8") as eight:
        for client in (five, eight):
            assert client.next().event == "ready"
        pattern.emit(*({"priority": priority} for priority in (4, 6, 9)))

        assert five.next_data() == {"priority": 6}
        for client in (five, eight):
            assert client.next_data(event="title") == {"title": "Urgent!"}
            assert client.next_data() == {"priority": 9}
        position = eight.events[-1].last_event_id
    with SSEClient(f"{pattern.stream}?priority=1", last_event_id=position) as back:
        pattern.emit({"priority": 2})

        assert back.next_data() == {"priority": 2}


def test_the_last_value_of_a_burst_leaves_when_its_second_is_over(serve: Serve):
    """The first value leaves at once, the newest one a second later, although nothing follows."""
    pattern = serve("newest")
    with SSEClient(pattern.stream) as client:
        assert client.next().event == "ready"
        started = time.monotonic()
        pattern.emit(*range(10))
        assert client.next_data() == 0
        first_at = time.monotonic()
        assert client.next_data() == 9
        last_at = time.monotonic()

        assert first_at - started < 0.9 <= last_at - first_at < 2

        with pytest.raises(TimeoutError):
            client.next_data(1.5)
        pattern.emit("after a silence")
        assert client.next_data(0.9) == "after a silence"


def test_a_steady_flow_is_thinned_to_one_a_second(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    """However often a value changes, a client gets one in each window, and they go on."""
    monkeypatch.setattr("examples.patterns.newest.SECONDS", 0.3)
    pattern = serve("newest")
    with SSEClient(pattern.stream) as client:
        assert client.next().event == "ready"
        over = time.monotonic() + 1.5
        emitted = 0
        while time.monotonic() < over:
            emitted += 1
            pattern.emit(emitted)
            time.sleep(0.01)
        got: list[int] = []
        while not got or got[-1] != emitted:
            got.append(client.next_data())

    assert got == sorted(set(got))
    assert 3 <= len(got) <= 7 < emitted


def test_a_batch_leaves_when_it_is_full(serve: Serve):
    """Ten messages of three channels are one event, in order, long before its time is over."""
    pattern = serve("batches")
    with SSEClient(pattern.stream) as client:
        assert client.next().event == "ready"
        started = time.monotonic()
        pattern.emit(*range(4), channel="/orders")
        pattern.emit(*range(4, 10), channel="/payments")
        got = client.next_data()

        assert time.monotonic() - started < 1.9
        assert got["count"] == 10
        assert [one["data"] for one in got["batch"]] == list(range(10))
        assert [one["channel"] for one in got["batch"]] == ["orders"] * 4 + ["payments"] * 6


def test_a_batch_leaves_when_its_time_is_over(serve: Serve):
    """Three messages leave two seconds after the first of them, although nothing more comes."""
    pattern = serve("batches")
    with SSEClient(pattern.stream) as client:
        assert client.next().event == "ready"
        pattern.emit(1, 2, 3, channel="/orders")
        started = time.monotonic()
        got = client.next_data()

        assert 1.8 <= time.monotonic() - started < 3
        assert [one["data"] for one in got["batch"]] == [1, 2, 3]


def test_an_unfinished_batch_is_given_again(serve: Serve):
    """A client that is cut off before its batch leaves gets the batch after it has come back."""
    pattern = serve("batches")
    with EventSource(pattern.stream) as client:
        client.wait_for(lambda events: [event.event for event in events] == ["ready"])
        pattern.emit(1, 2, channel="/orders")
        client.drop()
        client.wait_connected(2)
        client.wait_for(lambda events: any(event.event == "message" for event in events))

        assert [[one["data"] for one in got["batch"]] for got in client.data] == [[1, 2]]


def test_a_silent_stream_says_so_and_ends(serve: Serve):
    """A word comes in each silence, the timeout at its time, and the browser stays away."""
    pattern = serve("lifetime", SILENCE=0.4, LIFETIME=2.0)
    started = time.monotonic()
    with EventSource(pattern.stream) as client:
        client.wait_for(lambda events: any(event.event == "silence" for event in events))
        assert time.monotonic() - started >= 0.4
        pattern.emit({"text": "hello"})

        assert client.wait_stopped() == 204
        assert time.monotonic() - started >= 2
        names = [event.event for event in client.events if event.event != "ready"]
        assert names.count("silence") >= 3
        assert names.count("message") == 1
        assert names[-2:] == ["timeout", "end"]


def test_a_stream_that_is_never_silent_ends_at_its_time(serve: Serve):
    """Messages do not put the end off."""
    pattern = serve("lifetime", SILENCE=0.5, LIFETIME=1.0)
    with EventSource(pattern.stream) as client:
        over = time.monotonic() + 1.5
        while time.monotonic() < over:
            pattern.emit({"text": "hello"})
            time.sleep(0.01)

        assert client.wait_stopped() == 204
        assert "silence" not in [event.event for event in client.events]


def test_viewers_of_a_kind_share_a_rendering(serve: Serve):
    """Each viewer gets its language and currency; two of the same kind get the same bytes."""
    pattern = serve("viewers")
    german = {"Accept-Language": "de"}
    with ExitStack() as stack:
        english, yen, one, two = (
            stack.enter_context(SSEClient(pattern.stream + query, headers))
            for query, headers in (("", {}), ("?currency=JPY", {}), ("", german), ("", german))
        )
        for client in (english, yen, one, two):
            assert client.next().event == "ready"
        pattern.emit({"item": "Tea", "euros": 2.5})
        got = {client: client.next_data() for client in (english, yen, one, two)}

    assert got[english]["text"] == "Tea costs 2.50 EUR."
    assert got[yen]["text"] == "Tea costs 400.00 JPY."
    assert got[one]["text"] == "Tea kostet 2.50 EUR."
    assert got[one] == got[two]
    assert len({value["rendering"] for value in got.values()}) == 3
    assert pattern.client.get("/stream?currency=BTC").status_code == 400


def test_one_call_asks_for_all_viewers(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    """Two viewers get the same values, the second one the last value at once; none comes twice."""
    monkeypatch.setattr("examples.patterns.polling.SECONDS", 0.2)
    calls = itertools.count()
    usage = SimpleNamespace(free=7)

    def disk_usage(path: str) -> SimpleNamespace:
        next(calls)
        return usage

    monkeypatch.setattr("examples.patterns.polling.shutil.disk_usage", disk_usage)
    pattern = serve("polling")
    with SSEClient(pattern.stream) as one:
        assert one.next_data() == {"free": 7}
        with SSEClient(pattern.stream) as two:
            assert two.next_data() == {"free": 7}
            usage.free = 8
            for client in (one, two):
                assert client.next_data() == {"free": 8}
            started, before = time.monotonic(), next(calls)
            with pytest.raises(TimeoutError):
                one.next_data(1.0)
            asked = next(calls) - before - 1

    assert asked <= (time.monotonic() - started) / 0.2 + 1


def test_a_page_begins_with_the_newest_values(serve: Serve):
    """It gets one value for each key, however often it has changed, and then each change."""
    pattern = serve("present")
    pattern.emit(1.1, 1.2, channel="/EURUSD")
    pattern.emit(0.8, channel="/EURGBP")
    pattern.emit(1.3, channel="/EURUSD")
    with SSEClient(pattern.stream) as client:
        state = [client.next_data() for _ in range(2)]
        assert state == [{"pair": "EURGBP", "price": 0.8}, {"pair": "EURUSD", "price": 1.3}]
        pattern.emit(1.4, channel="/EURUSD")
        assert client.next_data() == {"pair": "EURUSD", "price": 1.4}
        assert pattern.client.delete("/emit/EURGBP").status_code == 200
        assert client.next_data(event="remove") == {"key": "EURGBP"}
    with SSEClient(pattern.stream) as late:
        assert late.next_data() == {"pair": "EURUSD", "price": 1.4}
        with pytest.raises(TimeoutError):
            late.next_data(0.5)
