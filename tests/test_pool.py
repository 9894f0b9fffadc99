"""Application code for many clients, in few greenlets.

The pool works under gevent only, so these tests let gevent's loop run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import gevent
import pytest
from gevent.event import Event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_redis_events import concurrency
from flask_redis_events import pool as pool_module
from flask_redis_events.pool import Pool
from tests.support.clock import Clock
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("gevent_loop")

Part = Callable[[], object]


def quick() -> None:
    """Work for a moment."""


def pause() -> None:
    """Wait for something, as for a database, so that others run."""
    gevent.sleep(0)


class Work:
    """A job of parts: each is made, and then sent."""

    def __init__(self, log: list[str], name: str, parts: Iterable[Part] = (quick,)) -> None:
        self._log = log
        self._name = name
        self._parts = list(parts)
        self._number = 0

    @property
    def over(self) -> bool:
        return not self._parts

    def work(self) -> bool:
        self._number += 1
        self._parts.pop(0)()
        self._log.append(f"made {self._name}{self._number}")
        return True

    def send(self) -> bool:
        self._log.append(f"sent {self._name}{self._number}")
        return not self.over

    def fail(self) -> None:
        self._log.append(f"failed {self._name}")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pool_module, "time", clock)
    return clock


@pytest.fixture
def long(clock: Clock) -> Part:
    """A part that lasts as long as a turn, and lets nobody run meanwhile."""

    def work() -> None:
        clock.now += concurrency.TURN

    return work


@pytest.fixture
def pool(clock: Clock) -> Pool:
    return Pool()


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def greenlets(monkeypatch: pytest.MonkeyPatch) -> list[gevent.Greenlet]:
    """The greenlets that the pool starts."""
    started: list[gevent.Greenlet] = []
    spawned: Callable[..., gevent.Greenlet] = gevent.spawn
    monkeypatch.setattr(concurrency, "soon", lambda run: started.append(spawned(run)))
    return started


def add(pool: Pool, *jobs: Work) -> None:
    for job in jobs:
        pool.add(job)


def test_a_job_is_made_and_then_sent(pool, log):
    """A job's work begins after `add` has returned, and is followed by its sending."""
    pool.add(Work(log, "a"))
    before = list(log)

    assert before == []
    assert wait_until(lambda: log == ["made a1", "sent a1"])


def test_jobs_are_made_in_the_order_in_which_they_came(pool, log):
    """Short jobs are made one after the other, and then sent in the same order."""
    add(pool, *(Work(log, name) for name in "abc"))

    assert wait_until(lambda: len(log) == 6)
    assert [entry for entry in log if "made" in entry] == ["made a1", "made b1", "made c1"]
    assert [entry for entry in log if "sent" in entry] == ["sent a1", "sent b1", "sent c1"]


def test_a_job_with_more_to_make_waits_for_its_next_turn(pool, log, long):
    """A job of several parts does not hold up a job of one."""
    add(pool, Work(log, "a", [long, quick, quick]), Work(log, "b"))

    assert wait_until(lambda: len(log) == 8)
    assert log.index("made b1") < log.index("made a2")
    assert [entry for entry in log if "a" in entry[-2:]] == [
        *("made a1", "sent a1", "made a2", "sent a2", "made a3", "sent a3")
    ]


def test_a_job_that_makes_nothing_is_not_sent(pool, log):
    """A job whose work returns False is neither sent nor worked on again."""

    class Idle(Work):
        def work(self) -> bool:
            super().work()
            return False

    add(pool, Idle(log, "a", [quick, quick]), Work(log, "b"))

    assert wait_until(lambda: "sent b1" in log)
    assert log == ["made a1", "made b1", "sent b1"]


def test_a_job_that_waits_holds_up_itself_only(pool, log):
    """While the code of one client waits, the other clients' jobs are made and sent."""
    answer = Event()
    add(pool, Work(log, "a", [answer.wait]), *(Work(log, name) for name in "bcd"))

    wait_until(lambda: "sent d1" in log)
    assert "made a1" not in log

    answer.set()
    wait_until(lambda: "sent a1" in log)
    assert sorted(log[-2:]) == ["made a1", "sent a1"]


def test_what_was_made_before_a_job_waits_is_sent_meanwhile(pool, log):
    """A job that was made is not held up by the next job's wait."""
    answer = Event()
    add(pool, Work(log, "a"), Work(log, "b", [answer.wait]), Work(log, "c"))

    assert wait_until(lambda: log == ["made a1", "sent a1", "made c1", "sent c1"])
    answer.set()
    assert wait_until(lambda: "sent b1" in log)


def test_what_was_made_is_sent_while_another_greenlet_rests(pool, log, long):
    """A job that was made while another greenlet gives way is sent before the next job is made."""
    begin, go_on = Event(), Event()

    def go_on_and_add() -> None:
        begin.wait()
        pool.add(Work(log, "d"))
        go_on.set()

    def wait_shortly() -> None:
        begin.set()
        go_on.wait()

    # The greenlet of `a` waits through the turn of `b`, and so gives way as soon as it goes on.
    # Just then `c` goes on, whose greenlet's turn is not over, and finds `d` waiting.
    add(
        pool,
        Work(log, "a", [go_on_and_add]),
        Work(log, "b", [long]),
        Work(log, "c", [wait_shortly]),
    )

    assert wait_until(lambda: "sent d1" in log)
    assert log[2:] == ["made a1", "sent a1", "made c1", "sent c1", "made d1", "sent d1"]


def test_all_jobs_may_wait_at_once(pool, log):
    """Each job that waits has a greenlet of its own, so that no wait adds to another."""
    answer = Event()
    waiting: list[int] = []

    def wait() -> None:
        waiting.append(1)
        answer.wait()

    add(pool, *(Work(log, name, [wait]) for name in "abcde"))
    wait_until(lambda: len(waiting) == 5)
    answer.set()

    assert wait_until(lambda: len(log) == 10)


def test_a_job_that_is_added_while_another_waits_is_worked_on(pool, log):
    """A pool all of whose greenlets wait takes the next job up at once."""
    answer = Event()
    pool.add(Work(log, "a", [answer.wait]))
    gevent.idle()
    pool.add(Work(log, "b"))

    assert wait_until(lambda: log == ["made b1", "sent b1"])
    answer.set()
    assert wait_until(lambda: "sent a1" in log)


def test_jobs_that_do_not_wait_need_few_greenlets(pool, log, greenlets):
    """A thousand jobs that wait for nothing are the work of two greenlets, not of a thousand."""
    add(pool, *(Work(log, "a") for _ in range(1000)))

    assert wait_until(lambda: log.count("sent a1") == 1000)
    assert len(greenlets) < 20


def test_a_greenlet_that_gives_way_goes_on_itself(greenlets, pool, log, long):
    """While a greenlet lets others run between two turns, no other one takes its work over."""
    working: list[int] = []

    def count() -> None:
        working.append(sum(not greenlet.dead for greenlet in greenlets))
        long()

    add(pool, *(Work(log, "a", [count]) for _ in range(50)))

    assert wait_until(lambda: log.count("sent a1") == 50)
    # One stands by.
    assert max(working) <= 2


def test_an_idle_pool_holds_no_greenlet(pool, log, long, greenlets):
    """All greenlets of the pool end when there is nothing to do, and none is missed later."""
    add(pool, Work(log, "a", [pause, quick]), Work(log, "b", [long, pause]))
    wait_until(lambda: log.count("sent a2") == log.count("sent b2") == 1)
    gevent.joinall(greenlets, timeout=5)

    assert all(greenlet.dead for greenlet in greenlets)
    pool.add(Work(log, "c"))
    assert wait_until(lambda: "sent c1" in log)


def test_others_run_between_turns(pool, log, long):
    """A greenlet of the worker runs before all of many long jobs are made."""
    add(pool, *(Work(log, "a", [long]) for _ in range(20)))
    other = gevent.spawn(lambda: log.count("made a1"))
    other.join(5)

    assert other.value < 20
    assert wait_until(lambda: log.count("sent a1") == 20)


def test_what_was_made_is_sent_at_the_end_of_a_turn(pool, log, long):
    """A turn ends with its sending: no client waits for long jobs, and short ones share a turn."""
    add(pool, Work(log, "a", [long]), Work(log, "b"), Work(log, "c"))

    assert wait_until(lambda: "sent c1" in log)
    assert log == ["made a1", "sent a1", "made b1", "made c1", "sent b1", "sent c1"]


@pytest.mark.parametrize("error", [ValueError, gevent.GreenletExit, gevent.Timeout, SystemExit])
@pytest.mark.parametrize("kind", ["work", "send"])
def test_a_job_that_raises_ends_alone(pool, log, caplog, kind, error):
    """A job that raises anything is logged and told to end; the other jobs are made and sent."""

    def fail() -> bool:
        raise error

    bad = Work(log, "x", [fail, quick] if kind == "work" else [quick, quick])
    if kind == "send":
        bad.send = fail  # type: ignore[method-assign]
    add(pool, Work(log, "a"), bad, Work(log, "b"))
    wait_until(lambda: {"sent a1", "sent b1"} <= set(log))

    assert [entry for entry in log if "x" in entry] == ["made x1"] * (kind == "send") + ["failed x"]
    assert "Working for a stream failed." in caplog.text


def test_a_job_may_add_another_one(pool, log):
    """A job that is added by the work of another job is worked on, too."""
    pool.add(Work(log, "a", [lambda: pool.add(Work(log, "b"))]))

    assert wait_until(lambda: {"sent a1", "sent b1"} <= set(log))


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_part_is_made_and_sent_once_and_in_order(long, data):
    """Whenever jobs wait and turns end, each job's parts are made, and sent, in order and once."""
    parts = st.lists(st.sampled_from([quick, quick, long, pause]), min_size=1, max_size=4)
    jobs = data.draw(st.lists(parts, min_size=1, max_size=12))
    pool = Pool()
    logs: list[list[str]] = [[] for _ in jobs]
    add(pool, *(Work(log, "", parts) for log, parts in zip(logs, jobs, strict=True)))
    wanted = [
        [
            entry
            for number in range(1, len(job) + 1)
            for entry in (f"made {number}", f"sent {number}")
        ]
        for job in jobs
    ]

    wait_until(lambda: logs == wanted, message=lambda: f"Not all came: {logs}")
