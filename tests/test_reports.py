"""What happened: counted, signalled and logged by one call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from blinker import NamedSignal

from flask_redis_events import endings, signals
from flask_redis_events.concurrency import spawn
from flask_redis_events.reports import MOST_NAMED, Happening, Metrics, Reports

SENDER = object()
FAILURE = ValueError("no such user")

#: Each report, what it counts, and the signals that it sends.
REPORTS: list[Any] = [
    pytest.param(
        lambda reports: reports.opened(["a", "b"]),
        {"opened": 1},
        [("stream-opened", {"channels": ["a", "b"]})],
        id="opened",
    ),
    pytest.param(lambda reports: reports.handed_off(), {"handed_off": 1}, [], id="handed off"),
    pytest.param(
        lambda reports: reports.refused(endings.FULL), {"refused.full": 1}, [], id="refused"
    ),
    pytest.param(lambda reports: reports.drained(), {"drained": 1}, [], id="drained"),
    pytest.param(
        lambda reports: reports.closed(["a"], endings.MAX_AGE, 2.5),
        {"closed.max age": 1},
        [("stream-closed", {"channels": ["a"], "reason": "max age", "seconds": 2.5})],
        id="closed",
    ),
    pytest.param(
        lambda reports: reports.reset("trimmed"),
        {"reset.trimmed": 1},
        [("stream-reset", {"reason": "trimmed"})],
        id="reset",
    ),
    pytest.param(
        lambda reports: reports.dropped(7),
        {"dropped": 7, "reset.overflow": 1},
        [("stream-reset", {"reason": "overflow"})],
        id="dropped",
    ),
    pytest.param(
        lambda reports: reports.replayed("memory"), {"replayed.memory": 1}, [], id="replayed"
    ),
    pytest.param(
        lambda reports: reports.callback_failed(["a"], FAILURE),
        {"callback_failed": 1},
        [("callback-failed", {"channels": ["a"], "exception": FAILURE})],
        id="callback failed",
    ),
    pytest.param(lambda reports: reports.offered(12), {"offered": 12}, [], id="offered"),
    pytest.param(
        lambda reports: reports.connected(0.5),
        {"connected": 1},
        [("broker-connected", {"seconds": 0.5})],
        id="connected",
    ),
    pytest.param(
        lambda reports: reports.lost(FAILURE),
        {"lost": 1},
        [("broker-lost", {"exception": FAILURE})],
        id="lost",
    ),
    pytest.param(lambda reports: reports.mute(), {"mute": 1}, [], id="mute"),
    pytest.param(
        lambda reports: reports.recovered("gap", 3),
        {"refilled.gap": 1},
        [("gap-repaired", {"reason": "gap", "recovered": 3})],
        id="recovered",
    ),
    pytest.param(
        lambda reports: reports.emit_failed(["a", "a", "b"], FAILURE),
        {"emit_failed": 3},
        [("emit-failed", {"channels": ["a", "a", "b"], "exception": FAILURE})],
        id="emit failed",
    ),
    pytest.param(lambda reports: reports.forked("5-0"), {"forked": 1}, [], id="forked"),
    pytest.param(lambda reports: reports.forbidden("a"), {"forbidden": 1}, [], id="forbidden"),
]


@contextmanager
def receiving() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Receive every signal that is sent for SENDER: its name, without the prefix, and keywords."""
    received: list[tuple[str, dict[str, Any]]] = []

    def receiver(name: str) -> Callable[..., None]:
        return lambda sender, **what: received.append((name.removeprefix("redis-events-"), what))

    names = [value for value in vars(signals).values() if isinstance(value, NamedSignal)]
    with ExitStack() as stack:
        for signal in names:
            stack.enter_context(signal.connected_to(receiver(signal.name), SENDER))
        yield received


@pytest.fixture
def reports() -> Reports:
    return Reports(SENDER, "events:")


@pytest.mark.parametrize("report, counted, told", REPORTS)
def test_one_call_counts_and_signals_a_happening(reports, report, counted, told):
    """Each report adds to its counters, and sends its signals with the application as sender."""
    with receiving() as received:
        report(reports)

    assert reports.metrics.snapshot() == counted
    assert received == told


@pytest.mark.parametrize("report, counted, told", REPORTS)
def test_every_back_end_records_what_is_counted(reports, report, counted, told):
    """A back end that an application adds records the same happenings as the worker's metrics."""
    other = Metrics()
    reports.back_ends.append(other.record)
    report(reports)

    assert other.snapshot() == counted


def test_a_back_end_knows_one_dataclass():
    """A happening is a name, a reason where there are several, and a count."""
    recorded: list[Happening] = []

    reports = Reports(SENDER)
    reports.back_ends = [recorded.append]
    reports.dropped(7)

    assert recorded == [Happening("dropped", None, 7), Happening("reset", "overflow", 1)]


def test_a_back_end_that_fails_keeps_nothing_from_the_others(reports, caplog):
    """The exception of a back end is logged, and the next back end and the signal's receivers hear.

    A report may come in the midst of a fan-out, which must go on.
    """

    def fail(happening: Happening) -> None:
        raise FAILURE

    reports.back_ends.insert(0, fail)
    with receiving() as received:
        reports.reset("trimmed")

    assert reports.metrics["reset.trimmed"] == 1
    assert received == [("stream-reset", {"reason": "trimmed"})]
    assert "A metrics back end failed" in caplog.text


def test_a_receiver_that_fails_ends_nothing(reports, caplog):
    """The exception of a signal's receiver is logged, and the happening is counted."""

    def fail(sender: object, **what: object) -> None:
        raise FAILURE

    with signals.stream_reset.connected_to(fail, SENDER):
        reports.reset("trimmed")

    assert reports.metrics["reset.trimmed"] == 1
    assert "A receiver of the signal redis-events-stream-reset failed" in caplog.text


def test_an_outage_is_logged_once(reports, caplog):
    """The log has one line when the connection is lost, and one when it is back."""
    reports.connected(0.1)
    for _ in range(3):
        reports.lost(FAILURE)
    reports.connected(0.1)
    reports.connected(0.1)

    assert [record.message for record in caplog.records] == [
        "The pub/sub connection is lost; reconnecting: no such user",
        "The pub/sub connection is back.",
    ]
    assert reports.metrics["lost"] == 3


def test_each_outage_is_logged(reports, caplog):
    """After the connection was back, the next outage is logged again."""
    for _ in range(2):
        reports.lost(FAILURE)
        reports.connected(0.1)

    assert caplog.text.count("is lost") == caplog.text.count("is back") == 2


@pytest.mark.parametrize(
    "report, level, line",
    [
        pytest.param(
            lambda reports: reports.mute(), logging.WARNING, "connection went silent", id="mute"
        ),
        pytest.param(
            lambda reports: reports.forked("5-0"),
            logging.WARNING,
            "Messages up to 5-0 were lost with another master",
            id="forked",
        ),
        pytest.param(
            lambda reports: reports.forbidden("orders"),
            logging.ERROR,
            "channel 'orders' (ACL SETUSER … &events:…)",
            id="forbidden",
        ),
    ],
)
def test_the_log_names_what_an_operator_must_know(reports, caplog, report, level, line):
    """A happening that an operator can act on is logged at its level."""
    report(reports)
    [record] = caplog.records

    assert line in record.message
    assert record.levelno == level


def test_the_log_shows_where_a_callback_failed(reports, caplog):
    """The log names the channels of a callback that raised, and has its traceback."""
    try:
        raise FAILURE
    except ValueError as error:
        reports.callback_failed(["a", "b"], error)

    assert "The application's code for a, b failed." in caplog.text
    assert "raise FAILURE\nValueError: no such user" in caplog.text


def test_the_log_names_a_forbidden_channel_once(reports, caplog):
    """A forbidden channel is logged once, and counted each time that a client asks for it."""
    for channel in ("a", "b", "a"):
        reports.forbidden(channel)

    assert len(caplog.records) == 2
    assert reports.metrics["forbidden"] == 3


def test_the_log_names_so_many_forbidden_channels_only(reports, caplog):
    """Clients that invent channels fill neither the log nor the memory."""
    for number in range(MOST_NAMED + 5):
        reports.forbidden(f"c{number}")

    assert len(caplog.records) == MOST_NAMED


def test_a_counter_that_was_never_counted_is_zero():
    """Asking for a counter makes none."""
    metrics = Metrics()

    assert metrics["opened"] == 0
    assert metrics.snapshot() == {}


def test_a_snapshot_stays_as_it_is():
    """A snapshot of the counters does not change when something happens later."""
    metrics = Metrics()
    metrics.record(Happening("opened"))
    snapshot = metrics.snapshot()
    metrics.record(Happening("opened"))

    assert snapshot == {"opened": 1}
    assert metrics["opened"] == 2


def test_two_threads_count_both():
    """A thread that counts while another thread is in the midst of counting loses nothing."""
    metrics = Metrics()
    counted = threading.Event()

    def count_one() -> None:
        metrics.record(Happening("opened"))
        counted.set()

    class Slow(int):
        """A count that is added while another thread counts, or tries to."""

        def __radd__(self, other: int) -> int:
            spawn("test", count_one)
            counted.wait(0.1)
            return other + int(self)

    metrics.record(Happening("opened", count=Slow(1)))

    assert counted.wait(5)
    assert metrics["opened"] == 2
