"""The cost of ten thousand idle clients, which receive a heartbeat every fifteen seconds.

There are fewer if a process may not open so many files.
"""

from __future__ import annotations

import http.client
import time
from contextlib import ExitStack

from flask_redis_events.bench.figures import Spread

from . import machine
from .contestants import Contestant, Generator, HandOff, Nchan, SSEStarlette, message
from .run import Run
from .streaming import streaming

CLIENTS = 10_000
#: The time of two heartbeats, so that each contestant sends at least one.
SECONDS = 30.0
#: Ordinary requests that are sent beside the streams.
OTHERS = 100


def idling(run: Run) -> None:
    """Measure one contestant after another, because all at once would not be idle."""
    most, seconds = (2000, 15.0) if run.quick else (CLIENTS, SECONDS)
    clients = min(most, machine.connections())
    for kind in run.chosen(Generator, HandOff, SSEStarlette, Nchan):
        with ExitStack() as stack:
            [contestant] = run.everyone(stack, kind)
            run.tell(f"{kind.name}: opening {clients:,}")
            one = stack.enter_context(streaming(contestant, clients, results=run.results))
            run.tell(f"{kind.name}: {clients:,} idle clients, {seconds:.0f} s")
            one.load.reset()
            cpu, started = contestant.cpu(), time.monotonic()
            one.load.run(seconds)
            share = (contestant.cpu() - cpu) / (time.monotonic() - started)
            run.results.add(kind.name, "share of a core, idle", clients, share)
            run.tell(f"{kind.name}: other requests")
            for what, busy in (("idle", False), ("while a message goes to all", True)):
                asked = []
                for number in range(OTHERS):
                    one.load.run(0.2 if busy else 0.01)
                    if busy:
                        contestant.publish([("one", message(number))])
                    asked.append(_ask(contestant))
                spread = Spread.of(asked)
                assert spread is not None
                run.results.add(kind.name, f"latency of a request p50, {what}", clients, spread.p50)
                run.results.add(kind.name, f"latency of a request p99, {what}", clients, spread.p99)
            if one.load.open != clients:
                raise RuntimeError(f"{kind.name}: {one.load.open} of {clients} are still open.")


def _ask(contestant: Contestant) -> float:
    """Return the seconds of an ordinary request, on a new connection."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", contestant.server.port, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{contestant.name} answered {answer.status}.")
    return time.monotonic() - started
