"""Ten thousand clients to whom nothing happens but heartbeats, every fifteen seconds.

Fewer, where a process may not have so many files.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from flask_redis_events.bench.figures import Spread

from . import machine
from .contestant import message
from .others import Nchan, SSEStarlette
from .ours import Generator, HandOff
from .run import Run
from .streaming import streaming

CLIENTS = 10_000
#: Two heartbeats, for those who take the interval literally.
SECONDS = 30.0
#: Other requests that the server is asked meanwhile; so many that p99 is not the highest.
OTHERS = 200


def idling(run: Run) -> None:
    """One after the other, as all of them at once would not be idle."""
    most, seconds = (2000, 15.0) if run.quick else (CLIENTS, SECONDS)
    clients = min(most, machine.connections())
    for kind in run.chosen(Generator, HandOff, SSEStarlette, Nchan):
        with ExitStack() as stack:
            contestant = run.start(kind, stack)
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
                    asked.append(contestant.ask())
                spread = Spread.of(asked)
                assert spread is not None
                run.results.add(kind.name, f"latency of a request p50, {what}", clients, spread.p50)
                run.results.add(kind.name, f"latency of a request p99, {what}", clients, spread.p99)
            if one.load.open != clients:
                raise RuntimeError(f"{kind.name}: {one.load.open} of {clients} are still open.")
