"""The tables of the documentation, as files that its pages include."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .results import Results, Row, shown

ALL = ("hand-off", "generator", "Flask-SSE", "sse-starlette", "nchan", "limit")
#: What passes through, and what code of the user makes of each message.
CODE = (
    *("hand-off", "generator", "callback", "shared callback", "generator function"),
    *("Flask-SSE filter", "sse-starlette filter"),
)
COUNTS = (1, 100, 1000, 5000)


@dataclass(frozen=True)
class Table:
    """Rows of measures; with `to`, each value also as a multiple of that contestant's."""

    rows: Sequence[tuple[str, Row]]
    names: Sequence[str] = ALL
    to: str | None = None


def _by_count(measure: str, title: str = "{} clients") -> list[tuple[str, Row]]:
    shown = [title.format(f"{count:,}") for count in COUNTS]
    return [
        (text.replace("1 clients", "1 client") if count == 1 else text, (measure, count))
        for text, count in zip(shown, COUNTS, strict=True)
    ]


TABLES = {
    "single": Table(_by_count("CPU per delivery, single"), to="limit"),
    "burst": Table(_by_count("CPU per delivery, burst"), to="limit"),
    "throughput": Table(
        [
            ("1,000 clients, single", ("deliveries per s, single", 1000)),
            ("1,000 clients, bursts", ("deliveries per s, burst", 1000)),
            ("5,000 clients, single", ("deliveries per s, single", 5000)),
            ("5,000 clients, bursts", ("deliveries per s, burst", 5000)),
        ],
        to="Flask-SSE",
    ),
    "latency": Table(
        [
            *_by_count("latency p50, single", "{} clients, p50"),
            *_by_count("latency p99, single", "{} clients, p99"),
        ],
        to="limit",
    ),
    "opening": Table(
        [
            ("streams opened a second", ("streams opened per s", 1000)),
            ("CPU for one of them", ("CPU per opening", 1000)),
        ],
        to="Flask-SSE",
    ),
    "memory": Table(
        [
            ("1,000 clients", ("memory per client", 1000)),
            ("5,000 clients", ("memory per client", 5000)),
        ],
        names=ALL[:-1],
        to="Flask-SSE",
    ),
    "channels": Table(
        [
            (f"{count:,} channels" if count > 1 else "1 channel", (measure, count))
            for measure in ["CPU per delivery, by channels"]
            for count in (1, 10, 100, 1000)
        ],
        names=("hand-off", "generator", "Flask-SSE", "nchan"),
        to="Flask-SSE",
    ),
    "resuming": Table(
        [
            (
                "until all are back, the worker that they had",
                ("seconds until all are back, old worker", 2000),
            ),
            ("until all are back, a new worker", ("seconds until all are back, new worker", 2000)),
            (
                "CPU for one of them, the worker that they had",
                ("CPU per client back, old worker", 2000),
            ),
            ("CPU for one of them, a new worker", ("CPU per client back, new worker", 2000)),
            (
                "readings of history, the worker that they had",
                ("readings of history, old worker", 2000),
            ),
            ("readings of history, a new worker", ("readings of history, new worker", 2000)),
        ],
        names=("hand-off", "generator", "nchan"),
    ),
    "code": Table(
        [
            ("CPU for one delivery", ("CPU per delivery, single", 1000)),
            ("CPU for one delivery, bursts of 16", ("CPU per delivery, burst", 1000)),
            ("latency, p50", ("latency p50, single", 1000)),
            ("latency, p99", ("latency p99, single", 1000)),
            ("memory for one idle client", ("memory per client", 1000)),
            ("CPU for one opening", ("CPU per opening", 1000)),
        ],
        names=CODE,
        to="hand-off",
    ),
    "polling": Table(
        [
            ("CPU for one value", ("CPU per delivery, every second", 500)),
            ("memory for one client", ("memory per client", 500)),
        ],
        names=("hand-off", "poll"),
        to="hand-off",
    ),
    "flooding": Table(
        [
            (f"{title}, {rank}", (f"latency beside a flood {rank}, {what}", 20))
            for title, what in (
                ("a message on a quiet channel", "quiet plain stream"),
                ("the same, with a callback", "quiet callback"),
                ("another request", "a request"),
            )
            for rank in ("p50", "p99")
        ],
        names=("hand-off", "callback"),
    ),
    "emitting": Table(
        [
            ("emits a second, by one process", ("emits per s", 1)),
            ("CPU of the emitter for one", ("CPU per emit, emitter", 1)),
            ("CPU of Redis for one", ("CPU per emit, Redis", 1)),
        ],
        names=(
            *("emit", "emit, HISTORY=0", "16 together", "16 together, HISTORY=0"),
            *("redis-py publish", "Flask-SSE publish"),
        ),
        to="redis-py publish",
    ),
    "emitting-heard": Table(
        [
            ("CPU of the emitter for one", ("CPU per emit, emitter", 1)),
            ("CPU of Redis for one", ("CPU per emit, Redis", 1)),
        ],
        names=("emit, 4 workers", "10 together, 4 workers", "redis-py publish, 4 workers"),
        to="redis-py publish, 4 workers",
    ),
}


def write(results: Results, directory: Path) -> None:
    """Write one CSV file for each table whose figures there are."""
    directory.mkdir(exist_ok=True)
    idle = max((count for _, name, count in results.values if name.startswith("share")), default=0)
    idling = Table(
        [
            (f"{idle:,} idle clients", ("share of a core, idle", idle)),
            *[
                (f"another request{what}, {rank}", (f"latency of a request {rank}, {when}", idle))
                for when, what in (
                    ("idle", ""),
                    ("while a message goes to all", " while a message goes to all"),
                )
                for rank in ("p50", "p99")
            ],
        ],
        names=("hand-off", "generator", "sse-starlette", "nchan"),
    )
    for name, table in {**TABLES, "idling": idling}.items():
        rows = [line for line in (_line(results, table, *row) for row in table.rows) if line]
        if rows:
            with (directory / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([["", *table.names], *rows])


def _line(results: Results, table: Table, title: str, row: Row) -> list[str]:
    base = results.median(table.to, *row) if table.to else None
    cells = [_cell(results.median(name, *row), row, base) for name in table.names]
    return [title, *cells] if any(cells) else []


def _cell(value: float | None, row: Row, base: float | None) -> str:
    if value is None:
        return ""
    text = shown(row[0], value)
    return f"{text} ({times(value / base)})" if base else text


def times(ratio: float) -> str:
    """Write a ratio with two digits that count."""
    return f"× {ratio:.2g}" if ratio < 10 else f"× {ratio:.0f}"
