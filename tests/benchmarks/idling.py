"""Ten thousand clients to whom nothing happens but heartbeats, every fifteen seconds.

Fewer, where a process may not have so many files.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from . import machine
from .contestants import Generator, HandOff, Nchan, SSEStarlette
from .run import Run
from .streaming import streaming

CLIENTS = 10_000
#: Two heartbeats, for those who take the interval literally.
SECONDS = 30.0


def idling(run: Run) -> None:
    """One after the other, as all of them at once would not be idle."""
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
            if one.load.open != clients:
                raise RuntimeError(f"{kind.name}: {one.load.open} of {clients} are still open.")
