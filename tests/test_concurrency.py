"""Threads or greenlets, and one of them that waits for another."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import gevent
import gevent.monkey
import pytest
from gevent.socket import wait_read
from hypothesis import given
from hypothesis import strategies as st

from flask_redis_events import concurrency
from flask_redis_events.concurrency import (
    Deadline,
    Turn,
    Wakeable,
    backoff,
    guard,
    is_exit,
    jitter,
    let_others_run,
    soon,
    spawn,
)
from tests.support.clock import Clock
from tests.support.waiting import wait_until


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Python switches between threads as often as it can, so that more orders of events occur."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(concurrency, "time", clock)
    return clock


# --- threads or greenlets ---------------------------------------------------------------------


def test_the_process_knows_whether_gevent_has_patched_it():
    """`patched` says the same as gevent, again and again."""
    told = gevent.monkey.is_module_patched("threading")

    assert [concurrency.patched(), concurrency.patched()] == [told, told]


def test_what_is_spawned_runs_beside_its_caller():
    """A spawned function waits for its caller's event, and the caller can join it."""
    told = threading.Event()
    ran: list[int] = []

    def run() -> None:
        told.wait(5)
        ran.append(1)

    thread = spawn("test", run)
    assert ran == []

    told.set()
    thread.join(5)
    assert ran == [1]


@pytest.mark.usefixtures("gevent_loop")
def test_under_gevent_a_greenlet_is_spawned():
    """Under gevent a function is spawned in a plain greenlet, which costs less than a thread."""
    thread: object = spawn("test", lambda: None)

    assert type(thread) is gevent.Greenlet
    thread.join(5)


def test_without_gevent_a_daemon_is_spawned(monkeypatch):
    """Without gevent a function is spawned in a thread that has a name and keeps no process."""
    monkeypatch.setattr(concurrency, "patched", lambda: False)
    thread = spawn("test", lambda: None)

    assert (thread.name, thread.daemon) == ("redis-events-test", True)
    thread.join(5)


@pytest.mark.usefixtures("gevent_loop")
def test_under_gevent_soon_is_the_loops_next_turn():
    """Under gevent, functions run after their caller has let the loop run, and in order."""
    ran: list[int] = []
    soon(lambda: ran.append(1))
    soon(lambda: ran.append(2))

    assert ran == []
    assert wait_until(lambda: ran == [1, 2])


def test_without_gevent_soon_is_now(monkeypatch):
    """Without gevent, the function has run when `soon` returns."""
    monkeypatch.setattr(concurrency, "patched", lambda: False)
    ran: list[int] = []
    soon(lambda: ran.append(1))

    assert ran == [1]


@pytest.mark.usefixtures("gevent_loop")
def test_under_gevent_whoever_waits_for_a_socket_is_let_run():
    """A greenlet whose socket has become ready runs after two rests of another greenlet at most."""
    received: list[bytes] = []
    mine, others = socket.socketpair()
    with mine, others:

        def read() -> None:
            wait_read(others.fileno())
            received.append(others.recv(1))

        reader = gevent.spawn(read)
        let_others_run()
        mine.send(b"x")
        let_others_run()
        let_others_run()
        in_time = [*received]
        reader.kill()

    assert in_time == [b"x"]


def test_without_gevent_a_guard_keeps_others_out(monkeypatch):
    """A thread cannot enter a guard that another thread has entered."""
    monkeypatch.setattr(concurrency, "patched", lambda: False)
    lock = guard()
    with lock:
        entered = lock.acquire(blocking=False)

    assert not entered
    assert lock is not guard()


@pytest.mark.usefixtures("gevent_loop")
def test_under_gevent_a_guard_costs_nothing():
    """Under gevent all guards are one object, which lets everybody in."""
    with guard(), guard():
        same = guard() is guard()

    assert same


@pytest.mark.parametrize(
    "error, exits",
    [
        pytest.param(gevent.GreenletExit(), True, id="a killed greenlet"),
        pytest.param(GeneratorExit(), True, id="a closed generator"),
        pytest.param(KeyboardInterrupt(), True, id="an interrupted process"),
        pytest.param(SystemExit(1), False, id="a callback may not end the worker"),
        pytest.param(gevent.Timeout(), False, id="a timeout of the application"),
        pytest.param(ValueError(), False, id="an error"),
    ],
)
def test_an_exit_is_no_error_of_the_application(error, exits):
    """Only an exception that asks this greenlet or process to stop is an exit."""
    assert is_exit(error) is exits


# --- turns ------------------------------------------------------------------------------------


def test_work_rests_when_its_turn_is_over(clock):
    """Work goes on within a millisecond, then rests once, and begins another turn."""
    rests: list[float] = []
    turn = Turn(lambda: rests.append(clock.now))
    for _ in range(8):
        turn.maybe_rest()
        clock.now += 0.0004

    assert rests == pytest.approx([100.0012, 100.0024])


def test_a_turn_is_over_at_its_millisecond(clock):
    """Work rests as soon as its turn has lasted a millisecond."""
    rests: list[float] = []
    turn = Turn(lambda: rests.append(clock.now))
    clock.now += concurrency.TURN * 0.99
    turn.maybe_rest()
    clock.now += concurrency.TURN * 0.01
    turn.maybe_rest()

    assert rests == [clock.now]


def test_a_turn_begins_after_the_rest(clock):
    """The time that others take while the work rests does not count as the work's own."""

    rests: list[float] = []

    def rest() -> None:
        clock.now += 10
        rests.append(clock.now)

    turn = Turn(rest)
    clock.now += concurrency.TURN
    turn.maybe_rest()
    turn.maybe_rest()

    assert rests == [clock.now]


@pytest.mark.usefixtures("gevent_loop")
def test_a_rest_lets_other_greenlets_run():
    """By default, another greenlet runs while the work rests."""
    ran: list[int] = []
    gevent.spawn(ran.append, 1)
    turn = Turn()
    while not ran:
        turn.maybe_rest()

    assert ran == [1]


# --- waiting ----------------------------------------------------------------------------------


class Value(Wakeable):
    """A value that others set."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def set(self, value: int) -> None:
        self.value = value
        self.notify()

    def wait_for(self, value: int, timeout: float | None = None) -> bool:
        return self.wait(lambda: self.value == value, timeout)


def ends(
    wait: Callable[[], object], meanwhile: Callable[[], object] = lambda: None
) -> list[object]:
    """Wait in another thread, and return what that returned; [] if it did not return in time."""
    returned: list[object] = []
    thread = spawn("test", lambda: returned.append(wait()))
    meanwhile()
    thread.join(5)
    return returned


TIMEOUTS = pytest.mark.parametrize("timeout", [None, 60], ids=["no timeout", "timeout"])


@TIMEOUTS
def test_a_change_wakes_the_one_who_waits(timeout):
    """A change ends a wait, whenever it comes."""
    value = Value()

    assert ends(lambda: value.wait(lambda: value.value, timeout), lambda: value.set(1)) == [True]


@TIMEOUTS
def test_a_change_before_the_wait_is_seen(timeout):
    """A wait for a change that was made before returns at once."""
    value = Value()
    value.set(1)

    assert ends(lambda: value.wait(lambda: value.value, timeout)) == [True]


@TIMEOUTS
def test_a_change_of_something_else_does_not_end_the_wait(timeout):
    """A waiter that is woken for nothing asks again, and waits for the next change."""
    value = Value()
    asked: list[int] = []

    def happened() -> bool:
        asked.append(value.value)
        return value.value == 2

    def change() -> None:
        wait_until(lambda: asked)
        value.set(1)
        wait_until(lambda: asked[-1] == 1)
        value.set(2)

    assert ends(lambda: value.wait(happened, timeout), change) == [True]


@TIMEOUTS
def test_many_changes_at_once_wake_once(timeout):
    """Changes that come before the waiter has run are one reason to ask again."""
    value = Value()
    asked: list[int] = []

    def happened() -> bool:
        asked.append(value.value)
        return value.value == 3

    def change() -> None:
        wait_until(lambda: asked)
        for number in (1, 2, 3):
            value.set(number)

    assert ends(lambda: value.wait(happened, timeout), change) == [True]


@pytest.mark.parametrize("question", [1, 2, 3])
def test_a_change_right_after_the_question_is_not_lost(question):
    """A change between a waiter's question and its wait ends the wait.

    The waiter asks once before there is an event to set, and once after; the third question is the
    first one after it was woken for nothing.
    """
    value = Value()
    asked: list[int] = []

    def happened() -> int:
        answer = value.value
        asked.append(answer)
        if len(asked) == question:
            # Another thread makes its change here, after the waiter has looked.
            value.set(1)
        elif len(asked) < question:
            value.notify()
        return answer

    assert ends(lambda: value.wait(happened, 60)) == [True]


@TIMEOUTS
@pytest.mark.usefixtures("quick_switches")
def test_no_wake_up_is_lost_between_two_who_take_turns(timeout):
    """Two threads that wait for each other's message a thousand times get all of them."""
    there, back = Value(), Value()

    def answer() -> None:
        for number in range(1, 1001):
            there.wait_for(number, timeout)
            back.set(number)

    def ask() -> bool:
        for number in range(1, 1001):
            there.set(number)
            back.wait_for(number, timeout)
        return True

    assert ends(ask, lambda: spawn("test", answer)) == [True]


@TIMEOUTS
@pytest.mark.usefixtures("quick_switches")
def test_no_wake_up_is_lost_among_many_who_change(timeout):
    """A waiter takes all that four threads put in, whenever they do."""
    box = Wakeable()
    waiting: deque[int] = deque()

    def put() -> None:
        for number in range(250):
            waiting.append(number)
            box.notify()
            if number % 10 == 0:
                time.sleep(0)

    def take() -> int:
        taken = 0
        while taken < 1000:
            box.wait(lambda: waiting, timeout)
            while waiting:
                waiting.popleft()
                taken += 1
        return taken

    assert ends(take, lambda: [spawn("test", put) for _ in range(4)]) == [1000]


def test_a_wait_ends_with_its_timeout():
    """A wait in which nothing happens returns False, and not before its time."""
    value = Value()
    began = time.monotonic()
    happened = value.wait(lambda: value.value, 0.05)

    assert not happened
    assert time.monotonic() - began >= 0.05


def test_the_last_question_is_asked_after_the_timeout():
    """A wait returns True for what has happened by its end, though nobody said so."""
    value = Value()
    answers = iter([False, False, True])

    assert value.wait(lambda: next(answers), 0.01)


def test_a_wait_without_time_only_asks():
    """A wait of 0 seconds says whether it has happened."""
    value = Value()
    before = value.wait(lambda: value.value, 0)
    value.set(1)

    assert (before, value.wait(lambda: value.value, 0)) == (False, True)


def test_a_wait_is_as_long_however_often_it_is_woken():
    """A waiter that is woken again and again for nothing returns False when its time is over."""
    value = Value()
    over = threading.Event()

    def disturb() -> None:
        while not over.is_set():
            value.notify()
            time.sleep(0.001)

    thread = spawn("test", disturb)
    returned = ends(lambda: value.wait(lambda: False, 0.1))
    over.set()
    thread.join(5)

    assert returned == [False]


def test_each_change_calls_wake_until_somebody_waits():
    """`wake` is called at each change; once somebody has waited, a change wakes the waiter only."""
    value = Value()
    woken: list[int] = []
    value.wake = lambda: woken.append(value.value)
    value.set(1)
    value.set(2)
    value.wait(lambda: False, 0)
    value.set(3)

    assert woken == [1, 2]


@pytest.mark.usefixtures("gevent_loop")
def test_a_waiter_may_be_killed():
    """A greenlet that is killed while it waits takes nothing with it, and another one can wait."""
    value = Value()
    killed = gevent.spawn(value.wait_for, 1)
    gevent.idle()
    killed.kill()
    value.notify()
    other = gevent.spawn(value.wait_for, 1)
    gevent.idle()
    value.set(1)
    other.join(5)

    assert other.value is True


@pytest.mark.usefixtures("gevent_loop")
def test_a_change_wakes_a_greenlet_in_the_loops_next_turn():
    """`notify` does not switch to the waiter, because its caller is in the midst of other work."""
    value = Value()
    waiter = gevent.spawn(value.wait_for, 1)
    gevent.idle()
    value.set(1)
    woken_at_once = waiter.ready()
    waiter.join(5)

    assert not woken_at_once
    assert waiter.value is True


# --- time -------------------------------------------------------------------------------------


@given(st.floats(0, 1000), st.floats(0, 1))
def test_jitter_only_shortens(seconds, by):
    """A time with jitter is shorter by its share at most, and never longer."""
    assert seconds * (1 - by) * 0.999 <= jitter(seconds, by=by) <= seconds


@given(st.integers(0, 10**6), st.floats(0.001, 1), st.floats(1, 100))
def test_backoff_doubles_up_to_its_most(attempt, first, most):
    """The time before an attempt is between half of its doubled time and all of it."""
    ceiling = min(most, first * 2.0 ** min(attempt, 1000))

    assert ceiling / 2 <= backoff(attempt, first=first, most=most) <= ceiling


def test_a_deadline_passes(clock):
    """A deadline counts down to 0 seconds, and has then passed."""
    deadline = Deadline(2)
    lefts = [deadline.left]
    clock.now += 1.5
    lefts.append(deadline.left)
    open_until_then = not deadline.passed
    clock.now += 0.5

    assert lefts == [2, 0.5]
    assert open_until_then
    assert (deadline.left, deadline.passed) == (0, True)


def test_no_deadline_never_passes(clock):
    """A deadline of None has no seconds left, and never passes."""
    deadline = Deadline(None)
    clock.now += 1e9

    assert (deadline.left, deadline.passed) == (None, False)


def test_forked_workers_do_not_wait_alike():
    """With `--preload`, the workers are copies of a process that has imported the package."""
    forking = (
        "import os\n"
        "from flask_redis_events.concurrency import jitter\n"
        "for _ in range(2):\n"
        "    if not os.fork():\n"
        "        print(jitter(1.0), flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", forking], capture_output=True, text=True)

    assert len(set(done.stdout.split())) == 2, done.stderr
