"""One channel, N clients: the cost and latency of a delivery, and the memory of a client."""

from __future__ import annotations

from contextlib import ExitStack

from . import machine
from .contestants import BURST, Contestant
from .run import Run
from .streaming import Streaming, streaming

#: The deliveries of one measurement, and the most messages published for them.
DELIVERIES, MESSAGES = 24_000, 1500
COUNTS = (1, 100, 1000, 5000)


def fanout(run: Run) -> None:
    """Measure with each number of clients."""
    for clients in (1, 1000) if run.quick else COUNTS:
        if clients * len(run.chosen()) < machine.connections():
            _together(clients, run)
        else:
            _apart(clients, run)


def _together(clients: int, run: Run) -> None:
    """Run all contestants at once with all their clients, and measure them in turn."""
    with ExitStack() as stack:
        field = [_opened(kind, clients, run, stack) for kind in run.chosen()]
        for number in range(run.rounds):
            for one in run.turns(field, number):
                _measure(one, number, run)


def _apart(clients: int, run: Run) -> None:
    """Start one contestant at a time, because all at once would need too many files."""
    for number in range(run.rounds):
        for kind in run.turns(run.chosen(), number):
            with ExitStack() as stack:
                _measure(_opened(kind, clients, run, stack), number, run)


def _opened(kind: type[Contestant], clients: int, run: Run, stack: ExitStack) -> Streaming:
    run.tell(f"{kind.name}: opening {clients:,}")
    [contestant] = run.everyone(stack, kind)
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
