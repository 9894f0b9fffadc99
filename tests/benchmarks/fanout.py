"""One channel, N clients: what a delivery costs, how late it is, what an idle client takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from . import machine
from .contestant import BURST, Contestant
from .contestants import PUBLISHED_TO
from .run import Run
from .streaming import Streaming, streaming

#: Deliveries of one measurement, and the most messages that make them.
DELIVERIES, MESSAGES = 24_000, 1500
COUNTS = (1, 100, 1000, 5000)


def fanout(run: Run) -> None:
    """Measure with each number of clients."""
    for clients in (1, 1000) if run.quick else COUNTS:
        kinds = run.chosen(*PUBLISHED_TO)
        if clients * len(kinds) < machine.connections():
            _together(kinds, clients, run)
        else:
            _apart(kinds, clients, run)


def _together(kinds: Sequence[type[Contestant]], clients: int, run: Run) -> None:
    """All contestants at once with all their clients, measured in turn."""
    with ExitStack() as stack:
        field = [_opened(kind, clients, run, stack) for kind in kinds]
        for number in range(run.rounds):
            for one in run.turns(field, number):
                _measure(one, number, run)


def _apart(kinds: Sequence[type[Contestant]], clients: int, run: Run) -> None:
    """Each contestant anew in each round, where all at once would be too many files."""
    for number in range(run.rounds):
        for kind in run.turns(kinds, number):
            with ExitStack() as stack:
                _measure(_opened(kind, clients, run, stack), number, run)


def _opened(kind: type[Contestant], clients: int, run: Run, stack: ExitStack) -> Streaming:
    run.tell(f"{kind.name}: opening {clients:,}")
    contestant = run.start(kind, stack)
    one = stack.enter_context(streaming(contestant, clients, results=run.results))
    one.deliver(3, 1)
    return one


def _measure(one: Streaming, number: int, run: Run) -> None:
    name, clients = one.contestant.name, len(one.load.clients)
    run.tell(f"{name}: {clients:,} clients, round {number + 1}")
    times = max(6, min(MESSAGES, DELIVERIES // clients))
    for kind, count, each in (("single", times, 1), ("burst", max(4, times // 12), BURST)):
        cpu, figures = one.deliver(count, each)
        add = run.results.add
        add(name, f"CPU per delivery, {kind}", clients, cpu / figures.messages)
        add(name, f"deliveries per s, {kind}", clients, figures.rate)
        if figures.latency is not None:
            add(name, f"latency p50, {kind}", clients, figures.latency.p50)
            add(name, f"latency p99, {kind}", clients, figures.latency.p99)
