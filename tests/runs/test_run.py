"""A run and its producer: the same promises on Redis and on memory://."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_redis_events import (
    ConfigError,
    Emitter,
    FieldError,
    RunActive,
    RunLost,
    RunTooLarge,
    SetupError,
)
from flask_redis_events.broker import open_broker
from flask_redis_events.exceptions import BrokerError
from flask_redis_events.runs import run as module
from tests.support.factories import channels
from tests.support.waiting import wait_until

NAME = "answer:1"


@pytest.fixture(params=["redis", "memory"])
def make(request, redis_server, prefix) -> Iterator[Callable[..., Emitter]]:
    made: list[Emitter] = []
    url = redis_server.url if request.param == "redis" else f"memory://{prefix}"

    def make(**settings: Any) -> Emitter:
        made.append(Emitter(url, prefix=prefix, **settings))
        return made[-1]

    yield make
    for emitter in made:
        emitter.close()


@pytest.fixture
def emitter(make) -> Emitter:
    emitter: Emitter = make()
    return emitter


def log(emitter: Emitter) -> list[Any]:
    """Return what is kept of the run's channel."""
    return [event.data for event in emitter.history(NAME, limit=1000)]


def sweep(emitter: Emitter) -> None:
    emitter.broker.runs.sweep()


def test_a_run_is_a_log_with_an_end(emitter):
    """Pieces are joined, what stands for itself is not, and the marker comes last."""
    assert emitter.run_status(NAME) == "pending"
    with emitter.run(NAME) as run:
        assert emitter.run_status(NAME) == "running"
        run.send("Hel")
        run.send("lo")
        run.send({"step": 1})
        run.send({"id": 1, "delta": "a"})
        run.send({"id": 1, "delta": "b"})
        run.send({"id": 2, "delta": "c"})
        run.send("a title", event="title")

    assert emitter.run_status(NAME) == "finished"
    got = [(event.event, event.data) for event in emitter.history(NAME)]
    assert got == [
        (None, "Hello"),
        (None, {"step": 1}),
        (None, {"id": 1, "delta": "ab"}),
        (None, {"id": 2, "delta": "c"}),
        ("title", "a title"),
        ("run", {"state": "finished"}),
    ]


def test_pieces_are_written_while_the_producer_goes_on(emitter):
    """What was sent is there in a moment, though nothing more is sent."""
    with emitter.run(NAME) as run:
        run.send("first")
        wait_until(lambda: log(emitter) == ["first"])
        for number in range(1000):
            run.send(f" {number}")
        wait_until(lambda: "".join(log(emitter)).endswith(" 999"))
        assert len(log(emitter)) < 20


def test_an_exception_ends_it_as_failed(emitter):
    """What was sent before is kept, and the exception goes on."""
    with pytest.raises(ZeroDivisionError), emitter.run(NAME) as run:
        run.send("so far")
        raise ZeroDivisionError

    assert emitter.run_status(NAME) == "failed"
    assert log(emitter) == ["so far", {"state": "failed"}]


def test_there_is_one_producer(make):
    """A second one is refused while the first one runs, and welcome afterwards, to a new log."""
    first, second = make(), make()
    with first.run(NAME) as run:
        run.send("one")
        with pytest.raises(RunActive, match="a channel of its own"):
            second.run(NAME).__enter__()
    with second.run(NAME) as run:
        run.send("two")

    assert log(second) == ["two", {"state": "finished"}]


def test_a_stop_is_noticed(emitter):
    """By a producer that sends, and by one that waits; the run that ends for it is stopped."""
    with emitter.run(NAME, lease=1) as run:
        assert not run.stop_requested
        assert emitter.request_stop(NAME)
        wait_until(lambda: run.stop_requested)

    assert emitter.run_status(NAME) == "stopped"
    assert not emitter.request_stop(NAME)


def test_a_stop_that_nobody_saw_stops_nothing(emitter):
    """A producer that has sent everything has finished."""
    with emitter.run(NAME) as run:
        emitter.request_stop(NAME)
        run.send("all of it")

    assert emitter.run_status(NAME) == "finished"


def test_a_stop_before_the_start_is_kept(emitter):
    """The job was still waiting in its queue."""
    assert emitter.request_stop(NAME)
    assert emitter.run_status(NAME) == "pending"

    with emitter.run(NAME) as run:
        assert run.stop_requested


@pytest.mark.parametrize("when", ["during", "after"])
def test_a_stop_of_an_old_run_does_not_hit_a_new_one(emitter, when: str):
    """Neither one that came while the old one ran, nor one that came too late."""
    with emitter.run(NAME):
        if when == "during":
            emitter.request_stop(NAME)
    if when == "after":
        assert not emitter.request_stop(NAME)

    with emitter.run(NAME) as run:
        run.send("new")
        wait_until(lambda: log(emitter) == ["new"])
        assert not run.stop_requested


def abandon(emitter: Emitter, monkeypatch: pytest.MonkeyPatch, *, lease: float = 0.3) -> Any:
    """Begin a run whose producer is frozen: nothing writes, and nothing keeps the lease."""
    monkeypatch.setattr(module.Run, "_keep", lambda self: None)
    run = emitter.run(NAME, lease=lease)
    run.__enter__()
    return run


@pytest.mark.parametrize("notice", ["status", "sweep", "begin"])
def test_a_dead_producer_is_told_once(make, monkeypatch, notice: str):
    """Whoever looks first after the lease ends the run as lost; the others find it ended."""
    emitter, other = make(), make()
    abandon(emitter, monkeypatch)
    assert emitter.run_status(NAME) == "running"
    time.sleep(0.4)
    before = emitter.position()

    if notice == "begin":
        with other.run(NAME) as run:
            run.send("again")
        assert log(other) == ["again", {"state": "finished"}]
        return
    looks = [
        threading.Thread(target=sweep if notice == "sweep" else Emitter.run_status, args=args)
        for args in [(one, NAME)[: 1 if notice == "sweep" else 2] for one in (emitter, other) * 4]
    ]
    for look in looks:
        look.start()
    for look in looks:
        look.join()
    assert [event.data for event in emitter.history(NAME, after=before)] == [{"state": "lost"}]
    assert emitter.run_status(NAME) == "lost"


def test_a_producer_that_lost_its_lease_writes_no_more(make, monkeypatch):
    """It is told so; what it had to say is not in the log, nor in that of the next run."""
    emitter = make()
    run = abandon(emitter, monkeypatch)
    time.sleep(0.4)
    assert make().run_status(NAME) == "lost"
    monkeypatch.undo()

    run.send("too late")
    with pytest.raises(RunLost, match="lease"):
        run.__exit__(None, None, None)
    with emitter.run(NAME):
        with pytest.raises(SetupError):
            run.send("again")
        assert log(emitter) == []
    assert log(emitter) == [{"state": "finished"}]


def test_a_lease_is_kept_while_the_producer_waits(emitter):
    """A model may think for longer than the lease."""
    with emitter.run(NAME, lease=0.5) as run:
        time.sleep(1.2)
        sweep(emitter)
        assert emitter.run_status(NAME) == "running"
        run.send("at last")

    assert log(emitter) == ["at last", {"state": "finished"}]


def test_it_is_bounded(emitter):
    """More than max_bytes is refused loudly, and nothing of what was sent is missing."""
    with pytest.raises(RunTooLarge, match="max_bytes="), emitter.run(NAME, max_bytes=2000) as run:
        for _ in range(300):
            run.send("0123456789")

    *pieces, end = log(emitter)
    assert end == {"state": "failed"}
    assert 1500 < len("".join(pieces)) <= 2000


def test_nothing_is_trimmed(make):
    """The length limit of histories is not for runs."""
    emitter = make(history=10)
    with emitter.run(NAME) as run:
        for number in range(500):
            run.send({"n": number})

    assert [one["n"] for one in log(emitter)[:-1]] == list(range(500))


def test_the_log_outlives_its_ttl_while_the_run_lasts(make):
    """The TTL is counted from the end, however slow the producer is."""
    emitter = make(history_ttl=0.2)
    with emitter.run(NAME, ttl=1, lease=0.6) as run:
        run.send("early")
        time.sleep(2)
        assert log(emitter) == ["early"]
    time.sleep(0.4)

    assert log(emitter) == ["early", {"state": "finished"}]
    wait_until(lambda: emitter.run_status(NAME) == "pending", 5)
    wait_until(lambda: log(emitter) == [], 5)


def test_wrong_uses_say_what_to_do(make):
    """Each before anything is written."""
    emitter = make()
    with pytest.raises(ConfigError, match="lease"):
        emitter.run(NAME, lease=0)
    with pytest.raises(SetupError, match=r"with events\.run"):
        emitter.run(NAME).send("x")
    with emitter.run(NAME) as run:
        with pytest.raises(FieldError):
            run.send(b"bytes")
        with pytest.raises(SetupError, match="once"):
            run.__enter__()
    assert log(emitter) == [{"state": "finished"}]


def test_without_history_there_are_no_runs(redis_server, prefix):
    """The log is a history."""
    emitter = Emitter(redis_server.url, prefix=prefix, history=0)

    with pytest.raises(ConfigError, match="REDIS_EVENTS_HISTORY"):
        emitter.run(NAME)
    emitter.close()


@pytest.mark.redis(appendonly=True)
def test_a_run_survives_a_restart_of_redis(own_redis_server):
    """Everything is in the log once, in order."""
    emitter = Emitter(own_redis_server.url)
    expected = ""
    with emitter.run(NAME, lease=20) as run:
        for number in range(60):
            run.send(f"{number} ")
            expected += f"{number} "
            time.sleep(0.02)
            if number == 20:
                own_redis_server.restart()

    *pieces, end = log(emitter)
    assert ("".join(pieces), end) == (expected, {"state": "finished"})
    emitter.close()


def test_a_run_that_redis_has_lost_is_told(own_redis_server):
    """The producer is told, and so is everybody else."""
    emitter = Emitter(own_redis_server.url)
    with pytest.raises(RunLost, match="lost its data"), emitter.run(NAME, lease=1) as run:
        run.send("before")
        wait_until(lambda: log(emitter) == ["before"])
        own_redis_server.client().flushall()
        wait_until(lambda: run.stop_requested)
        run.send("after")

    assert emitter.run_status(NAME) == "lost"
    assert log(emitter) == [{"state": "lost"}]
    emitter.close()


def test_a_run_that_lacks_a_write_is_lost(redis_server, prefix):
    """After a failover that lost some of it, nothing is added: what is incomplete is told."""
    emitter = Emitter(redis_server.url, prefix=prefix)
    client = redis_server.client()
    with pytest.raises(RunLost), emitter.run(NAME, lease=2) as run:
        run.send("one ")
        wait_until(lambda: log(emitter) == ["one "])
        # Renewals are no writes, so one that was lost does not matter.
        time.sleep(1.5)
        written = client.hget(f"{prefix}run:{NAME}", "number")
        assert written == b"1"
        run.send("two ")
        wait_until(lambda: log(emitter) == ["one ", "two "])
        client.hset(f"{prefix}run:{NAME}", "number", "1")
        client.xtrim(f"{prefix}history:{NAME}", maxlen=1, approximate=False)
        wait_until(lambda: run.stop_requested)
        run.send("three")

    assert emitter.run_status(NAME) == "lost"
    assert log(emitter)[-1] == {"state": "lost"}
    emitter.close()


def test_what_a_worker_has_not_received_is_not_lost(redis_server, prefix):
    """A worker that was cut off awaits the end of a run that Redis has forgotten since."""
    emitter = Emitter(redis_server.url, prefix=prefix)
    with emitter.run(NAME, ttl=0.3) as run:
        run.send("text")
    found = emitter.broker.replay(channels(NAME), last=2).messages
    ids = [message.id for message in found if message.id]
    wait_until(lambda: emitter.run_status(NAME) == "pending")
    for id in ids:
        emitter.broker.runs.sweep([NAME], id.before)
        assert emitter.run_status(NAME) == "pending"

    # Of one that has received the end, and awaits it nevertheless, a failover has lost a newer run.
    emitter.broker.runs.sweep([NAME], ids[-1])
    assert emitter.run_status(NAME) == "lost"
    emitter.close()


def test_a_write_whose_answer_is_lost_is_written_once(emitter, monkeypatch):
    """It is sent again under its number."""
    write = emitter.broker.runs.write
    failed: list[int] = []

    def lose_the_answer(*args: Any, **options: Any) -> Any:
        standing = write(*args, **options)
        if len(failed) < 2:
            failed.append(1)
            raise BrokerError("The connection was closed.")
        return standing

    monkeypatch.setattr(emitter.broker.runs, "write", lose_the_answer)
    with emitter.run(NAME) as run:
        run.send("once")

    assert log(emitter) == ["once", {"state": "finished"}]


def test_a_broker_in_memory_is_forgotten_with_its_last_user():
    """Its runs do not keep it."""
    broker = open_broker("memory://forgotten", prefix="", history=1, history_ttl=1)
    known = weakref.ref(broker)

    del broker

    assert known() is None
