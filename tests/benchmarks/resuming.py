"""Two thousand clients come back together, with the same few Last-Event-IDs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from flask_redis_events.bench import Load, Target

from .contestant import Contestant, message
from .others import Nchan
from .ours import Generator, HandOff, Ours
from .run import Run
from .streaming import PATIENCE, warm_up

CLIENTS = 2000
#: Messages that came since each of the positions that they come back with.
MISSED = (40, 30, 20, 10)
CHANNEL = "storm"


def resuming(run: Run) -> None:
    """To a worker that heard the messages itself, and to a new one."""
    for _ in range(run.rounds):
        for kind in run.chosen(Generator, HandOff, Nchan):
            run.tell(f"{kind.name}: {CLIENTS:,} come back")
            with ExitStack() as stack:
                contestant = run.start(kind, stack)
                # One stays: a channel that nobody hears is given up.
                listener = stack.enter_context(Load(Target.of(contestant.url(CHANNEL))))
                ids = _publish(contestant, listener)
                _storm(contestant, ids, "old worker", run)
            if issubclass(kind, Ours):
                with ExitStack() as stack:
                    contestant = run.start(kind, stack)
                    _storm(contestant, ids, "new worker", run)


def _publish(contestant: Contestant, listener: Load) -> list[str]:
    """Publish messages; return the positions in between, as a client learns them."""
    ids = []
    listener.connect(1)
    for number in range(MISSED[0] + 1):
        contestant.publish([(CHANNEL, message(number))])
        listener.run(PATIENCE, until=lambda n=number: listener.messages > n)  # type: ignore[misc]
        if MISSED[0] - number in MISSED:
            blocks: Any = listener.clients[0].blocks
            ids.append(blocks.last_id)
    return ids


def _storm(contestant: Contestant, ids: list[str], worker: str, run: Run) -> None:
    warm_up(contestant)
    expected = sum(MISSED) * CLIENTS // len(MISSED)
    before = contestant.metrics() if isinstance(contestant, Ours) else {}
    with Load(Target.of(contestant.url(CHANNEL)), last_event_ids=ids) as load:
        cpu, started = contestant.cpu(), time.monotonic()
        load.connect(CLIENTS, at_once=CLIENTS, timeout=PATIENCE)
        load.run(PATIENCE, until=lambda: load.messages >= expected)
        seconds, cpu = time.monotonic() - started, contestant.cpu() - cpu
        load.run(0.2)
        if load.messages != expected:
            raise RuntimeError(f"{contestant.name}: {load.messages} came back for {expected}.")
    add = run.results.add
    add(contestant.name, f"seconds until all are back, {worker}", CLIENTS, seconds)
    add(contestant.name, f"CPU per client back, {worker}", CLIENTS, cpu / CLIENTS)
    if isinstance(contestant, Ours):
        after = contestant.metrics()
        reads = after.get("replayed.history", 0) - before.get("replayed.history", 0)
        add(contestant.name, f"readings of history, {worker}", CLIENTS, reads)
