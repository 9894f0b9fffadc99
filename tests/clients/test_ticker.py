"""One greenlet or thread that keeps time for all streams."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_redis_events import concurrency
from flask_redis_events.clients import Owner, Ticker, ticker
from flask_redis_events.clients.ticker import LOOK
from flask_redis_events.concurrency import Deadline
from tests.support.waiting import wait_until


class Alarm(Owner):
    """Remembers when it was called, and says when to be called again."""

    def __init__(self, again: Callable[[float], float | None] = lambda now: None) -> None:
        self._again = again
        self.calls: list[float] = []

    def tick(self, now: float) -> float | None:
        self.calls.append(now)
        return self._again(now)


class Started:
    """A ticker that runs, its looks, and the greenlet or thread that it runs in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = time.monotonic()
        self.looks: list[float] = []
        self.on_look: Callable[[], object] = lambda: None
        self.ticker = Ticker(self._look)
        spawn, threads = concurrency.spawn, []

        def spawning(name: str, function: Callable[[], None]) -> threading.Thread:
            threads.append(spawn(name, function))
            return threads[-1]

        with monkeypatch.context() as patch:
            patch.setattr(concurrency, "spawn", spawning)
            self.ticker.start()
        [self.thread] = threads

    def _look(self) -> None:
        self.looks.append(time.monotonic())
        self.on_look()

    def add(
        self, again: Callable[[float], float | None] = lambda now: None, **kwargs: Any
    ) -> Alarm:
        """Add an alarm for now."""
        alarm = Alarm(again)
        self.ticker.add(alarm, time.monotonic(), **kwargs)
        return alarm


def is_running(thread: Any) -> bool:
    """Say whether a thread, or a greenlet, has not ended."""
    return thread.is_alive() if isinstance(thread, threading.Thread) else not thread.dead


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    started = Started(monkeypatch)
    yield started
    started.ticker.stop()
    started.thread.join(5)


@pytest.fixture
def rare_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ticker looks once an hour, so that only exact moments wake it."""
    monkeypatch.setattr(ticker, "LOOK", 3600.0)


# --- moments ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("rare_looks")
def test_an_exact_moment_wakes_the_ticker(started):
    """An exact moment is met although the ticker's next look is an hour away."""
    alarm = Alarm()
    at = time.monotonic() + 0.05
    started.ticker.add(alarm, at, exact=True)

    assert wait_until(lambda: alarm.calls)
    assert alarm.calls[0] >= at


@pytest.mark.usefixtures("rare_looks")
def test_an_exact_moment_may_come_before_the_one_that_is_waited_for(started):
    """The ticker is woken for a moment that is added later, and comes sooner."""
    late, soon = Alarm(), Alarm()
    started.ticker.add(late, time.monotonic() + 1800, exact=True)
    first = started.add(exact=True)
    wait_until(lambda: first.calls)
    started.ticker.add(soon, time.monotonic() + 0.02, exact=True)

    assert wait_until(lambda: soon.calls)
    assert late.calls == []


@pytest.mark.usefixtures("rare_looks")
def test_an_exact_moment_may_have_passed(started):
    """An exact moment in the past is met at once."""
    alarm = Alarm()
    started.ticker.add(alarm, time.monotonic() - 10, exact=True)

    assert wait_until(lambda: len(alarm.calls) == 1)


def test_other_moments_are_kept_to_the_tickers_steps(started):
    """A moment that need not be exact is met at the next whole quarter of a second, not before."""
    step = math.ceil(time.monotonic() / LOOK + 0.1) * LOOK
    alarm = Alarm()
    started.ticker.add(alarm, step + 0.01)

    assert wait_until(lambda: alarm.calls)
    assert alarm.calls[0] >= step + LOOK


def test_moments_are_met_in_their_order():
    """A ticker that is late calls the earliest first, and equal moments as they were added."""
    order: list[int] = []

    def numbered(number: int) -> Alarm:
        return Alarm(lambda now: order.append(number))

    late = Ticker(lambda: None)
    for number, at in [(4, 4.0), (1, 1.0), (3, 2.0), (2, 1.0), (5, 4.0)]:
        late.add(numbered(number), at, exact=True)
    late.start()
    wait_until(lambda: len(order) == 5)
    late.stop()

    assert order == [1, 2, 3, 4, 5]


def test_a_tick_says_when_to_be_called_again(started):
    """A tick that returns a moment is called again then; one that returns None is not."""
    moments = iter([0.3, None])

    def again(now: float) -> float | None:
        seconds = next(moments)
        return None if seconds is None else now + seconds

    alarm = started.add(again)
    wait_until(lambda: len(alarm.calls) == 2)
    looks = len(started.looks)
    wait_until(lambda: len(started.looks) >= looks + 2)

    assert len(alarm.calls) == 2
    assert alarm.calls[1] >= alarm.calls[0] + 0.3


def test_nothing_is_called_again_at_once(started):
    """A tick that asks for a moment that has passed waits for a look, and holds up nothing."""
    alarm = started.add(lambda now: 0.0)
    other = started.add()
    wait_until(lambda: len(alarm.calls) == 3 and other.calls)
    first, second, third = alarm.calls[:3]

    assert second >= first + LOOK
    assert third >= second + LOOK


def test_a_tick_that_raises_ends_alone(started, caplog):
    """The exception of a tick is logged, and the ticker goes on with the others."""

    def fail(now: float) -> None:
        raise ValueError("no such client")

    failing, other = started.add(fail), started.add()
    wait_until(lambda: failing.calls and other.calls)
    looks = len(started.looks)
    wait_until(lambda: len(started.looks) >= looks + 2)

    assert len(failing.calls) == 1
    assert "A stream's timer failed" in caplog.text
    assert "ValueError: no such client" in caplog.text


# --- looks ------------------------------------------------------------------------------------


def test_the_server_is_looked_at_four_times_a_second(started):
    """Looks are a quarter of a second apart or more, with nothing to keep time for."""
    wait_until(lambda: len(started.looks) >= 3)

    for number, at in enumerate(started.looks, 1):
        assert at >= started.began + number * LOOK


def test_a_flood_of_exact_moments_does_not_keep_the_ticker_from_looking(started):
    """A ticker that is woken more often than it rests looks at the server nevertheless."""
    alarm, deadline = Alarm(), Deadline(5)
    while len(started.looks) < 4 and not deadline.passed:
        started.ticker.add(alarm, time.monotonic(), exact=True)
        time.sleep(0.001)

    assert len(started.looks) >= 4


def test_a_look_that_raises_is_not_the_last(started, caplog):
    """The exception of a look is logged, and the ticker looks again."""

    def fail() -> None:
        raise ValueError("no such worker")

    started.on_look = fail

    assert wait_until(lambda: len(started.looks) >= 2)
    assert "Looking at the server failed" in caplog.text


# --- the end ----------------------------------------------------------------------------------


def test_a_worker_that_ends_calls_all_at_the_next_look(started):
    """After `hasten`, alarms of any moment are called with the next look, each once."""
    alarms = [Alarm() for _ in range(20)]
    for number, alarm in enumerate(reversed(alarms)):
        started.ticker.add(alarm, time.monotonic() + 60 + number, exact=number % 2 == 0)
    started.ticker.hasten()

    assert wait_until(lambda: all(alarm.calls for alarm in alarms))
    assert [len(alarm.calls) for alarm in alarms] == [1] * 20


def test_a_look_may_hasten(started):
    """Alarms are called right after the look that finds that the worker ends."""
    looks: list[int] = []
    started.ticker.add(Alarm(lambda now: looks.append(len(started.looks))), time.monotonic() + 60)
    started.on_look = started.ticker.hasten

    assert wait_until(lambda: looks) == [1]


def test_what_is_added_after_the_haste_has_its_own_time(started):
    """`hasten` is for alarms that wait, and not for later ones."""
    early, late = Alarm(), Alarm()
    started.ticker.add(early, time.monotonic() + 60)
    started.ticker.hasten()
    started.ticker.add(late, time.monotonic() + 60)
    wait_until(lambda: early.calls)

    assert late.calls == []


@pytest.mark.usefixtures("rare_looks")
def test_a_ticker_that_sleeps_stops_at_once(started):
    """`stop` wakes the ticker, whose thread ends; nothing that waits is called."""
    alarm = started.add()
    first = started.add(exact=True)
    wait_until(lambda: first.calls)
    started.ticker.stop()
    started.thread.join(5)

    assert not is_running(started.thread)
    assert alarm.calls == []


def test_a_tick_may_stop_the_ticker(started):
    """A ticker that is stopped by a tick ends after it, whatever the tick asks for."""

    def stop(now: float) -> float:
        started.ticker.stop()
        return now

    alarm = started.add(stop)
    wait_until(lambda: alarm.calls)
    started.thread.join(5)

    assert not is_running(started.thread)
    assert len(alarm.calls) == 1
