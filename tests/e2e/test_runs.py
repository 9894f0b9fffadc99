"""Runs as their viewers see them, whatever happens to tabs, workers, producers and Redis."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flask_redis_events import Emitter, RunLost
from tests.support.relay import Relay
from tests.support.servers import RedisServer
from tests.support.sse_client import EventSource, SSEClient
from tests.support.waiting import wait_until

from .conftest import App, Start, starting

APP = "tests.support.apps.runs:create_app()"
NAME = "answer:1"
KINDS = ["gevent", "generator", "gthread"]
#: What it takes a worker to notice that a lease has lapsed.
NOTICE = 5 + 3


@pytest.fixture
def emitter(redis_server, prefix) -> Iterator[Emitter]:
    emitter = Emitter(redis_server.url, prefix=prefix)
    yield emitter
    emitter.close()


def read(client: SSEClient) -> tuple[str, int, Any]:
    """Read to the end; return the text, in how many events it came, and what `end` says."""
    pieces: list[str] = []
    while True:
        event = client.next(15)
        if event.event == "end":
            return "".join(pieces), len(pieces), json.loads(event.data)
        if event.event == "message":
            pieces.append(json.loads(event.data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/answers/1", "/loud/1"])
def test_a_run_goes_on_without_a_viewer(start: Start, emitter: Emitter, kind: str, path: str):
    """A tab that is closed, one that opens in the midst, and one that comes too late: all of it."""
    app = start(kind, app=APP)
    with ExitStack() as opened, emitter.run(NAME) as run:
        with app.ready(path) as tab:
            run.send("one ")
            assert tab.next_data() in ("one ", "ONE ")
        for _ in range(20):
            run.send("two ")
            time.sleep(0.01)
        expected = "one " + "two " * 20
        wait_until(lambda: "".join(e.data for e in emitter.history(NAME)) == expected)
        viewers = [opened.enter_context(app.ready(path)) for _ in range(3)]
        so_far = [viewer.next_data().lower() for viewer in viewers]
        assert so_far == [expected] * 3
        run.send("three")
        run.__exit__(None, None, None)
        for viewer in viewers:
            text, _, end = read(viewer)
            assert (text.lower(), end) == ("three", {"state": "finished"})
            assert viewer.wait_closed()
    with app.ready(path) as late:
        text, count, end = read(late)

    assert (text.lower(), count, end) == (expected + "three", 1, {"state": "finished"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_viewer_may_come_before_the_run(start: Start, emitter: Emitter, kind: str):
    """It waits; and a run that follows on the same channel is not this viewer's."""
    app = start(kind, app=APP)
    with app.ready("/answers/1") as early:
        for text in ("first", "second"):
            with emitter.run(NAME) as run:
                run.send(text)

        assert read(early) == ("first", 1, {"state": "finished"})
    with app.ready("/answers/1") as late:
        assert read(late) == ("second", 1, {"state": "finished"})


def test_the_end_is_the_end(start: Start, emitter: Emitter):
    """A client that was told of the end is answered with 204; one that was not is told."""
    app = start(app=APP)
    with emitter.run(NAME) as run:
        run.send("text")
    with app.ready("/answers/1") as client:
        client.until(lambda event: event.event == "message")
        before = client.next()
    assert before.event == "end"

    again = app.request("GET", "/answers/1", **{"Last-Event-ID": before.last_event_id})
    assert again[0] == 204
    end = before.last_event_id.removesuffix(".end")
    for cursor in (end, emitter.position()):
        with app.ready("/answers/1", last_event_id=cursor) as client:
            assert read(client) == ("", 0, {"state": "finished"})


def test_other_streams_see_a_named_event(start: Start, emitter: Emitter):
    """The marker ends no stream that shows more than the run."""
    app = start(app=APP)
    with app.ready("/plain/1") as client:
        with emitter.run(NAME) as run:
            run.send("text")

        assert client.next_data() == "text"
        assert client.next_data(event="run") == {"state": "finished"}
        app.redis.ping()
        emitter.emit(NAME, "more")
        assert client.next_data() == "more"


def test_a_client_of_an_earlier_run_begins_anew(start: Start, emitter: Emitter):
    """It is told to reset, and gets all of the new run."""
    app = start(app=APP)
    with emitter.run(NAME) as run:
        run.send("a")
        run.send({"n": 1})
    first = emitter.history(NAME)[0].id
    with emitter.run(NAME) as run:
        run.send("new ")
        run.send({"delta": ""})

    with app.ready("/answers/1", last_event_id=first) as client:
        assert client.next_data(event="reset") == {"reason": "trimmed"}
        assert client.next_data() == "new "


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_may_produce(start: Start, emitter: Emitter, kind: str):
    """In a greenlet or a thread of its own; the page's stop button reaches it."""
    app = start(kind, app=APP)
    app.request("POST", "/produce/1")
    with app.ready("/answers/1") as client:
        client.next_data()
        assert app.request("POST", "/stop/1")[2] == {"stopped": True}

        assert read(client)[2] == {"state": "stopped"}
    assert app.request("GET", "/status/1")[2] == {"status": "stopped"}


PRODUCER = """
import sys, time
from flask_redis_events import Emitter, RunLost
from tests.support.relay import Relay
from tests.support.servers import RedisServer
with Emitter(sys.argv[1], prefix=sys.argv[2]).run("answer:1", lease=2) as run:
    run.send("so far")
    time.sleep(60)
"""


def test_viewers_are_told_that_the_producer_died(start: Start, redis_server, prefix):
    """A process that is killed writes no marker; a worker does, once for all workers."""
    app = start(app=APP, workers=2)
    viewers = [EventSource(f"{app.url}/answers/1") for _ in range(4)]
    producer = subprocess.Popen([sys.executable, "-c", PRODUCER, redis_server.url, prefix])
    try:
        for viewer in viewers:
            viewer.wait_for(lambda events: any(e.event == "message" for e in events), timeout=10)
        producer.send_signal(signal.SIGKILL)
        for viewer in viewers:
            viewer.wait_stopped(2 + NOTICE)
            assert [e.data for e in viewer.events if e.event == "end"] == ['{"state":"lost"}']
    finally:
        producer.kill()
        producer.wait()
        for viewer in viewers:
            viewer.close()
    with app.ready("/answers/1") as late:
        assert read(late) == ("so far", 1, {"state": "lost"})


def test_a_worker_may_die(start: Start, emitter: Emitter):
    """Its viewers come back to another one, and have every token once."""
    app = start(app=APP)
    with EventSource(f"{app.url}/answers/1") as viewer, emitter.run(NAME) as run:
        viewer.wait_connected()
        for number in range(100):
            run.send(f"{number} ")
            time.sleep(0.02)
            if number == 30:
                app.server.kill_worker(app.server.worker_pids()[0], signal.SIGKILL)
        run.__exit__(None, None, None)
        viewer.wait_stopped(15)

        text = "".join(json.loads(e.data) for e in viewer.events if e.event == "message")
        assert text == "".join(f"{number} " for number in range(100))


@pytest.mark.redis(appendonly=True)
def test_redis_may_restart(own_redis_server):
    """Viewers have every token once, and the end."""
    emitter = Emitter(own_redis_server.url, prefix="runs:")
    with starting(own_redis_server, "runs:") as start:
        app: App = start(app=APP)
        with EventSource(f"{app.url}/answers/1") as viewer:
            viewer.wait_connected()
            with emitter.run(NAME) as run:
                for number in range(60):
                    run.send(f"{number} ")
                    time.sleep(0.02)
                    if number == 20:
                        own_redis_server.restart()
            viewer.wait_stopped(20)

            text = "".join(json.loads(e.data) for e in viewer.events if e.event == "message")
            assert text == "".join(f"{number} " for number in range(60))
            assert not any(event.event == "reset" for event in viewer.events)
    emitter.close()


@contextmanager
def failing_over(server: RedisServer, directory: Path) -> Iterator[tuple[RedisServer, Relay]]:
    """Yield a replica, and the relay that leads to its master for now."""
    (directory / "replica").mkdir()
    with RedisServer(directory / "replica") as replica, Relay(server.port) as relay:
        server.client().config_set("repl-diskless-sync-delay", 0)
        replica.client().replicaof("127.0.0.1", str(server.port))
        link = replica.client()
        wait_until(lambda: link.info("replication")["master_link_status"] == "up", 20)
        yield replica, relay


@pytest.mark.timeout(120)
def test_a_failover_to_a_complete_replica(own_redis_server: RedisServer, tmp_path: Path):
    """The run goes on, and viewers have every token once, also late ones."""
    with (
        failing_over(own_redis_server, tmp_path) as (replica, relay),
        starting(own_redis_server, "runs:") as start,
    ):
        app = start(app=APP, env={"URL": relay.url})
        emitter = Emitter(relay.url, prefix="runs:")
        with EventSource(f"{app.url}/answers/1") as viewer, emitter.run(NAME) as run:
            viewer.wait_connected()
            for number in range(80):
                run.send(f"{number} ")
                time.sleep(0.02)
                if number == 30:
                    wait_until(lambda: "".join(viewer.data).endswith("30 "), 10)
                    assert own_redis_server.client().wait(1, 5000) == 1
                    replica.client().replicaof("NO", "ONE")
                    # Renewals of the lease that are lost do not matter.
                    time.sleep(1.5)
                    relay.lead_to(replica.port)
            run.__exit__(None, None, None)
            viewer.wait_stopped(20)
            events = list(viewer.events)
        with app.ready("/answers/1") as late:
            text, _, end = read(late)
        emitter.close()

    expected = "".join(f"{number} " for number in range(80))
    assert "".join(json.loads(e.data) for e in events if e.event == "message") == expected
    assert [json.loads(e.data) for e in events if e.event == "end"] == [{"state": "finished"}]
    assert not any(event.event == "reset" for event in events)
    assert (text, end) == (expected, {"state": "finished"})


@pytest.mark.timeout(120)
@pytest.mark.parametrize("known", [False, True], ids=["the whole run", "its middle"])
def test_a_failover_that_loses_some_of_a_run(
    own_redis_server: RedisServer, tmp_path: Path, known: bool
):
    """The producer and all viewers are told that the run is lost; nobody takes a part for all."""
    with (
        failing_over(own_redis_server, tmp_path) as (replica, relay),
        starting(own_redis_server, "runs:") as start,
    ):
        app = start(app=APP, env={"URL": relay.url})
        emitter = Emitter(relay.url, prefix="runs:")
        with EventSource(f"{app.url}/answers/1") as viewer:
            viewer.wait_connected()
            viewer.wait_for(lambda events: events)
            own_redis_server.client().wait(1, 5000)
            if not known:
                replica.client().replicaof("NO", "ONE")
            with pytest.raises(RunLost), emitter.run(NAME, lease=5) as run:
                run.send("one ")
                wait_until(lambda: viewer.data == ["one "], 10)
                if known:
                    assert own_redis_server.client().wait(1, 5000) == 1
                    replica.client().replicaof("NO", "ONE")
                run.send("two ")
                wait_until(lambda: "".join(viewer.data) == "one two ", 10)
                relay.lead_to(replica.port)
                wait_until(lambda: run.stop_requested, 15)
                run.send("three")
            viewer.wait_stopped(20)
            ends = [json.loads(e.data) for e in viewer.events if e.event == "end"]
        with app.ready("/answers/1") as late:
            text, _, end = read(late)
        assert emitter.run_status(NAME) == "lost"
        emitter.close()

    assert ends == [{"state": "lost"}]
    assert (text, end) == ("one " if known else "", {"state": "lost"})


def test_the_ai_sdk_has_its_format(start: Start, emitter: Emitter):
    """204 without a run; comments in place of control events; `[DONE]` at the end; its header."""
    app = start(app=APP)
    assert app.request("GET", "/ai/1/stream")[0] == 204
    with emitter.run(NAME) as run:
        with app.stream("/ai/1/stream") as client:
            run.send({"type": "start"})
            assert client.next().data == '{"type":"start"}'
            assert client.headers["x-vercel-ai-ui-message-stream"] == "v1"
            # A heartbeat comes in between.
            time.sleep(1.5)
            run.send("named", event="title")
            run.send({"type": "finish"})
            assert client.next().data == '{"type":"finish"}'
            run.__exit__(None, None, None)
            assert client.next().data == "[DONE]"
            assert client.wait_closed()

    assert app.request("GET", "/ai/1/stream")[0] == 204
    assert b"[DONE]" in app.request("POST", "/ai/1/stream")[2]
